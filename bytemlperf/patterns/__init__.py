"""Load patterns: when clients submit. Rates in queries a second, times in seconds."""

from __future__ import annotations

from bytemlperf.patterns.base import OpenPattern, Pattern, Sequence, Superposed
from bytemlperf.patterns.closed_loop import ClosedLoop
from bytemlperf.patterns.given import Arrivals, Replay
from bytemlperf.patterns.horizon import Horizon, horizon_of
from bytemlperf.patterns.planned import (
    Constant,
    Gamma,
    Offline,
    OnOff,
    Poisson,
    Ramp,
    Sine,
    Steps,
)

__all__ = [
    "Arrivals",
    "ClosedLoop",
    "Constant",
    "Gamma",
    "Horizon",
    "Offline",
    "OnOff",
    "OpenPattern",
    "Pattern",
    "Poisson",
    "Ramp",
    "Replay",
    "Sequence",
    "Sine",
    "Steps",
    "Superposed",
    "horizon_of",
]
