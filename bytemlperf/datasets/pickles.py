"""Pickles of plain data and numpy arrays, read without executing anything."""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.errors import UsageError


def _encode(text: str, encoding: str) -> bytes:
    """The only codec by which pickles of Python 3 carry bytes in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"a codec other than latin1: {encoding!r}")
    return codecs.encode(text, "latin1")


def _admitted() -> dict[tuple[str, str], Any]:
    """What a file may name: the parts that numpy arrays are pickled as, under all their names."""
    rebuild = np.empty(0).__reduce__()[0]  # numpy's own function, wherever this version keeps it
    found: dict[tuple[str, str], Any] = {("_codecs", "encode"): _encode}
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "_reconstruct"] = rebuild
    found["numpy", "ndarray"] = np.ndarray
    found["numpy", "dtype"] = np.dtype
    return found


class _Plain(pickle.Unpickler):
    """Refuses every name that is not a part of an array."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = _admitted()
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return admitted[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for something outside the file, which is refused")


def read_pickle(path: Path) -> Any:
    """Read numbers, strings, lists, dictionaries and numpy arrays; strings of Python 2 as bytes.

    Raises:
        UsageError: naming the file, where it is cut off or holds anything else. Nothing of it is
            executed.
    """
    try:
        with path.open("rb") as file:
            return _Plain(file, encoding="bytes").load()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # broken opcodes raise nearly anything
        raise UsageError(
            f"{path}: not a pickle of plain data: {str(error) or type(error).__name__}"
        ) from error
