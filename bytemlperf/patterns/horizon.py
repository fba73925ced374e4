"""How long a run is: what a pattern's plan is made for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bytemlperf.errors import UsageError, check_whole

if TYPE_CHECKING:
    from bytemlperf.patterns.base import Pattern

_DEFAULT_BOUND_S = 60.0


@dataclass(frozen=True)
class Horizon:
    """What a plan is made for.

    Attributes:
        duration: length of the run in ns, where it is known beforehand.
        bound: ns after which nothing is planned, where there is such a bound.
        queries: how many queries at most, or None.
        seed: of the run, and the path to a part of a composed pattern.
    """

    duration: int | None
    bound: int | None
    queries: int | None
    seed: tuple[int, ...]

    def part(self, index: int, *, start: int = 0, length: int | None = None) -> Horizon:
        """Return the horizon of a part that begins at ``start`` and may end after ``length``."""

        def within(whole: int | None) -> int | None:
            return length if whole is None or length is not None else whole - start

        return replace(
            self,
            duration=within(self.duration),
            bound=within(self.bound),
            seed=(*self.seed, index),
        )


def horizon_of(
    pattern: Pattern,
    *,
    queries: int | None,
    duration: float | None,
    p99_within: float | None,
    max_duration: float | None,
    seed: int,
) -> Horizon:
    """Check that what a run is asked for fits together (seconds; see ``LoadGenerator.run``).

    Raises:
        UsageError: where it does not.
    """
    if isinstance(pattern, type) or not hasattr(pattern, "to_core"):
        raise UsageError(f"a pattern is an object such as Poisson(100), not {pattern!r}")
    if queries is not None:
        check_whole("queries", queries, 1, (1 << 63) - 1)
    if pattern.length_ns is not None:
        if queries is not None or duration is not None or p99_within is not None:
            raise UsageError(
                f"{pattern}: lasts {pattern.length_ns * 1e-9:g} s by itself: give none of queries, "
                "duration and p99_within"
            )
    elif p99_within is not None:
        if queries is not None or duration is not None:
            raise UsageError("p99_within decides when to stop: give neither queries nor duration")
        if not 0 < p99_within < 1:
            raise UsageError(f"p99_within is a share between 0 and 1, not {p99_within!r}")
        max_duration = max_duration or _DEFAULT_BOUND_S
    elif (queries is None) == (duration is None):
        raise UsageError("give exactly one of queries and duration")
    seconds = [s for s in (duration, max_duration) if s is not None]
    if any(not 0 < s < 1e9 for s in seconds):
        raise UsageError(f"a duration is a positive number of seconds, not {min(seconds)!r}")
    ends = [max(1, round(s * 1e9)) for s in seconds]
    if pattern.length_ns is not None:
        ends.append(pattern.length_ns)
    bound = min(ends, default=None)
    known = duration is not None or pattern.length_ns is not None
    return Horizon(bound if known else None, bound, queries, (seed,))
