"""A measured distribution of times: exact moments, quantiles from its histogram, intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array
from bytemlperf.stats import quantile_interval, quantile_rank, windowed_interval

_REPORTED = (0.5, 0.9, 0.95, 0.99, 0.999)
_CONFIDENCE = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True)
class Distribution:
    """Times in seconds. ``min``, ``max``, ``mean`` and ``std`` are exact; a quantile is the
    midpoint of its bucket, within 2**-11 (0.05 %) of the value; None of it includes errors.

    Attributes:
        lowest, highest: bounds of the non-empty buckets, int64 ns, ascending.
        counts: their counts.
        total_ns: sum of all values.
        sum_squares: sum of their squares, ns**2.
        series: returns the values in seconds in the order of intended time, or None where raw
            stamps are incomplete.
        windows: returns the bucket counts of each window of time, where they were kept: what
            intervals come from when raw stamps are incomplete.
        stored: intervals of a result that was read from a file, by quantile: (interval, reason).
    """

    lowest: Array
    highest: Array
    counts: Array
    min_ns: int
    max_ns: int
    total_ns: int
    sum_squares: float
    series: Callable[[], Array | None] = field(repr=False, compare=False, default=lambda: None)
    windows: Callable[[], Sequence[tuple[Array, Array]]] = field(
        repr=False, compare=False, default=tuple
    )
    stored: dict[float, tuple[Interval | None, str]] = field(
        repr=False, compare=False, default_factory=dict
    )

    @classmethod
    def from_core(
        cls,
        histogram: _core.Histogram,
        series: Callable[[], Array | None],
        windows: Callable[[], Sequence[tuple[Array, Array]]] = tuple,
    ) -> Self:
        """Return the distribution of a core's histogram; ``series`` and ``windows`` as above."""
        lowest, highest, counts = histogram.buckets()
        return cls(
            lowest,
            highest,
            counts,
            histogram.min,
            histogram.max,
            histogram.sum,
            histogram.sum_squares,
            series,
            windows,
        )

    @cached_property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def min(self) -> float:
        return self.min_ns * 1e-9

    @property
    def max(self) -> float:
        return self.max_ns * 1e-9

    @property
    def mean(self) -> float:
        """NaN when empty."""
        return self.total_ns * 1e-9 / self.count if self.count else math.nan

    @property
    def std(self) -> float:
        """Population standard deviation; NaN when empty."""
        if not self.count:
            return math.nan
        mean_ns = self.total_ns / self.count
        return math.sqrt(max(0.0, self.sum_squares / self.count - mean_ns * mean_ns)) * 1e-9

    def quantile(self, q: float) -> float:
        """Smallest x with F(x) >= q, i.e. rank ceil(q n - 1e-9); NaN when empty."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, not {q!r}")
        if not self.count:
            return math.nan
        rank = quantile_rank(self.count, q)
        if rank == 1:
            return self.min
        if rank == self.count:
            return self.max
        bucket = int(np.searchsorted(self._cumulative, rank))
        middle = (int(self.lowest[bucket]) + int(self.highest[bucket])) // 2
        return min(max(middle, self.min_ns), self.max_ns) * 1e-9

    @cached_property
    def _cumulative(self) -> Array:
        return np.cumsum(self.counts)

    @property
    def p50(self) -> float:
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        return self.quantile(0.9)

    @property
    def p95(self) -> float:
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def p999(self) -> float:
        return self.quantile(0.999)

    def interval(self, q: float, confidence: float = _CONFIDENCE) -> Interval | None:
        """Interval that holds the q-quantile with the given confidence, or None: see
        :meth:`interval_reason`. Correlation between neighbouring queries is taken into account.
        """
        return self._interval(q, confidence)[0]

    def interval_reason(self, q: float, confidence: float = _CONFIDENCE) -> str:
        """Why :meth:`interval` is None; an empty string where it is not."""
        return self._interval(q, confidence)[1]

    def _interval(self, q: float, confidence: float) -> tuple[Interval | None, str]:
        if confidence == _CONFIDENCE and q in self.stored:
            return self.stored[q]
        values = self.series()
        if values is not None:
            found = quantile_interval(values, q, confidence)
        elif windows := self.windows():
            found = windowed_interval(windows, self.highest, self.counts, q, confidence)
        else:
            found = None, "raw stamps were not kept for every query (see 'stamps')"
        if confidence == _CONFIDENCE:
            self.stored[q] = found
        return found

    def buckets(self) -> list[tuple[float, float, int]]:
        """Non-empty buckets, ascending: (lowest s, highest s, count)."""
        return [
            (int(low) * 1e-9, int(high) * 1e-9, int(count))
            for low, high, count in zip(self.lowest, self.highest, self.counts, strict=True)
        ]

    def to_hdr(self) -> bytes:
        """Return the histogram in HdrHistogram's compressed V2 encoding, base64; values in ns."""
        from bytemlperf.hdr import encode

        return encode(self.lowest, self.counts, self.max_ns)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, complete: :meth:`from_dict` gives the same distribution again."""
        return {
            "count": self.count,
            "min_ns": self.min_ns,
            "max_ns": self.max_ns,
            "total_ns": self.total_ns,
            "sum_squares": self.sum_squares,
            "quantiles_s": {f"{q:g}": self.quantile(q) for q in _REPORTED if self.count},
            "intervals_s": {
                f"{q:g}": {"interval": self.interval(q), "reason": self.interval_reason(q)}
                for q in _REPORTED
            },
            "buckets_ns": [self.lowest.tolist(), self.highest.tolist(), self.counts.tolist()],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        lowest, highest, counts = (np.asarray(part, np.int64) for part in data["buckets_ns"])
        stored = {
            float(q): (tuple(entry["interval"]) if entry["interval"] else None, entry["reason"])
            for q, entry in data["intervals_s"].items()
        }
        return cls(
            lowest,
            highest,
            counts,
            data["min_ns"],
            data["max_ns"],
            data["total_ns"],
            data["sum_squares"],
            stored=stored,
        )
