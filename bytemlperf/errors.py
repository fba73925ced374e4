"""Errors that a user can act on. Each class carries the process exit code that the CLI returns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral


class BytemlperfError(Exception):
    """Base of every error with a message for the user (exit code 1)."""

    exit_code = 1


class UsageError(BytemlperfError):
    """The request itself is wrong: an unknown name, field or flag value (exit code 2)."""

    exit_code = 2


class RunInvalid(BytemlperfError):
    """The run finished but its figures cannot be trusted (exit code 3)."""

    exit_code = 3


class ObjectiveMissed(BytemlperfError):
    """The run is valid and misses the objective that was asked for (exit code 4)."""

    exit_code = 4


class Regression(BytemlperfError):
    """A comparison found the regression that it was asked to look for (exit code 5)."""

    exit_code = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    by_fold = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.5)
    return f"; did you mean {by_fold[close[0]]!r}?" if close else ""


def check_whole(name: str, value: object, lowest: int, highest: int) -> None:
    """Refuse an argument that is no whole number between the two (numpy's integers are).

    Raises:
        UsageError: naming the argument.
    """
    if not isinstance(value, Integral) or not lowest <= int(value) <= highest:
        raise UsageError(f"{name} is a whole number from {lowest} to {highest}, not {value!r}")


class BackendError(BytemlperfError):
    """A backend could not be built or loaded (exit code 1)."""
