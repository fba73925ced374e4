"""Optional dependencies: imported late, and named with the extra that installs them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
    with _importing:
        if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
            return require("tensorflow", extra="tf", purpose=purpose)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with _stderr_without_notes():
            return require("tensorflow", extra="tf", purpose=purpose)


# Standard error belongs to the process: one import at a time turns it away.
_importing = threading.Lock()
# Notes of a severity below a warning, and the line before the first of them.
_NOTES = rb"I\d{4} |WARNING: All log messages before absl::InitializeLog"
_FILTER = f"""
import re, sys
for line in sys.stdin.buffer:
    if not re.match({_NOTES!r}, line):
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
"""


@contextmanager
def _stderr_without_notes() -> Iterator[None]:
    """Filter what native code writes to standard error while the block runs.

    TensorFlow logs before it has read TF_CPP_MIN_LOG_LEVEL. The filter is a process of its own, so
    that the last words of a crash still get out.
    """
    stderr = os.dup(2)
    try:
        with subprocess.Popen(
            [sys.executable, "-S", "-c", _FILTER],
            stdin=subprocess.PIPE,
            stdout=stderr,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
        ) as lines:
            assert lines.stdin is not None
            os.dup2(lines.stdin.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(stderr, 2)
    finally:
        os.close(stderr)


def installed(module: str) -> bool:
    """True where a top-level module can be imported; imports nothing."""
    return importlib.util.find_spec(module) is not None
