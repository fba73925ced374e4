"""Latencies by time, small enough to keep in every saved result."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array

# Edges of the grid lie where log(p / (1 - p)) takes these values: 3 % of probability apart at the
# median, 12 % of the tail's probability in the tails, from p0.1 to p99.99.
_LOGITS = np.linspace(-7.0, 9.0, 129)


@dataclass(frozen=True)
class Windows:
    """How many latencies fell into each bin of a grid of values, window by window.

    64 to 128 windows of equal length (fewer in runs below 70 ms) by at most 257 bins, whatever the
    length of the run. The grid follows the run's own quantiles, so a resampled quantile can be
    read from it; the answer itself comes from the full histogram.

    Attributes:
        edges_ns: int64, shape [bins + 1], ascending; bin g holds ``edges[g] < x <= edges[g + 1]``.
        counts: int64, shape [windows, bins]; by the time of completion. What was completed after
            the run's window is in the last one.
        seconds: float64, shape [windows]; the last one may be shorter.
    """

    edges_ns: Array
    counts: Array
    seconds: Array

    @classmethod
    def from_core(cls, data: _core.RunData) -> Self:
        """Return the windows of a run; there are none where nothing was completed."""
        lowest, highest, counts = data.histogram(_core.Interval.latency).buckets()
        edges = _grid(lowest, highest, counts)
        width = data.timeline_bin_ns
        duration = data.window_end - data.window_start
        last = max(0, min(127, (duration - 1) // width))
        rows = np.zeros((last + 1, max(0, edges.size - 1)), np.int64)
        filled = [i for i, (completed, *_) in enumerate(data.timeline()) if completed]
        for i, (values, seen) in zip(filled, data.latency_windows(), strict=True):
            bins = np.searchsorted(edges, values) - 1
            rows[min(i, last)] += np.bincount(bins, seen, rows.shape[1]).astype(np.int64)
        lengths = np.full(last + 1, width * 1e-9)
        lengths[last] = max(0, duration - last * width) * 1e-9
        return cls(edges, rows, lengths)

    @cached_property
    def queries(self) -> Array:
        """Completed queries of each window."""
        return np.asarray(self.counts.sum(axis=1))

    def quantiles(self, weights: Array, q: float) -> Array:
        """Return the q-quantile in ns of each weighted sum of windows, linear within a bin.

        Args:
            weights: shape [rows, windows]; how often each window is taken.
        """
        cumulative = np.cumsum(weights @ self.counts.astype(np.float64), axis=1)
        target = q * cumulative[:, -1:]
        last = self.counts.shape[1] - 1
        bins = np.minimum((cumulative < target).sum(axis=1), last)
        rows = np.arange(bins.size)
        before = np.where(bins > 0, cumulative[rows, bins - 1], 0.0)
        inside = cumulative[rows, bins] - before
        share = np.where(inside > 0, (target[:, 0] - before) / np.maximum(inside, 1e-300), 1.0)
        low, high = self.edges_ns[bins], self.edges_ns[bins + 1]
        return np.asarray(low + np.clip(share, 0.0, 1.0) * (high - low))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; counts as base64 of zlib of little-endian uint32."""
        packed = zlib.compress(self.counts.astype("<u4").tobytes(), 9)
        return {
            "edges_ns": self.edges_ns.tolist(),
            "seconds": self.seconds.tolist(),
            "counts": base64.b64encode(packed).decode(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        edges = np.asarray(data["edges_ns"], np.int64)
        seconds = np.asarray(data["seconds"], np.float64)
        flat = np.frombuffer(zlib.decompress(base64.b64decode(data["counts"])), "<u4")
        shape = (seconds.size, max(0, edges.size - 1))
        return cls(edges, flat.astype(np.int64).reshape(shape), seconds)


def _grid(lowest: Array, highest: Array, counts: Array) -> Array:
    """Edges around the buckets that hold the run's quantiles: a value that many queries share is
    in a bin of its own, so that interpolation does not smear it."""
    if not counts.size:
        return np.empty(0, np.int64)
    cumulative = np.cumsum(counts)
    ranks = np.ceil(cumulative[-1] / (1.0 + np.exp(-_LOGITS)))
    chosen = np.searchsorted(cumulative, np.clip(ranks, 1, cumulative[-1]))
    parts = ([lowest[0] - 1], lowest[chosen] - 1, highest[chosen], [highest[-1]])
    return np.unique(np.concatenate(parts).astype(np.int64))
