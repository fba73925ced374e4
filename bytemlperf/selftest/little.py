"""Little's law as an identity of each run's path, not as an average."""

from __future__ import annotations

import numpy as np

import bytemlperf as bmp
from bytemlperf.backend import Array
from bytemlperf.selftest.line import Line, virtual_run


def integral_in_flight(intended: Array, completed: Array, start: int, end: int) -> int:
    """Return the integral of N(t) over [start, end]: queries due and not yet answered, counted up
    and down along the run. Times in ns, int64; query-nanoseconds.
    """
    times = np.concatenate([intended, completed])
    changes = np.concatenate([np.ones_like(intended), -np.ones_like(completed)])
    order = np.argsort(times, kind="stable")
    times = np.clip(times[order], start, end)
    in_flight = np.cumsum(changes[order])
    # Before the first of these nothing is in flight, after the last one neither.
    return int(np.sum(in_flight[:-1] * np.diff(times)))


def overlaps(intended: Array, completed: Array, start: int, end: int) -> int:
    """Return the sum of each query's overlap with [start, end]."""
    inside = np.minimum(completed, end) - np.maximum(intended, start)
    return int(np.maximum(inside, 0).sum())


def littles_law_holds() -> Line:
    """The integral of N(t) is the sum of each query's overlap with the window, and over the whole
    run the sum of latencies that the recorder kept apart from the stamps.
    """
    device = bmp.SimulatedDevice(bmp.Exponential(1e-3), servers=3)
    runs = {"virtual": virtual_run(device, bmp.Poisson(2400.0), queries=100_000)}
    with bmp.LoadGenerator(bmp.NullBackend(), instances=2) as generator:
        runs["closed loop"] = generator.run(bmp.ClosedLoop(2), queries=100_000)
    with bmp.LoadGenerator(bmp.SimulatedDevice(bmp.Deterministic(5e-4))) as generator:
        runs["open loop"] = generator.run(bmp.Poisson(1600.0), duration=0.5)
    off = {name: _off(result) for name, result in runs.items()}
    queries = sum(result.completed for result in runs.values())
    return Line(
        name="Little's law, path by path",
        ok=not any(off.values()),
        expected="integral of N(t) = sum of overlaps = recorded latencies, to 0 ns",
        measured=f"off by {max(off.values())} ns in {len(runs)} runs of {queries:,} queries",
        figures={"off_ns": off},
    )


def _off(result: bmp.Result) -> int:
    """How far apart the three are, over the run and over the middle of it; query-nanoseconds."""
    assert result.stamps is not None
    times = result.stamps["stamps"]
    intended, completed = times["intended"], times["completed"]
    first, last = int(intended.min()), int(completed.max())
    middle = (first + (last - first) // 4, last - (last - first) // 4)
    apart = [
        abs(
            integral_in_flight(intended, completed, *window)
            - overlaps(intended, completed, *window)
        )
        for window in ((first, last), middle)
    ]
    whole = integral_in_flight(intended, completed, first, last)
    return max(*apart, abs(whole - result.latency.total_ns))
