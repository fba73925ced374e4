"""Where late queries lost their time, and what the generator itself took: from raw stamps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.distribution import Distribution

# The interval of a query's life that each cause lengthens, and its two stamps.
CAUSES = {
    "client": ("schedule_lag", "intended", "submitted"),
    "queue": ("queue_wait", "submitted", "ready"),
    "GIL": ("gil_wait", "ready", "entered"),
    "backend": ("service_time", "entered", "completed"),
}
_FEWEST = 10
# A median does not get better by more than this.
_ENOUGH = 1 << 18


def late_causes(stamps: Array | None, parts: Mapping[str, Distribution]) -> dict[str, float]:
    """Return which cause made the queries above p99 late, as shares of them.

    A late query is put down to the interval that exceeds its own median by most: ``client`` (it
    was submitted late), ``queue`` (instances were busy), ``GIL``, ``backend``. Empty without
    stamps, and where fewer than ten queries lie above p99.
    """
    if stamps is None or not stamps.size:
        return {}
    times = stamps["stamps"]
    late = times["completed"] - times["intended"] > 1e9 * parts["latency"].p99
    chosen = times[late]
    if chosen.size < _FEWEST:
        return {}
    excess = [
        chosen[last] - chosen[first] - 1e9 * parts[name].p50
        for name, first, last in CAUSES.values()
    ]
    blamed = np.bincount(np.argmax(excess, axis=0), minlength=len(CAUSES))
    return {c: float(n / chosen.size) for c, n in zip(CAUSES, blamed, strict=True)}


def turnaround(stamps: Array | None, think_time: float = 0.0) -> float | None:
    """Return the generator's own time between two queries of one instance: median seconds from an
    answer to the next batch being ready, where that one had been waiting for it.

    In a closed loop whose clients are their instances nothing waits: there it counts from the
    answer to the next query, less the thinking. None where an instance was never behind, where it
    has several batches in flight, and without stamps.
    """
    if stamps is None:
        return None
    rows = stamps[:_ENOUGH]
    times = rows["stamps"]
    same = (rows["instance"][1:] == rows["instance"][:-1]) & (
        times["completed"][1:] != times["completed"][:-1]
    )
    before, after = times[:-1][same], times[1:][same]
    if (after["entered"] < before["completed"]).any():
        return None
    own = rows["client"] == rows["instance"]
    direct = bool(own.all() and (times["intended"] == times["submitted"]).all())
    if direct:
        gaps = after["ready"] - before["completed"] - round(1e9 * think_time)
    else:
        behind = after["submitted"] <= before["completed"]
        gaps = (after["ready"] - before["completed"])[behind]
    return None if gaps.size < _FEWEST else float(np.median(gaps)) * 1e-9


def client_shares(stamps: Array | None, clients: int) -> list[float]:
    """Return each client's queries relative to an equal share, 1.0 being fair. Empty without
    stamps, and for one client.
    """
    if stamps is None or not stamps.size or clients == 1:
        return []
    counts = np.bincount(stamps["client"], minlength=clients)
    return [round(float(n), 4) for n in counts * (clients / stamps.size)]
