"""ByteIR's two packages, where they are."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def installed() -> bool:
    """True where ByteIR's compiler and runtime can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("byteir", "brt"))


def compiler() -> Any:
    return importlib.import_module("byteir")


def runtime() -> Any:
    return importlib.import_module("brt")
