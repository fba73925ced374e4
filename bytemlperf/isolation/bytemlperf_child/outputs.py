"""What a backend returns: refused where it may not be, described where it is to be sent."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import BadOutputs

ALIGN = 64


def check(outputs: Any, rows: int | None = None) -> None:
    """Refuse arrays that are not numpy's, and read a byte of the others: what has not been computed
    must not pass for an answer. ``rows``: the leading dimension that arrays of a mapping need.
    """
    if outputs is None:
        return
    if isinstance(outputs, np.ndarray):
        if outputs.size:
            outputs.item(0)
    elif isinstance(outputs, dict):
        for name, value in outputs.items():
            check(value)
            if rows is not None:
                _check_rows(name, value, rows)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            check(value)
    elif hasattr(outputs, "__dlpack__") and not isinstance(outputs, np.generic):
        raise TypeError(
            f"the backend returned a {type(outputs).__name__}, which may not have been computed "
            "yet or may lie on a device; return numpy arrays"
        )


def _check_rows(name: str, value: Any, rows: int) -> None:
    shape = getattr(value, "shape", None)
    if shape is None or len(shape) == 0 or shape[0] != rows:
        raise BadOutputs(
            f"output {name!r}: expected an array with {rows} rows (the samples of the batch), got "
            f"{type(value).__name__ if shape is None else tuple(shape)}"
        )


def describe(outputs: Any, arrays: list[tuple[int, Any]], size: int = 0) -> tuple[list[Any], int]:
    """Return (a JSON tree of the outputs, the bytes that their arrays need); ``arrays`` collects
    (offset, array). process.outputs_from() is the reverse.
    """
    if isinstance(outputs, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(outputs)
        if array.dtype.hasobject:
            raise BadOutputs("an output of dtype object cannot leave its process")
        arrays.append((size, array))
        tree: list[Any] = ["array", array.dtype.str, list(np.shape(outputs)), size]
        return tree, -(-(size + array.nbytes) // ALIGN) * ALIGN
    if isinstance(outputs, (dict, list, tuple)):
        parts = []
        for item in outputs.values() if isinstance(outputs, dict) else outputs:
            part, size = describe(item, arrays, size)
            parts.append(part)
        if isinstance(outputs, dict):
            return ["dict", [str(key) for key in outputs], parts], size
        return [type(outputs).__name__, parts], size
    if outputs is None or isinstance(outputs, (bool, int, float, str)):
        return ["plain", outputs], size
    raise BadOutputs(f"an output of type {type(outputs).__name__} cannot leave its process")
