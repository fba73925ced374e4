"""Optional dependencies: imported late, and named with the extra that installs them."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

from bytemlperf.errors import BytemlperfError


class MissingExtra(BytemlperfError):
    """A package of an optional extra is not installed."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` or raise :class:`MissingExtra` naming ``pip install 'bytemlperf[extra]'``."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        if missing != module.partition(".")[0]:
            raise
        raise MissingExtra(
            f"{purpose} needs the package {missing!r}: pip install 'bytemlperf[{extra}]'"
        ) from error


def require_tensorflow(purpose: str) -> ModuleType:
    """Import TensorFlow without its start-up notes (set TF_CPP_MIN_LOG_LEVEL=0 to see them)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return require("tensorflow", extra="tf", purpose=purpose)


def installed(module: str) -> bool:
    """True where a top-level module can be imported; imports nothing."""
    return importlib.util.find_spec(module) is not None
