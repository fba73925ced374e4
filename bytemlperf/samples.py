"""From the user's samples to what each query hands to a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array, Feeds
from bytemlperf.errors import UsageError

# Up to this many distinct queries are prepared before a run; above it rows are copied for each.
MAX_PREPARED = 4096

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
    counts = [_samples_in(q, batch_size) for q in ready]
    return _core.BackendSpec.prepared(hooks, ready, counts)


def _contiguous(feeds: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.ascontiguousarray(value) for name, value in feeds.items()}


def _samples_in(query: Any, default: int) -> int:
    if isinstance(query, Mapping):
        for array in query.values():
            if array.ndim:
                return int(array.shape[0])
    return default


def _from_columns(
    samples: Mapping[str, Array | Shared],
    batch_size: int,
    hooks: _core.PythonHooks,
    slots: int,
    capacity: int | None,
) -> _core.BackendSpec:
    shared = {k: np.ascontiguousarray(v.array) for k, v in samples.items() if isinstance(v, Shared)}
    rows = {k: np.ascontiguousarray(v) for k, v in samples.items() if not isinstance(v, Shared)}
    if not rows:
        raise UsageError("samples: at least one input must have rows (all are Shared)")
    lengths = {name: len(array) if array.ndim else 0 for name, array in rows.items()}
    count = next(iter(lengths.values()))
    if count == 0 or set(lengths.values()) != {count}:
        raise UsageError(
            f"samples: every input needs the same number of rows, one at least: {lengths}"
        )
    columns = {k: (v, False) for k, v in rows.items()} | {k: (v, True) for k, v in shared.items()}
    pool = _core.SamplePool(columns, count, batch_size)
    if capacity is None and pool.period <= MAX_PREPARED:
        feeds = [_query(rows, shared, pool, k, batch_size) for k in range(pool.period)]
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


def _query(
    rows: Mapping[str, Array],
    shared: Mapping[str, Array],
    pool: _core.SamplePool,
    query: int,
    batch_size: int,
) -> Feeds:
    """Return query k's rows: a view, or a copy made now where they wrap around the end."""
    first = pool.first_row(query)
    if pool.contiguous(query):
        taken = {k: v[first : first + batch_size] for k, v in rows.items()}
    else:
        order = np.arange(first, first + batch_size)
        taken = {k: np.take(v, order, axis=0, mode="wrap") for k, v in rows.items()}
    return _freeze(taken | dict(shared))
