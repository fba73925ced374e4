"""What changed between two runs, how sure that is, and what can be ruled out.

The sampling error of a quantile or rate comes from the moving-block bootstrap (Künsch, The Annals
of Statistics 17, 1989): windows of time are drawn in blocks of neighbours, so that the correlation
between queries stays in the sample. A change is judged on the logarithm by Student's t, with as
many degrees of freedom as a run has blocks less one, and p-values are adjusted over everything
that was compared (Holm, Scandinavian Journal of Statistics 6, 1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.errors import UsageError
from bytemlperf.result import Result

METRICS = ("p50", "p90", "p95", "p99", "p99.9", "qps")
DEFAULT_METRICS = ("p50", "p99", "qps")
# A gate that runs every night should not cry wolf every month.
CONFIDENCE = 0.99

_RESAMPLES = 2000
_FEWEST_WINDOWS = 32
# A histogram does not tell apart what differs by less than the width of its buckets.
_RESOLUTION = 2.0**-10


@dataclass(frozen=True)
class Change:
    """One metric in both runs. Quantiles are latencies in seconds, ``qps`` is samples a second.

    Attributes:
        change: ``after / before - 1``, or None where the data cannot say: see ``reason``.
        interval: of the change, at the comparison's confidence, by itself.
        p_value: that runs of the same thing differ as much, adjusted for everything compared.
        detected: the change is more than noise.
    """

    metric: str
    before: float
    after: float
    change: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    detected: bool = False
    reason: str = ""

    @property
    def bound(self) -> float | None:
        """A change beyond plus or minus this is ruled out (two one-sided tests)."""
        return None if self.interval is None else max(abs(end) for end in self.interval)


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side. ``notes`` say what else differs, or why not to trust one of them."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    confidence: float

    @property
    def detected(self) -> tuple[Change, ...]:
        """The changes that are more than noise; empty: no detectable difference."""
        return tuple(change for change in self.changes if change.detected)

    def __getitem__(self, metric: str) -> Change:
        return next(change for change in self.changes if change.metric == metric)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        changes = [{**asdict(change), "bound": change.bound} for change in self.changes]
        return {"changes": changes, "notes": list(self.notes), "confidence": self.confidence}

    def __str__(self) -> str:
        from bytemlperf.report.comparison_table import render

        return render(self)


def compare(
    before: Result,
    after: Result,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Comparison:
    """Compare two runs, of this process or loaded from files.

    Args:
        metrics: of ``p50 p90 p95 p99 p99.9 qps``.
        confidence: of the intervals, and one minus the chance that runs of the same thing are
            found to differ in anything.
        seed: of the bootstrap.

    Raises:
        UsageError: where the two cannot be compared.
    """
    return compare_all([(before, after)], metrics=metrics, confidence=confidence, seed=seed)[0]


def compare_all(
    pairs: Sequence[tuple[Result, Result]],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> list[Comparison]:
    """Compare several pairs as one family: ``confidence`` holds for all of them together."""
    if not 0.5 <= confidence < 1.0:
        raise UsageError(f"confidence lies between 0.5 and 1, not {confidence!r}")
    for metric in metrics:
        if metric not in METRICS:
            raise UsageError(f"cannot compare {metric!r} (one of {', '.join(METRICS)})")
    compared = []
    for before, after in pairs:
        notes = _notes(before, after)
        sides = (
            _Side(before, metrics, np.random.default_rng((seed, 0))),
            _Side(after, metrics, np.random.default_rng((seed, 1))),
        )
        changes = [_change(metric, *sides, confidence) for metric in metrics]
        compared.append((changes, notes))
    family = _holm([c.p_value for changes, _ in compared for c in changes])
    adjusted = iter(family)
    return [
        Comparison(
            tuple(_judged(change, next(adjusted), 1.0 - confidence) for change in changes),
            notes,
            confidence,
        )
        for changes, notes in compared
    ]


class _Side:
    """One run's figures and the errors of their logarithms."""

    def __init__(self, run: Result, metrics: Sequence[str], random: np.random.Generator) -> None:
        self.run = run
        self.errors: dict[str, float] = {}
        self.blocks = 0
        windows = run.windows
        if windows is None or windows.seconds.size < _FEWEST_WINDOWS or not run.completed:
            return
        size = windows.seconds.size
        length = math.ceil(size ** (1 / 3))
        self.blocks = size // length
        weights = _moving_blocks(random, size, length)
        # A resample of a nearly idle run may hold no query at all.
        weights = weights[weights @ windows.queries > 0]
        for metric in metrics:
            if metric == "qps":
                # Time is drawn with the windows, so that one cut short weighs what it lasted.
                sample = (weights @ windows.queries) / np.maximum(weights @ windows.seconds, 1e-9)
            else:
                sample = windows.quantiles(weights, quantile_of(metric))
            self.errors[metric] = float(np.std(np.log(np.maximum(sample, 1e-12))))

    def value(self, metric: str) -> float:
        if metric == "qps":
            return self.run.samples_per_second
        return self.run.latency.quantile(quantile_of(metric))

    def refusal(self, metric: str) -> str:
        """Why this run cannot say, or an empty string."""
        if not self.run.completed:
            return "nothing was completed"
        if self.run.windows is None:
            return "saved by an older version, without its windows: run it again"
        if not self.errors:
            return (
                f"the run has {self.run.windows.seconds.size} windows of time, "
                f"{_FEWEST_WINDOWS} are needed: run longer"
            )
        if metric == "qps":
            return ""
        if self.run.pattern.startswith("offline"):
            return "offline, latency is the time to the end of the work: compare qps"
        return self.run.latency.interval_reason(quantile_of(metric))


def quantile_of(metric: str) -> float:
    """``p99.9`` -> 0.999."""
    return round(float(metric[1:]) / 100, 9)


def _moving_blocks(random: np.random.Generator, windows: int, length: int) -> Array:
    """How often each resample takes each window, shape [resamples, windows]; blocks wrap around."""
    blocks = math.ceil(windows / length)
    starts = random.integers(0, windows, (_RESAMPLES, blocks, 1))
    taken = ((starts + np.arange(length)) % windows).reshape(_RESAMPLES, -1)[:, :windows]
    flat = taken + windows * np.arange(_RESAMPLES)[:, None]
    counts = np.bincount(flat.ravel(), minlength=_RESAMPLES * windows)
    return counts.reshape(_RESAMPLES, windows).astype(np.float64)


def _change(metric: str, before: _Side, after: _Side, confidence: float) -> Change:
    """The change with its own p-value, not yet adjusted."""
    from scipy.special import stdtr, stdtrit

    a, b = before.value(metric), after.value(metric)
    for name, side in (("before", before), ("after", after)):
        if reason := side.refusal(metric):
            return Change(metric, a, b, reason=f"{name}: {reason}")
    if a <= 0 or b <= 0:
        return Change(metric, a, b, reason="a figure of 0 has no relative change")
    floor = _RESOLUTION if metric != "qps" else 1.0 / min(s.run.completed for s in (before, after))
    error = math.hypot(before.errors[metric], after.errors[metric], floor)
    freedom = min(before.blocks, after.blocks) - 1
    shift = math.log(b / a)
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    interval = (math.expm1(shift - reach), math.expm1(shift + reach))
    p_value = 2.0 * float(stdtr(freedom, -abs(shift) / error))
    return Change(metric, a, b, b / a - 1.0, interval, p_value)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values in the order given; None stays None and counts for nothing."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[i] = largest
    return adjusted


def _judged(change: Change, p_value: float | None, alpha: float) -> Change:
    return replace(change, p_value=p_value, detected=p_value is not None and p_value <= alpha)


def _notes(before: Result, after: Result) -> tuple[str, ...]:
    """What a reader has to know beside the figures.

    Raises:
        UsageError: for an open and a closed loop, whose latencies mean different things.
    """
    if (before.plan_hash is None) != (after.plan_hash is None):  # a closed loop has no plan
        raise UsageError(
            f"{before.pattern!r} and {after.pattern!r} cannot be compared: latency in a closed and "
            "in an open loop means different things"
        )
    notes = [
        f"{name} differs: {ours} and {theirs}"
        for name in ("pattern", "batch_size", "mix", "instances")
        if (ours := getattr(before, name)) != (theirs := getattr(after, name))
    ]
    notes += [
        f"{name} differs: {ours} and {theirs}"
        for name in ("clock", "cores", "python")
        if (ours := before.environment.get(name)) != (theirs := after.environment.get(name))
    ]
    for name, run in (("before", before), ("after", after)):
        notes += [f"{name} is invalid: {v.detail}" for v in run.verdicts if v.fatal]
    return tuple(notes)
