"""Whether latency stayed where it was during a run, or warmed up, drifted, or jumped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.windows import Windows

Course = Literal[
    "plateau", "warming up", "drifting up", "drifting down", "step up", "step down", "unknown"
]

# One in 200 stationary runs is called something else.
_ALPHA = 0.005
_PERMUTATIONS = 3999
_FEWEST_GROUPS = 12
# A group of windows is worth at least this many independent queries, so that neighbouring groups
# are as good as independent.
_WORTH = 10.0
# Smaller changes over a whole run do not matter, however sure they are.
_MATTERS = 0.005
# A step that touches an end of the run is a transient or an outlier.
_EDGE = 0.1


@dataclass(frozen=True)
class Stationarity:
    """What latency did in the course of a run.

    Attributes:
        course: the shape that explains the windows best, or ``unknown`` with a ``reason``.
        change: of the level from the first to the last, relative to the level; 0 on a plateau.
        per_minute: the same a minute, for drifts.
        at: seconds; where a step lies, or where a transient has ended (MSER).
    """

    course: Course
    change: float = 0.0
    per_minute: float = 0.0
    at: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.course == "unknown":
            return f"the course of latency is unknown: {self.reason}"
        if self.course == "plateau":
            return "latency stayed on a plateau"
        if self.course == "warming up":
            return f"latency was {-self.change:+.1%} off until {self.at:.3g} s: a warm-up"
        if self.course.startswith("step"):
            return f"latency went {self.change:+.1%} in a step at {self.at:.3g} s"
        if abs(self.per_minute) > abs(self.change):  # shorter than a minute
            return f"latency was {self.course}, {self.change:+.1%} over the run"
        return f"latency was {self.course}, {self.per_minute:+.2%} a minute"


def stationarity(windows: Windows) -> Stationarity:
    """Name the course of latency from windows of time.

    The level of a window is its mean latency, cut at the whole run's p95 so that a single stall is
    no trend. Windows are merged until a group's level varies (by differences of neighbours, which
    trends do not inflate) like the mean of ten independent queries or more. Then a line, a step
    and an exponential transient are fitted; the best one's share of the variance is compared with
    what random orders of the same levels give (a permutation test).
    """
    levels, times, weights, spread = _levels(windows)
    grouped = _independent(levels, times, weights, spread)
    if grouped is None:
        reason = f"{int(weights.sum())} queries are too few, or too much like their neighbours"
        return Stationarity("unknown", reason=reason)
    levels, times = grouped
    if np.ptp(levels) <= _MATTERS * abs(levels.mean()):
        return Stationarity("plateau")
    shapes = _shapes(levels.size)
    seen = _explained(levels[None, :], shapes)[0]
    random = np.random.default_rng(0)
    orders = np.argsort(random.random((_PERMUTATIONS, levels.size)), axis=1)
    chance = _explained(levels[orders], shapes).max(axis=1)
    if (1 + np.count_nonzero(chance >= seen.max())) / (1 + _PERMUTATIONS) > _ALPHA:
        return Stationarity("plateau")
    return _named(levels, times, shapes, seen)


def transient_end(levels: Array) -> int:
    """Index at which the initial transient has ended, by MSER: the d that minimises
    ``sum((y[i] - mean(y[d:]))**2 for i >= d) / (n - d)**2`` over the first half (White, Simulation
    69, 1997)."""
    n = levels.size
    half = max(1, n // 2)
    tail = np.arange(n, 0, -1)
    sums = np.cumsum(levels[::-1])[::-1]
    squares = np.cumsum(levels[::-1] ** 2)[::-1]
    error = (squares - sums**2 / tail) / tail.astype(np.float64) ** 2
    return int(np.argmin(error[:half]))


def _levels(windows: Windows) -> tuple[Array, Array, Array, float]:
    """Level and middle in seconds of each window that is not empty, its queries, and the variance
    of a single query's cut latency, seconds**2."""
    ends = np.cumsum(windows.seconds)
    times = ends - windows.seconds / 2
    middles = (windows.edges_ns[:-1] + windows.edges_ns[1:]) * 0.5e-9
    kept = windows.queries > 0
    counts = windows.counts[kept].astype(np.float64)
    total = counts.sum(axis=0)
    if not total.size:
        return np.empty(0), np.empty(0), np.empty(0), 0.0
    p95 = middles[np.searchsorted(np.cumsum(total), 0.95 * total.sum())]
    values = np.minimum(middles, p95)
    weights = counts.sum(axis=1)
    mean = total @ values / total.sum()
    spread = float(total @ (values - mean) ** 2 / total.sum())
    return counts @ values / weights, times[kept], weights, spread


def _independent(
    levels: Array, times: Array, weights: Array, spread: float
) -> tuple[Array, Array] | None:
    """Levels and times of groups of neighbours that are as good as independent."""
    while levels.size >= _FEWEST_GROUPS:
        noise = float(np.mean(np.diff(levels) ** 2)) / 2
        if noise * _WORTH <= spread or noise == 0.0:
            return levels, times
        even = levels.size - levels.size % 2
        pairs = [a[:even].reshape(-1, 2) for a in (levels, times, weights)]
        weights = pairs[2].sum(axis=1)
        levels, times = ((a * pairs[2]).sum(axis=1) / weights for a in pairs[:2])
    return None


def _shapes(n: int) -> dict[str, Array]:
    """Candidates by kind, each [shapes, n]: centred, of unit length."""
    x = np.arange(n)
    edge = max(2, round(_EDGE * n))
    kinds = {
        "drift": x[None, :],
        "step": x[None, :] >= np.arange(edge, n - edge + 1)[:, None],
        "transient": np.exp(-x[None, :] / np.geomspace(0.5, n / 6, 8)[:, None]),
    }
    units = {}
    for kind, rows in kinds.items():
        centred = rows - rows.mean(axis=1, keepdims=True)
        units[kind] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return units


def _explained(rows: Array, shapes: dict[str, Array]) -> Array:
    """Share of each row's variance that the best shape of each kind explains, [rows, kinds]."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    total = np.maximum((centred**2).sum(axis=1), 1e-300)
    best = [((centred @ kind.T) ** 2).max(axis=1) / total for kind in shapes.values()]
    return np.stack(best, axis=1)


def _named(levels: Array, times: Array, shapes: dict[str, Array], seen: Array) -> Stationarity:
    """The kind that explains most, a step and a transient one parameter dearer than a line."""
    n = levels.size
    left = np.maximum(1.0 - seen, 1e-12)
    criterion = n * np.log(left) + np.log(n) * np.array([2, 3, 3])  # BIC
    kind = list(shapes)[int(np.argmin(criterion))]
    centred = levels - levels.mean()
    fits = shapes[kind] @ centred
    best = int(np.argmax(fits**2))
    fitted = levels.mean() + fits[best] * shapes[kind][best]
    change = float((fitted[-1] - fitted[0]) / fitted.mean())
    if abs(change) < _MATTERS:
        return Stationarity("plateau")
    if kind == "drift":
        minutes = (times[-1] - times[0]) / 60
        course: Course = "drifting up" if change > 0 else "drifting down"
        return Stationarity(course, change, change / minutes)
    if kind == "step":
        first = int(np.argmax(np.abs(np.diff(fitted)))) + 1
        at = float(times[first - 1] + times[first]) / 2
        return Stationarity("step up" if change > 0 else "step down", change, at=at)
    change = float((fitted[-1] - fitted[0]) / fitted[-1])
    return Stationarity("warming up", change, at=float(times[transient_end(levels)]))
