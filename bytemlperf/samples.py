"""From the user's samples to what each query hands to a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array, Feeds
from bytemlperf.errors import BackendError, UsageError

# Up to this many distinct queries are prepared before a run; above it rows are copied for each.
MAX_PREPARED = 4096

_NATIVE_DTYPES = frozenset(
    ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
)

Samples = Mapping[str, "Array | Shared"] | Sequence[Any] | None


@dataclass(frozen=True)
class Shared:
    """An input without a sample dimension: every batch gets the whole array."""

    array: Array


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _freeze(feeds: Mapping[str, Array]) -> Feeds:
    return MappingProxyType({name: _read_only(array) for name, array in feeds.items()})


def backend_spec(
    samples: Samples, batch_size: int, hooks: _core.PythonHooks, slots: int, capacity: int | None
) -> _core.BackendSpec:
    """Return how the core makes Python instances that are fed from ``samples``.

    Args:
        samples, batch_size: as :class:`LoadGenerator` takes them.
        hooks: the functions that an instance is made of.
        slots: batches of an instance that may be in flight at once.
        capacity: samples of the largest batch where queries are merged, else None.

    Raises:
        UsageError: where the samples do not fit together.
    """
    if isinstance(samples, Mapping):
        return _from_columns(samples, batch_size, hooks, slots, capacity)
    if capacity is not None:
        raise UsageError("batching merges rows: give samples as {name: array}, not as queries")
    if samples is None:
        return _core.BackendSpec.prepared(hooks, [_freeze({})], [batch_size])
    if not len(samples):
        raise UsageError("samples: the list of ready queries is empty")
    ready = [_freeze(_contiguous(q)) if isinstance(q, Mapping) else q for q in samples]
    counts = [samples_in(q, batch_size) for q in ready]
    return _core.BackendSpec.prepared(hooks, ready, counts)


def _contiguous(feeds: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.ascontiguousarray(value) for name, value in feeds.items()}


def samples_in(query: Any, default: int) -> int:
    """Return the leading dimension of a ready query's first array that has one."""
    if isinstance(query, Mapping):
        for array in query.values():
            if array.ndim:
                return int(array.shape[0])
    return default


@dataclass(frozen=True)
class Columns:
    """Samples as arrays: those with a row for each sample, and those that all batches share."""

    rows: Mapping[str, Array]
    shared: Mapping[str, Array]
    pool: _core.SamplePool

    @classmethod
    def of(cls, samples: Mapping[str, Array | Shared], batch_size: int) -> Columns:
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
        columns = {k: (v, False) for k, v in rows.items()}
        columns |= {k: (v, True) for k, v in shared.items()}
        return cls(rows, shared, _core.SamplePool(columns, count, batch_size))


def native_spec(
    path: str,
    config: str,
    samples: Samples,
    batch_size: int,
    capacity: int | None,
    keep: Callable[[list[int | None], list[int], Any], None],
) -> _core.BackendSpec:
    """Return how the core makes instances of a shared library.

    Raises:
        UsageError: where the samples are not arrays of a dtype that the C interface has.
        BackendError: where the library cannot be used.
    """
    pool = None
    if samples is not None:
        if not isinstance(samples, Mapping):
            raise UsageError("a native backend takes samples as {name: array}, not as queries")
        columns = Columns.of(samples, batch_size)
        for name, array in (*columns.rows.items(), *columns.shared.items()):
            if array.dtype.name not in _NATIVE_DTYPES:
                raise UsageError(f"samples: {name!r} has dtype {array.dtype}: not one of the C API")
        pool = columns.pool
    try:
        return _core.BackendSpec.native(
            path, config, pool, batch_size, max(batch_size, capacity or 0), keep
        )
    except RuntimeError as error:
        raise BackendError(str(error)) from error


def _from_columns(
    samples: Mapping[str, Array | Shared],
    batch_size: int,
    hooks: _core.PythonHooks,
    slots: int,
    capacity: int | None,
) -> _core.BackendSpec:
    columns = Columns.of(samples, batch_size)
    rows, shared, pool = columns.rows, columns.shared, columns.pool
    if capacity is None and pool.period <= MAX_PREPARED:
        feeds = [
            feeds_of_rows(rows, shared, pool.first_row(k), batch_size) for k in range(pool.period)
        ]
        return _core.BackendSpec.prepared(hooks, feeds, [batch_size] * len(feeds))
    room = max(batch_size, capacity or 0)

    def make_slots() -> tuple[list[dict[str, Array]], Callable[[int, int], Feeds]]:
        arrays = [
            {k: np.empty((room, *v.shape[1:]), v.dtype) for k, v in rows.items()}
            for _ in range(slots)
        ]

        def view(slot: int, count: int) -> Feeds:
            return _freeze({k: v[:count] for k, v in arrays[slot].items()} | dict(shared))

        return arrays, view

    return _core.BackendSpec.staged(hooks, pool, make_slots, room)


def feeds_of_rows(
    rows: Mapping[str, Array], shared: Mapping[str, Array], first: int, count: int
) -> Feeds:
    """Return ``count`` rows from ``first`` on: a view, or a copy made now where they wrap around
    the end."""
    total = len(next(iter(rows.values())))
    if first + count <= total:
        taken = {k: v[first : first + count] for k, v in rows.items()}
    else:
        order = np.arange(first, first + count)
        taken = {k: np.take(v, order, axis=0, mode="wrap") for k, v in rows.items()}
    return _freeze(taken | dict(shared))
