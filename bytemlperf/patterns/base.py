"""What a pattern is, and patterns made of patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bytemlperf import _core
from bytemlperf.errors import UsageError
from bytemlperf.patterns.horizon import Horizon


class Pattern(Protocol):
    """What :meth:`LoadGenerator.run` takes."""

    @property
    def clients(self) -> int: ...

    @property
    def length_ns(self) -> int | None:
        """The pattern's own length; None where the run says how long it lasts."""

    def to_core(self, horizon: Horizon) -> _core.ClosedLoop | _core.OpenLoop: ...


class OpenPattern:
    """Open loop: queries are due by a plan, whatever the backend does.

    ``a + b`` superposes: the queries of both. ``a.then(b)`` follows: b begins where a ends.
    """

    clients: int

    @property
    def length_ns(self) -> int | None:
        return None

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        """Return the arrivals; a ValueError or TypeError says what is wrong with the figures."""
        raise NotImplementedError

    def words(self) -> str:
        """Return the pattern for a reader, e.g. ``Poisson 100/s``."""
        raise NotImplementedError

    def to_core(self, horizon: Horizon) -> _core.OpenLoop:
        return _core.OpenLoop(self.process(horizon), self.clients, False)

    def then(self, other: OpenPattern, *, after: float | None = None) -> OpenPattern:
        """Return this pattern followed by ``other``.

        Args:
            other: begins anew when this one ends.
            after: seconds that this pattern lasts; its own length where it has one (Steps,
                Replay).

        Raises:
            UsageError: where this pattern has no length and ``after`` is not given.
        """
        length = self.length_ns if after is None else round(after * 1e9)
        if length is None:
            raise UsageError(f"{self.words()} has no end of its own: .then(..., after=SECONDS)")
        if length <= 0:
            raise UsageError(f"after is a positive number of seconds, not {after!r}")
        return Sequence(self, length, other)

    def __add__(self, other: OpenPattern) -> OpenPattern:
        if not isinstance(other, OpenPattern):
            return NotImplemented
        return Superposed(self, other)

    def __str__(self) -> str:
        return f"open loop, {self.words()}"

    def check(self) -> None:
        """Refuse figures that no plan can hold.

        Raises:
            UsageError: with the pattern as it was given, and what is wrong with it.
        """
        check_clients(self.clients)
        second = 1_000_000_000
        try:
            self.process(Horizon(duration=second, bound=second, queries=1, seed=(0,)))
        except ValueError as error:
            raise UsageError(f"{self!r}: {error}") from error
        except TypeError as error:
            raise UsageError(f"{self!r}: rates and times are numbers") from error


def check_clients(clients: int) -> None:
    """Raise UsageError for a number of client threads that cannot be."""
    if not 1 <= clients <= 4096:
        raise UsageError(f"clients must lie between 1 and 4096, not {clients!r}")


@dataclass(frozen=True)
class Superposed(OpenPattern):
    """The queries of two patterns that do not know of each other: ``a + b``."""

    a: OpenPattern
    b: OpenPattern

    @property
    def clients(self) -> int:  # type: ignore[override]
        return max(self.a.clients, self.b.clients)

    @property
    def length_ns(self) -> int | None:
        lengths = (self.a.length_ns, self.b.length_ns)
        known = [length for length in lengths if length is not None]
        return max(known) if len(known) == 2 else None

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        a, b = self.a.process(horizon.part(0)), self.b.process(horizon.part(1))
        return _core.SuperposedArrivals(a, b)

    def words(self) -> str:
        return f"{self.a.words()} + {self.b.words()}"


@dataclass(frozen=True)
class Sequence(OpenPattern):
    """One pattern for ``first_ns``, then another from its beginning: ``a.then(b)``."""

    first: OpenPattern
    first_ns: int
    second: OpenPattern

    @property
    def clients(self) -> int:  # type: ignore[override]
        return max(self.first.clients, self.second.clients)

    @property
    def length_ns(self) -> int | None:
        rest = self.second.length_ns
        return None if rest is None else self.first_ns + rest

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        if horizon.bound is not None and horizon.bound <= self.first_ns:
            raise UsageError(
                f"{self.words()}: the run ends before the second part begins: raise duration"
            )
        first = self.first.process(horizon.part(0, length=self.first_ns))
        second = self.second.process(horizon.part(1, start=self.first_ns))
        return _core.SequenceArrivals(first, self.first_ns, second)

    def words(self) -> str:
        return f"{self.first.words()} for {self.first_ns * 1e-9:g} s, then {self.second.words()}"
