"""The patterns that a load may name, with the figures of each, in the command line's order."""

from __future__ import annotations

from dataclasses import dataclass

EXTENTS = ("duration_s", "queries")


@dataclass(frozen=True)
class Kind:
    """What a pattern takes.

    Attributes:
        fields: its own figures; the first one stands without its name.
        extents: what may say how long it lasts.
    """

    fields: tuple[str, ...] = ()
    extents: tuple[str, ...] = EXTENTS


KINDS = {
    "constant": Kind(("rate",)),
    "poisson": Kind(("rate",)),
    "gamma": Kind(("rate", "cv")),
    "onoff": Kind(("rate_on", "rate_off", "mean_on_s", "mean_off_s")),
    "ramp": Kind(("start", "stop"), ("duration_s",)),
    "steps": Kind(("steps",), ()),
    "sine": Kind(("mean", "amplitude", "period_s")),
    "replay": Kind(("file", "speed"), ()),
    "arrivals": Kind(("file", "function")),
    "offline": Kind((), ("queries",)),
    "sum": Kind(("parts",)),
    "sequence": Kind(("parts",)),
}
COMPOSED = ("sum", "sequence")
OPTIONAL = {"speed": 1.0}
RATES = frozenset(("rate", "rate_on", "rate_off", "start", "stop", "mean", "amplitude"))
WORDS = frozenset(("file", "function"))
COUNTS = ("batch_size", "clients")
