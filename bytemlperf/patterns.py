"""Load patterns: when clients submit. Rates in queries a second, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bytemlperf import _core
from bytemlperf.errors import UsageError


class Pattern(Protocol):
    """What :meth:`LoadGenerator.run` takes."""

    @property
    def clients(self) -> int: ...

    def to_core(self) -> _core.ClosedLoop | _core.OpenLoop: ...


def _check_clients(clients: int) -> None:
    if not 1 <= clients <= 4096:
        raise UsageError(f"clients must lie between 1 and 4096, not {clients!r}")


def _check_rate(rate: float) -> None:
    if not 2e-5 <= rate <= 1e9:
        raise UsageError(f"rate must lie between 2e-5 and 1e9 queries a second, not {rate!r}")


@dataclass(frozen=True)
class ClosedLoop:
    """Each client submits, waits for its answer, thinks, and submits again."""

    clients: int = 1
    think_time: float = 0.0

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        if not self.think_time >= 0:
            raise UsageError(f"think_time must not be negative, not {self.think_time!r}")

    def to_core(self) -> _core.ClosedLoop:
        return _core.ClosedLoop(self.clients, round(self.think_time * 1e9))

    def __str__(self) -> str:
        think = f", think {self.think_time:g} s" if self.think_time else ""
        return f"closed loop, {self.clients} client{'s' * (self.clients > 1)}{think}"


@dataclass(frozen=True)
class Constant:
    """Open loop: query n is due at n / rate, whatever the backend does."""

    rate: float
    clients: int = 1

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        _check_rate(self.rate)

    def to_core(self) -> _core.OpenLoop:
        return _core.OpenLoop(_core.ConstantArrivals(self.rate), self.clients, False)

    def __str__(self) -> str:
        return f"open loop, constant {self.rate:g}/s"


@dataclass(frozen=True)
class Poisson:
    """Open loop: independent exponential gaps of mean 1 / rate."""

    rate: float
    clients: int = 1

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        _check_rate(self.rate)

    def to_core(self) -> _core.OpenLoop:
        return _core.OpenLoop(_core.PoissonArrivals(self.rate), self.clients, False)

    def __str__(self) -> str:
        return f"open loop, Poisson {self.rate:g}/s"


@dataclass(frozen=True)
class Offline:
    """Every query is due at once; the window lasts until the last answer."""

    clients: int = 1

    def __post_init__(self) -> None:
        _check_clients(self.clients)

    def to_core(self) -> _core.OpenLoop:
        return _core.OpenLoop(_core.OfflineArrivals(), self.clients, True)

    def __str__(self) -> str:
        return "offline, everything at once"
