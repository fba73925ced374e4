"""What goes wrong in a backend, and how it is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

_HERE = os.path.dirname(__file__)  # noqa: PTH120 - compared with the names in tracebacks


class BadOutputs(Exception):
    """The backend returned what a backend may not return."""


class NativeError(Exception):
    """A shared library reported an error, or is none that can be used."""


def attempt(function: Callable[..., Any], *arguments: Any) -> Exception | None:
    """Call a function and return what it raised, or None."""
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - a vendor's code raises what it likes
        return error
    return None


def place_of(error: BaseException) -> str | None:
    """Return ``file:line`` of the backend's code that raised, or None where this package did."""
    trace = error.__traceback__
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return None if os.path.dirname(file) == _HERE else f"{file}:{trace.tb_lineno}"  # noqa: PTH120


def explain(error: BaseException) -> str:
    """The message, and where in the backend it was raised."""
    place = place_of(error)
    return str(error) if place is None else f"{error} ({place})"
