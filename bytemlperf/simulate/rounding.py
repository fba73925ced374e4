"""Reduced precision, emulated: values are rounded to the grid that a device computes on."""

from __future__ import annotations

import numpy as np

from bytemlperf.backend import Array

_INT8_MAX = 127.0
_E4M3_MAX = 448.0


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


def float16(values: Array) -> Array:
    """Round float32 to IEEE half precision; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        half: Array = np.asarray(values, np.float32).astype(np.float16)
    return half.astype(np.float32)


def float8_e4m3(values: Array) -> Array:
    """Round to an FP8 grid (4 bits of exponent, 3 of fraction) scaled to the largest value.

    Scaled by a power of two, as devices do it: the largest value lies between 224 and 448, where
    the format ends. Rounds to nearest, ties to even; below 2^-6 the grid is 2^-9.
    """
    values = np.asarray(values, np.float32)
    largest = float(np.max(np.abs(values), initial=0.0))
    if not np.isfinite(largest) or largest == 0:
        return values
    scale = 2.0 ** np.floor(np.log2(_E4M3_MAX / largest))
    scaled = values * scale
    exponent = np.maximum(np.floor(np.log2(np.maximum(np.abs(scaled), 1e-30))), -6.0)
    step = np.exp2(exponent - 3.0)
    rounded = np.clip(np.rint(scaled / step) * step, -_E4M3_MAX, _E4M3_MAX)
    restored: Array = (rounded / scale).astype(np.float32)
    return restored
