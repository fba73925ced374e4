"""From the user's samples to what each query hands to a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array, Feeds
from bytemlperf.columns import Columns, Shared, frozen
from bytemlperf.errors import BackendError, UsageError
from bytemlperf.query_mix import QueryMix

# Up to this many distinct queries are prepared before a run; above it rows are copied for each.
MAX_PREPARED = 4096

_NATIVE_DTYPES = frozenset(
    ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
)

Samples = Mapping[str, "Array | Shared"] | Sequence[Any] | None
"""``{name: array}`` whose rows are samples; a mix of queries; ready queries, each handed over as
it is; or None: an empty mapping."""


def columns_of(samples: Samples, batch_size: int) -> tuple[Columns, _core.QueryRows] | None:
    """Return samples that are arrays, and the rows that each query takes of them.

    None where there are no samples, or each query is ready by itself.

    Raises:
        UsageError: where the arrays do not fit together.
    """
    if isinstance(samples, QueryMix):
        return samples.columns, samples.queries
    if isinstance(samples, Mapping):
        columns = Columns.of(samples)
        return columns, _core.QueryRows(batch_size, columns.count)
    return None


def query_sizes(samples: Samples, batch_size: int) -> _core.QueryRows:
    """Return how many samples each query has, for a backend that reads none of them."""
    return samples.queries if isinstance(samples, QueryMix) else _core.QueryRows(batch_size)


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
    arrays = columns_of(samples, batch_size)
    if arrays is not None:
        return _from_columns(*arrays, hooks, slots, capacity)
    if capacity is not None:
        raise UsageError(
            "batching merges rows: give samples as {name: array} or mix_queries(...), not as "
            "queries of their own"
        )
    if samples is None:
        return _core.BackendSpec.prepared(hooks, [frozen({})], [batch_size])
    if not len(samples):
        raise UsageError("samples: the list of ready queries is empty")
    ready = [frozen(_contiguous(q)) if isinstance(q, Mapping) else q for q in samples]
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


def native_spec(
    path: str,
    config: str,
    samples: Samples,
    batch_size: int,
    capacity: int | None,
    keep: Callable[[list[int | None], list[int], Any], None],
) -> _core.BackendSpec:
    """Return how the core makes instances of a shared library.

    Args:
        path, config: the library, and the JSON object that its ``create`` gets.
        samples, batch_size: as :class:`LoadGenerator` takes them.
        capacity: samples of the largest batch where queries are merged, else None.
        keep: takes (queries, samples of each, outputs) of a batch that is to be kept.

    Raises:
        UsageError: where the samples are not arrays of a dtype that the C interface has.
        BackendError: where the library cannot be used.
    """
    arrays = columns_of(samples, batch_size)
    if arrays is None and samples is not None:
        raise UsageError(
            "a native backend takes samples as {name: array} or mix_queries(...), not as queries "
            "of their own"
        )
    pool = None
    queries = query_sizes(samples, batch_size)
    if arrays is not None:
        columns, queries = arrays
        inputs = {**columns.rows, **columns.shared}
        check_native_dtypes({name: array.dtype for name, array in inputs.items()})
        pool = columns.pool(queries)
    room = max(queries.largest, capacity or 0)
    try:
        return _core.BackendSpec.native(path, config, pool, queries, room, keep)
    except RuntimeError as error:
        raise BackendError(str(error)) from error


def check_native_dtypes(dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Raise UsageError where an input's dtype is none of the C interface's."""
    for name, dtype in dtypes.items():
        if dtype.name not in _NATIVE_DTYPES:
            raise UsageError(f"samples: {name!r} has dtype {dtype}: not one of the C API")


def _from_columns(
    columns: Columns,
    queries: _core.QueryRows,
    hooks: _core.PythonHooks,
    slots: int,
    capacity: int | None,
) -> _core.BackendSpec:
    if capacity is None and queries.period <= MAX_PREPARED:
        counts = [queries.samples(k) for k in range(queries.period)]
        feeds = [columns.feeds(queries.first(k), n) for k, n in enumerate(counts)]
        return _core.BackendSpec.prepared(hooks, feeds, counts)
    room = max(queries.largest, capacity or 0)

    def make_slots() -> tuple[list[dict[str, Array]], Callable[[int, int], Feeds]]:
        arrays = [
            {k: np.empty((room, *v.shape[1:]), v.dtype) for k, v in columns.rows.items()}
            for _ in range(slots)
        ]

        def view(slot: int, count: int) -> Feeds:
            return frozen({k: v[:count] for k, v in arrays[slot].items()} | dict(columns.shared))

        return arrays, view

    return _core.BackendSpec.staged(hooks, columns.pool(queries), make_slots, room)
