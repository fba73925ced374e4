"""A function of arrivals, read from the user's file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytemlperf.errors import UsageError, did_you_mean


def function_of(file: str, name: str) -> Callable[..., Any]:
    """Import a Python file, and return its function ``name``.

    Raises:
        UsageError: where the file cannot be imported, or has no such function.
    """
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file}: not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(f"{file}: no function {name!r}{did_you_mean(name, known)}")
    function: Callable[..., Any] = found
    return function
