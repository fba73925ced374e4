"""Samples as arrays that the core reads: a row a sample, or one array that all batches share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array, Feeds
from bytemlperf.errors import UsageError
from bytemlperf.isolation.bytemlperf_child.feeds import ReadOnlyFeeds


@dataclass(frozen=True)
class Shared:
    """An input without a sample dimension: every batch gets the whole array."""

    array: Array


@dataclass(frozen=True)
class Columns:
    """Arrays that fit together.

    Attributes:
        rows: C-contiguous, by name; the leading dimension is the samples, ``count`` in each.
        shared: C-contiguous, by name; of any shape.
        count: samples, 1 or more.
    """

    rows: Mapping[str, Array]
    shared: Mapping[str, Array]
    count: int

    @classmethod
    def of(cls, samples: Mapping[str, Array | Shared]) -> Columns:
        """Check that the samples fit together.

        Raises:
            UsageError: where they do not.
        """
        shared = {
            k: np.ascontiguousarray(v.array) for k, v in samples.items() if isinstance(v, Shared)
        }
        rows = {k: np.ascontiguousarray(v) for k, v in samples.items() if not isinstance(v, Shared)}
        if not rows:
            raise UsageError("samples: at least one input must have rows (all are Shared)")
        lengths = {name: len(array) if array.ndim else 0 for name, array in rows.items()}
        count = next(iter(lengths.values()))
        if count == 0 or set(lengths.values()) != {count}:
            raise UsageError(
                f"samples: every input needs the same number of rows, one at least: {lengths}"
            )
        return cls(rows, shared, count)

    def pool(self, queries: _core.QueryRows) -> _core.SamplePool:
        """Return the same memory as the core reads it, and the rows that each query takes."""
        arrays = {k: (v, False) for k, v in self.rows.items()}
        arrays |= {k: (v, True) for k, v in self.shared.items()}
        return _core.SamplePool(arrays, queries)

    def feeds(self, first: int, count: int) -> Feeds:
        """Return ``count`` rows from ``first`` on: views, or copies made now where they wrap
        around the end.
        """
        if first + count <= self.count:
            taken = {k: v[first : first + count] for k, v in self.rows.items()}
        else:
            order = np.arange(first, first + count)
            taken = {k: np.take(v, order, axis=0, mode="wrap") for k, v in self.rows.items()}
        return frozen(taken | dict(self.shared))


def frozen(feeds: Mapping[str, Array]) -> Feeds:
    """Return a read-only mapping of read-only views."""
    return ReadOnlyFeeds({name: _read_only(array) for name, array in feeds.items()})


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
