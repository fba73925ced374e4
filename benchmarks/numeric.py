"""The numeric check's statistics beside the same ones written with numpy, dtype by dtype.

Needs ml_dtypes for bfloat16. ``python benchmarks/numeric.py [--pairs N]``
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from pairs import Row, main, table

from bytemlperf.numeric import difference

_ELEMENTS = 1_000_000
_BITS = {
    "float16": np.int16,
    "bfloat16": np.int16,
    "float32": np.int32,
    "float64": np.int64,
}


def with_numpy(reference: np.ndarray, candidate: np.ndarray) -> dict[str, Any]:
    """What :class:`bytemlperf.numeric.Difference` holds, in the plainest numpy that is exact."""
    r, c = reference.astype(np.float64), candidate.astype(np.float64)
    counts = [np.isnan(r).sum(), np.isnan(c).sum(), np.isinf(r).sum(), np.isinf(c).sum()]
    good = np.isfinite(r) & np.isfinite(c)
    r, c = r[good], c[good]
    d = np.abs(c - r)
    relative = d / np.where(r == 0, 1.0, np.abs(r))
    exponents = np.bincount((d.view(np.int64) >> 52), minlength=2048)
    steps = np.abs(_ordered(reference[good]) - _ordered(candidate[good]))
    ulps = np.bincount(np.frexp(steps.astype(np.float64))[1], minlength=65)
    return {
        "mean": d.mean(),
        "std": d.std(),
        "max": d.max(),
        "where": d.argmax(),
        "mean_rel": relative.mean(),
        "max_rel": relative.max(),
        "power": (r @ r, c @ c, r @ c, d @ d),
        "counts": counts,
        "exponents": exponents,
        "ulps": ulps,
    }


def _ordered(array: np.ndarray) -> np.ndarray:
    """Bit patterns in the order of the numbers."""
    kind = _BITS.get(array.dtype.name)
    if kind is None:
        return array.astype(np.int64)
    bits = array.view(kind).astype(np.int64)
    return np.where(bits < 0, -(bits & np.iinfo(kind).max), bits)


def _seconds(function: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _arrays(dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind in "iu":
        r = rng.integers(-1000, 1000, _ELEMENTS).astype(dtype)
        return r, (r + rng.integers(-3, 3, _ELEMENTS)).astype(dtype)
    r = rng.standard_normal(_ELEMENTS)
    return r.astype(dtype), (r + 1e-3 * rng.standard_normal(_ELEMENTS)).astype(dtype)


def measure(pairs: int) -> str:
    rows = []
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int32):
        r, c = _arrays(dtype)
        ours, other = difference(r, c), with_numpy(r, c)
        assert ours.max_diff == other["max"]
        assert ours.ulps == {i: n for i, n in enumerate(other["ulps"]) if n}
        name = np.dtype(dtype).name
        row = Row(f"1 M pairs of {name}", "numpy", "ms", "<= 0.25")
        for _ in range(pairs):
            row.add(
                1e3 * _seconds(lambda r=r, c=c: difference(r, c)),  # type: ignore[misc]
                1e3 * _seconds(lambda r=r, c=c: with_numpy(r, c)),  # type: ignore[misc]
            )
        rows.append(row)
    return table(rows)


if __name__ == "__main__":
    main(__doc__, measure)
