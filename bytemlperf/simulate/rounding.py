"""Reduced precision, emulated: values are rounded to the grid that a device computes on."""

from __future__ import annotations

import numpy as np

from bytemlperf.backend import Array

_INT8_MAX = 127.0


def int8_per_channel(weight: Array, axis: int = 0) -> Array:
    """Round to a symmetric INT8 grid with one scale for each index of ``axis``.

    Returns:
        float32, the shape of ``weight``: ``scale * round(w / scale)``, scale = max |w| / 127.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.max(np.abs(weight), axis=others, keepdims=True) / _INT8_MAX
    scale = np.where(scale == 0, 1.0, scale)
    return (np.rint(weight / scale) * scale).astype(np.float32)


def prune(weight: Array, sparsity: int) -> Array:
    """Keep the largest of every ``sparsity`` weights that follow each other in a row.

    The rest become zero. A row that the group does not divide keeps its last weights dense.
    """
    if sparsity == 1:
        return weight
    rows = weight.reshape(weight.shape[0], -1)
    groups = rows.shape[1] // sparsity
    kept = rows.copy()
    grouped = kept[:, : groups * sparsity].reshape(len(rows), groups, sparsity)
    largest = np.abs(grouped).argmax(axis=2, keepdims=True)
    mask = np.arange(sparsity) == largest
    kept[:, : groups * sparsity] = np.where(mask, grouped, 0).reshape(len(rows), -1)
    return kept.reshape(weight.shape)


def bfloat16(values: Array) -> Array:
    """Round float32 to bfloat16, to nearest and ties to even; NaN and infinity stay."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(values), rounded.view(np.float32), values)
