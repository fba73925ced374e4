"""The children of a generator: started by its instances, told what to run, and their facts."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf import _core
from bytemlperf.device import NativeBackend
from bytemlperf.errors import UsageError
from bytemlperf.instances import in_flight
from bytemlperf.isolation import Isolated
from bytemlperf.isolation.inputs import stage
from bytemlperf.isolation.library import in_flight_of_library
from bytemlperf.isolation.moving import message
from bytemlperf.isolation.process import ChildProcess, failure_from, outputs_from
from bytemlperf.query_mix import QueryMix
from bytemlperf.samples import Samples, check_native_dtypes, query_sizes

# How long either side of the bridge spins for the other before it sleeps, where cores allow.
_SPIN_S = 50e-6


class Isolation:
    """The children of one LoadGenerator.

    Args:
        isolated: what to run.
        samples, batch_size: as LoadGenerator takes them.
        capacity: samples of the largest batch where queries are merged, else None.
        instances: children.
        keep: takes (queries, samples of each, outputs) of a batch that is to be kept.

    Raises:
        UsageError: where the backend or the samples cannot be moved to another process.
    """

    def __init__(
        self,
        isolated: Isolated,
        samples: Samples,
        batch_size: int,
        capacity: int | None,
        instances: int,
        keep: Callable[[list[int | None], list[int], Any], None],
    ) -> None:
        self._isolated = isolated
        self._stats = _core.BridgeStats()
        self._children: list[ChildProcess] = []
        self.python = _interpreter(isolated.python)
        if capacity is not None and not isinstance(samples, Mapping | QueryMix):
            raise UsageError(
                "batching merges rows: give samples as {name: array} or mix_queries(...), not as "
                "queries of their own"
            )
        room = capacity or query_sizes(samples, batch_size).largest
        inputs, layouts, slot_bytes = stage(samples, batch_size, room)
        if isinstance(isolated.backend, NativeBackend):
            for layout in layouts:
                check_native_dtypes({name: np.dtype(dtype) for name, dtype, *_ in layout})
            depth = in_flight_of_library(self.python, isolated)
        else:
            depth = in_flight(isolated.backend)
        self._message = message(
            isolated.backend,
            room,
            layouts,
            slot_bytes,
            same_python=isolated.python is None,
        )
        self._own_logs = None if isolated.log_dir else Path(tempfile.mkdtemp(prefix="bytemlperf-"))
        self._logs = self._own_logs or Path(os.fspath(isolated.log_dir or "")).absolute()
        self._logs.mkdir(parents=True, exist_ok=True)
        # A child that has to share its core with who waits for it must not be waited for busily.
        spin = instances * isolated.threads_per_instance <= len(_core.available_cores())
        self.spec = _core.isolated_backend(
            inputs=inputs,
            children=self._child,
            keep=lambda queries, counts, result: keep(queries, counts, outputs_from(result)),
            failure_of=failure_from,
            stats=self._stats,
            max_in_flight=depth,
            spin=round(_SPIN_S * 1e9) if spin else 0,
            restarts=isolated.restarts,
            hang_after=round(isolated.hang_after * 1e9),
            beat_within=round(isolated.beat_within * 1e9),
        )

    def _child(self) -> ChildProcess:
        log = self._logs / f"instance-{len(self._children)}.log"
        child = ChildProcess(
            self.python,
            self._message,
            log,
            log_stays=self._own_logs is None,
            load_within=self._isolated.load_within,
        )
        self._children.append(child)
        return child

    def kill(self) -> None:
        """End every child now, for good."""
        for child in self._children:
            child.kill()

    def close(self) -> None:
        """Remove logs that nobody asked for. The children have ended before."""
        if self._own_logs is not None:
            shutil.rmtree(self._own_logs, ignore_errors=True)

    def facts(self) -> dict[str, Any]:
        """Return what the bridge cost and went through since the instances were loaded."""
        hop = self._stats.hop()
        return {
            "python": self.python,
            "restarts": self._stats.restarts,
            "deaths": self._stats.deaths,
            "hop_p50_us": hop.quantile(0.5) * 1e-3 if hop.count else None,
            "hop_p99_us": hop.quantile(0.99) * 1e-3 if hop.count else None,
        }


def _interpreter(python: str | os.PathLike[str] | None) -> str:
    if python is None:
        return sys.executable
    found = shutil.which(os.fspath(python))
    if found is None:
        raise UsageError(f"{os.fspath(python)}: no such Python interpreter")
    return found
