"""What the harness itself takes on this host: measured with a backend that answers at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf import _core, host
from bytemlperf.pinning import Pin
from bytemlperf.result import Overhead
from bytemlperf.samples import backend_spec

# Short beside the time that a busy host takes away at once: the best round is one that it let be.
_ROUNDS = 8
_CLOSED_NS = 3_000_000
_OFFLINE_QUERIES = 10_000
_PACED_RATE, _PACED_QUERIES = 2_000.0, 40
_POLL_NS = 50_000_000


@dataclass(frozen=True)
class Setup:
    """What of a run decides how much the harness takes. A batch waits for others because it is told
    to, so that delay is none of it.
    """

    open_loop: bool
    clients: int
    instances: int
    python: bool
    max_samples: int | None = None  # of a dynamic batch
    pin: Pin = field(default_factory=Pin)


_known: dict[str, Overhead] = {}  # by setup, in this process


def overhead_of(setup: Setup) -> Overhead:
    """Return the harness's cost in this setup, from the user's cache or measured (0.1 s).

    The cache holds for one host, boot, Python and build of the core.
    """
    key = repr(setup)
    if key not in _known:
        _known[key] = _from_file_or_measured(setup, key)
    return _known[key]


def _from_file_or_measured(setup: Setup, key: str) -> Overhead:
    file = host.cache_root() / "overhead.json"
    build = Path(_core.__file__).stat().st_mtime_ns
    here = f"{host.fingerprint()} | {build}"
    known = _read(file, here)
    if key in known:
        return Overhead(**known[key])
    measured = _measure(setup)
    _write(file, {"host": here, "setups": _read(file, here) | {key: asdict(measured)}})
    return measured


def _read(file: Path, here: str) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return dict(data["setups"]) if data["host"] == here else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(file: Path, data: dict[str, Any]) -> None:
    """Keep it for the next process; where that cannot be, it measures again."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
        temporary.replace(file)
    except OSError:
        return


def _measure(setup: Setup) -> Overhead:
    generator = _core.Generator(
        _backend(setup), setup.instances, _core.Clock.best(), setup.pin.to_core()
    )
    try:
        if not setup.open_loop:
            lanes = min(setup.clients, setup.instances)
            pattern = _core.ClosedLoop(setup.clients, None)
            runs = [_run(generator, setup, pattern, duration=_CLOSED_NS) for _ in range(_ROUNDS)]
            floor = min(_least(run) for run in runs)
        else:
            lanes = 1
            at_once = _core.OpenLoop(_core.OfflineArrivals(), setup.clients, True)
            runs = [
                _run(generator, setup, at_once, queries=_OFFLINE_QUERIES) for _ in range(_ROUNDS)
            ]
            paced = _core.OpenLoop(_core.ConstantArrivals(_PACED_RATE), setup.clients, False)
            floor = min(
                _least(_run(generator, setup, paced, queries=_PACED_QUERIES)) for _ in range(3)
            )
    finally:
        generator.close()
    cost = min((run.window_end - run.window_start) * lanes / max(1, run.completed) for run in runs)
    return Overhead(cost * 1e-9, floor)


def _backend(setup: Setup) -> _core.BackendSpec:
    if not setup.python:
        return _core.BackendSpec.null(_core.QueryRows(1))
    hooks = _core.PythonHooks(_make, _keep_nothing, 0)
    rows = {"x": np.zeros((64, 1), np.float32)}
    return backend_spec(rows, 1, hooks, 1, setup.max_samples)


def _make() -> tuple[Callable[[Any], None], Callable[[], None]]:
    return (lambda feeds: None), (lambda: None)


def _keep_nothing(queries: list[int | None], samples: list[int], outputs: Any) -> None:
    raise AssertionError("a calibration keeps no outputs")


def _run(
    generator: _core.Generator,
    setup: Setup,
    pattern: _core.ClosedLoop | _core.OpenLoop,
    *,
    queries: int | None = None,
    duration: int | None = None,
) -> _core.RunData:
    run = generator.start(
        _core.RunSpec(
            pattern=pattern,
            queries=queries,
            duration=duration,
            warmup=0,
            seed=0,
            stamp_bytes=0,
            keep_share=0.0,
            threads_per_instance=1,
            batching=_core.Batching(setup.max_samples, 0, []) if setup.max_samples else None,
            timeout=0,
            partial_path="",
        )
    )
    while not run.wait(_POLL_NS):
        pass
    return run.finish()


def _least(run: _core.RunData) -> float:
    return run.histogram(_core.Interval.latency).min * 1e-9
