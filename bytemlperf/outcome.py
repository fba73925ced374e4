"""From what the core recorded to a :class:`Result`: distributions, verdicts, the harness's part."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bytemlperf import _core
from bytemlperf.attribution import client_shares, late_causes, turnaround
from bytemlperf.backend import Array
from bytemlperf.distribution import Distribution
from bytemlperf.littles_law import littles_law
from bytemlperf.overhead import Setup, overhead_of
from bytemlperf.patterns import ClosedLoop, Constant, Gamma, Pattern, Poisson
from bytemlperf.result import ErrorClass, Overhead, Result, distributions, timeline
from bytemlperf.stopping import StoppingRule
from bytemlperf.verdicts import Facts, judge
from bytemlperf.windows import Windows


@dataclass(frozen=True)
class Driven:
    """What was driven, and how.

    Attributes:
        batch_size: samples a query; of a mix the largest.
        mix: (samples, queries) of each size in a mix; else empty.
        clock: ``tsc``, ``clock_gettime`` or ``virtual``.
        setup: what decides how much the harness takes; None on the virtual clock, where nothing
            takes any time.
        null_backend: there is nothing but the harness.
        isolation: facts on the children of an isolated backend.
    """

    pattern: Pattern
    seed: int
    batch_size: int
    mix: tuple[tuple[int, int], ...]
    instances: int
    clock: str
    setup: Setup | None
    null_backend: bool
    isolation: Mapping[str, Any] | None


def result_of(
    driven: Driven,
    data: _core.RunData,
    *,
    stamps: Array | None,
    outputs: list[Any] | dict[int, Any] | None,
    interrupted: bool,
    rule: StoppingRule | None,
) -> Result:
    """Judge a run and put its figures together. ``stamps`` may be incomplete."""
    complete = stamps if data.stamps_complete else None
    parts = distributions(data, complete)
    duration = (data.window_end - data.window_start) * 1e-9
    per_second = 1.0 / duration if duration > 0 else 0.0
    windows = Windows.from_core(data)
    causes = late_causes(complete, parts)
    overhead = _overhead(driven, stamps, parts)
    verdicts = judge(
        Facts(
            data,
            parts,
            windows,
            open_loop=data.plan_hash != 0,
            steady=isinstance(driven.pattern, ClosedLoop | Constant | Poisson | Gamma),
            wall=driven.setup is not None,
            causes=causes,
            overhead=overhead,
            null_backend=driven.null_backend,
            hop_us=driven.isolation["hop_p50_us"] if driven.isolation else None,
        )
    )
    sent_all = data.plan_hash != 0 and rule is None and not interrupted and not data.abandoned
    verdicts.append(littles_law(data, parts["latency"], complete, sent_all=sent_all))
    if rule is not None:
        verdicts.append(rule.verdict(parts["latency"]))
    return Result(
        **parts,
        pattern=str(driven.pattern),
        batch_size=driven.batch_size,
        mix=driven.mix,
        instances=driven.instances,
        seed=driven.seed,
        duration=duration,
        planned=data.planned,
        completed=data.completed,
        errors=data.errors,
        timeouts=data.timeouts,
        unsent=data.planned - data.completed - data.errors - data.timeouts,
        late=data.late,
        batches=data.batches,
        queries_per_second=data.queries_in_window * per_second,
        samples_per_second=data.samples_in_window * per_second,
        plan_hash=f"{data.plan_hash:016x}" if data.plan_hash else None,
        error_types={k: ErrorClass(*v) for k, v in data.error_classes.items()},
        timeline=timeline(data),
        verdicts=tuple(verdicts),
        environment=_environment(driven, data, complete),
        interrupted=interrupted,
        overhead=overhead,
        late_causes=causes,
        windows=windows,
        stamps=stamps,
        outputs=outputs,
    )


def _overhead(
    driven: Driven, stamps: Array | None, parts: Mapping[str, Distribution]
) -> Overhead | None:
    if driven.setup is None:
        return None
    found = overhead_of(driven.setup)
    latency, way_in = parts["latency"], parts["gil_wait"]
    if latency.count and latency.min < found.floor:  # calibrated while the host was busy
        found = replace(found, floor=latency.min)
    if latency.count and driven.isolation is not None:
        found = replace(found, floor=found.floor + way_in.p50)
    pattern = driven.pattern
    think_time = pattern.think_time if isinstance(pattern, ClosedLoop) else 0.0
    if not isinstance(think_time, (int, float)):  # drawn: it cannot be told from the rest
        return found
    return replace(found, turnaround=turnaround(stamps, think_time))


def _environment(driven: Driven, data: _core.RunData, stamps: Array | None) -> dict[str, Any]:
    return {
        "clock": driven.clock,
        "clock_drift_ppm": round(data.clock_drift_ppm, 3),
        "cores": len(_core.available_cores()),
        "spinning": data.spinning,
        "threads": [
            {
                "role": "client" if thread.client else "instance",
                "index": thread.index,
                "cpu_share": round(thread.cpu / max(1, thread.wall), 4),
                "voluntary_switches": thread.voluntary_switches,
                "involuntary_switches": thread.involuntary_switches,
            }
            for thread in data.threads
        ],
        "client_shares": client_shares(stamps, driven.pattern.clients),
        "python": sys.version.split()[0],
        "isolation": driven.isolation,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
