"""Where samples go in a child's staging slots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array
from bytemlperf.columns import Columns
from bytemlperf.errors import UsageError
from bytemlperf.isolation.moving import TensorLayout
from bytemlperf.samples import Samples, columns_of, samples_in

_ALIGN = 64  # a cache line, and what vector instructions ask for

Layouts = list[list[TensorLayout]]


def stage(samples: Samples, batch_size: int, room: int) -> tuple[_core.StagedInputs, Layouts, int]:
    """Return (where the core takes inputs from, their layouts, the bytes of a slot).

    Args:
        samples, batch_size: as LoadGenerator takes them.
        room: samples of the largest batch.

    Raises:
        UsageError: where the samples are not arrays that another process can read.
    """
    arrays = columns_of(samples, batch_size)
    if arrays is not None:
        return _columns(*arrays, room)
    if samples is None:
        return _core.StagedInputs.ready([([], batch_size)], 0), [[]], 0
    ready, layouts, slot_bytes = [], [], 0
    for query in samples:
        if not isinstance(query, Mapping):
            raise UsageError(
                f"an isolated backend takes arrays: samples hold a {type(query).__name__}"
            )
        pieces: list[tuple[Array, int]] = []
        layout: list[TensorLayout] = []
        offset = 0
        for name, value in query.items():
            array = np.ascontiguousarray(value)
            shape = list(np.shape(value))
            layout.append((name, _dtype(name, array), shape, offset, False))
            pieces.append((array, offset))
            offset = _after(offset, array.nbytes)
        ready.append((pieces, samples_in(query, batch_size)))
        layouts.append(layout)
        slot_bytes = max(slot_bytes, offset)
    if not ready:
        raise UsageError("samples: the list of ready queries is empty")
    return _core.StagedInputs.ready(ready, slot_bytes), layouts, slot_bytes


def _columns(
    columns: Columns, queries: _core.QueryRows, room: int
) -> tuple[_core.StagedInputs, Layouts, int]:
    layout: list[TensorLayout] = []
    offset = 0
    for name in sorted(columns.rows.keys() | columns.shared.keys()):  # the pool's order
        batched = name in columns.rows
        array = (columns.rows if batched else columns.shared)[name]
        shape = list(array.shape[1:] if batched else array.shape)
        layout.append((name, _dtype(name, array), shape, offset, batched))
        offset = _after(offset, array[:1].nbytes * room if batched else array.nbytes)
    offsets = [tensor[3] for tensor in layout]
    pool = columns.pool(queries)
    return _core.StagedInputs.columns(pool, offsets, offset), [layout], offset


def _dtype(name: str, array: Any) -> str:
    if array.dtype.hasobject or array.dtype.kind == "V":
        raise UsageError(
            f"samples: {name!r} has dtype {array.dtype}, which an isolated backend cannot read"
        )
    return str(array.dtype.str)


def _after(offset: int, size: int) -> int:
    return -(-(offset + size) // _ALIGN) * _ALIGN
