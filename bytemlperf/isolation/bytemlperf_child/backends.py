"""From what the parent sent to a loaded backend."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from .feeds import ReadOnlyFeeds
from .native import Library, load_native


@dataclass(frozen=True)
class Loaded:
    """A backend that can be called.

    Attributes:
        call: ``predict``, or ``submit`` where it is asynchronous.
        prepare: makes what ``call`` takes from (inputs by name, samples).
        promises_rows: its arrays have a row for each sample.
    """

    call: Callable[..., Any]
    asynchronous: bool
    promises_rows: bool
    unload: Callable[[], Any]
    prepare: Callable[[Mapping[str, Any], int], Any]


def load(spec: Mapping[str, Any], rest: BinaryIO) -> Loaded:
    """Load what the parent sent: a shared library, or a pickle in the ``rest`` of its message."""
    if spec["library"] is not None:
        path, config = spec["library"]
        library = Library(path)
        native = load_native(library, config, spec["batch_size"])
        return Loaded(native.call, library.asynchronous, True, native.unload, native.prepare)
    prepare_imports(spec)
    return _load_python(pickle.load(rest), spec["batch_size"])


def prepare_imports(spec: Mapping[str, Any]) -> None:
    """Make the parent's modules importable: by its path, else by folder or file."""
    sys.path[:] = [*spec["sys_path"], *(p for p in sys.path if p not in spec["sys_path"])]
    for package, folders in spec["packages"].items():
        if not _importable(package):  # its folder, without its compiled parts
            found = importlib.machinery.ModuleSpec(package, None, is_package=True)
            found.submodule_search_locations = folders
            sys.modules[package] = importlib.util.module_from_spec(found)
    for name, file in spec["files"].items():
        if name == "__main__" or not _importable(name):
            _load_file(name, file)


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _load_file(name: str, file: str) -> None:
    # As multiprocessing has it: the part of a script under `if __name__ == "__main__"` does not run.
    called = "__mp_main__" if name == "__main__" else name
    found = importlib.util.spec_from_file_location(called, file)
    if found is None or found.loader is None:
        raise ImportError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = sys.modules[called] = module
    found.loader.exec_module(module)


def _load_python(backend: Any, batch_size: int) -> Loaded:
    target = backend.func if isinstance(backend, functools.partial) else backend
    instance = backend() if isinstance(target, type) else backend
    unload = getattr(instance, "unload", None) or (lambda: None)
    if hasattr(instance, "load"):
        instance.load(batch_size)
    asynchronous = hasattr(instance, "submit")
    promises_rows = hasattr(instance, "predict")
    call = instance.submit if asynchronous else instance.predict if promises_rows else instance
    return Loaded(call, asynchronous, promises_rows, unload, lambda feeds, _: ReadOnlyFeeds(feeds))
