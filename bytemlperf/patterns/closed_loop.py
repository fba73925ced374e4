"""Closed loop: the backend's answers set the pace."""

from __future__ import annotations

from dataclasses import dataclass

from bytemlperf import _core
from bytemlperf.device import Deterministic, ServiceTime
from bytemlperf.errors import UsageError
from bytemlperf.patterns.base import check_clients
from bytemlperf.patterns.horizon import Horizon


@dataclass(frozen=True)
class ClosedLoop:
    """Each client submits, waits for its answer, thinks, and submits again.

    ``think_time``: seconds, or a distribution of them: ``Exponential(0.1)``, ``Lognormal(0.1, 2)``.
    """

    clients: int = 1
    think_time: float | ServiceTime = 0.0
    length_ns = None

    def __post_init__(self) -> None:
        check_clients(self.clients)
        if isinstance(self.think_time, (int, float)) and not 0 <= self.think_time < 1e6:
            raise UsageError(f"think_time lies between 0 and 1e6 s, not {self.think_time!r}")

    def to_core(self, horizon: Horizon) -> _core.ClosedLoop:
        think = self.think_time
        if isinstance(think, (int, float)):
            core = Deterministic(think).to_core() if think else None
        else:
            core = think.to_core()
        return _core.ClosedLoop(self.clients, core)

    def __str__(self) -> str:
        think = self.think_time
        spelt = f"{think:g} s" if isinstance(think, (int, float)) else str(think)
        return f"closed loop, {self.clients} client{'s' * (self.clients > 1)}" + (
            f", think {spelt}" if think else ""
        )
