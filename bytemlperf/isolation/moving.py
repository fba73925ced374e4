"""What a child is told: where its modules are, how its inputs lie, and the backend itself."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import io
import json
import pickle
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

from bytemlperf.device import NativeBackend
from bytemlperf.errors import UsageError

# The newest that every supported interpreter reads.
_PROTOCOL = 4

#: (name, dtype, shape, offset in the slot, is a dimension of samples added in front)
TensorLayout = tuple[str, str, list[int], int, bool]


def message(
    backend: Any,
    batch_size: int,
    layouts: Sequence[Sequence[TensorLayout]],
    slot_bytes: int,
    *,
    same_python: bool,
) -> bytes:
    """Return what the child reads: a line of JSON and a pickle of the backend. A shared library
    needs no more than the line.

    Args:
        batch_size: samples of the largest batch.

    Raises:
        UsageError: where the backend cannot be pickled; it says what to do.
    """
    native = isinstance(backend, NativeBackend)
    pickled, modules = (b"", set[str]()) if native else _pickle(backend)
    files: dict[str, str] = {}
    packages: dict[str, list[str]] = {}
    if not same_python:  # where this package is not installed, its modules in Python do
        packages["bytemlperf"] = list(sys.modules["bytemlperf"].__path__)
    for name in sorted(modules):
        top = name.partition(".")[0]
        if top == "bytemlperf" or (same_python and _on_path(top)):
            continue
        package = sys.modules.get(top)
        if package is not None and hasattr(package, "__path__"):
            packages[top] = list(package.__path__)
        elif file := getattr(sys.modules.get(name), "__file__", None):
            files[name] = file
        elif name == "__main__":
            raise UsageError(
                "a backend that was typed in, not read from a file, cannot be isolated: its "
                "process could not find it"
            )
    head = {
        "library": backend.as_text() if native else None,
        "batch_size": batch_size,
        "sys_path": sys.path if same_python else [],
        "packages": packages,
        "files": files,
        "layouts": layouts,
        "slot_bytes": slot_bytes,
    }
    return json.dumps(head).encode() + b"\n" + pickled


def plain(value: Any) -> Any:
    """Return records (dataclasses, pydantic models) as namespaces of their fields, functions as
    None: what an interpreter without this package's dependencies can read.
    """
    names: Iterable[str] = getattr(type(value), "model_fields", ())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
    if record := {name: plain(getattr(value, name)) for name in names}:
        return types.SimpleNamespace(**record)
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(part) for part in value)
    return None if callable(value) else value


def _on_path(top: str) -> bool:
    return (
        top in sys.builtin_module_names or importlib.machinery.PathFinder.find_spec(top) is not None
    )


class _Noting(pickle.Pickler):
    """Notes the modules whose classes and functions are pickled by name."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, _PROTOCOL)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | types.FunctionType):
            self.modules.add(obj.__module__)
        return NotImplemented


def _pickle(value: Any) -> tuple[bytes, set[str]]:
    file = io.BytesIO()
    pickler = _Noting(file)
    try:
        pickler.dump(value)
    except Exception as error:
        raise UsageError(
            f"this backend cannot be isolated, because it cannot be sent to a process of its own "
            f"({error}): give a class, or a function or object of a module's top level"
        ) from error
    return file.getvalue(), pickler.modules
