"""Open loop by a rule: rates that stay, and rates that change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bytemlperf import _core
from bytemlperf.errors import UsageError
from bytemlperf.patterns.base import OpenPattern, check_clients
from bytemlperf.patterns.horizon import Horizon


@dataclass(frozen=True)
class Constant(OpenPattern):
    """Query n is due at n / rate."""

    rate: float
    clients: int = 1

    def __post_init__(self) -> None:
        self.check()

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.ConstantArrivals(self.rate)

    def words(self) -> str:
        return f"constant {self.rate:g}/s"


@dataclass(frozen=True)
class Poisson(OpenPattern):
    """Independent exponential gaps of mean 1 / rate."""

    rate: float
    clients: int = 1

    def __post_init__(self) -> None:
        self.check()

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.PoissonArrivals(self.rate)

    def words(self) -> str:
        return f"Poisson {self.rate:g}/s"


@dataclass(frozen=True)
class Gamma(OpenPattern):
    """Independent gamma gaps of mean 1 / rate and coefficient of variation ``cv``: 1 is Poisson,
    below it more regular, above it bursty.
    """

    rate: float
    cv: float
    clients: int = 1

    def __post_init__(self) -> None:
        self.check()

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.GammaArrivals(self.rate, self.cv)

    def words(self) -> str:
        return f"gamma {self.rate:g}/s, cv {self.cv:g}"


@dataclass(frozen=True)
class OnOff(OpenPattern):
    """Bursts: a Poisson process whose rate switches between two values. How long it stays at each
    is exponential, of mean ``mean_on`` and ``mean_off`` seconds; it starts on.
    """

    rate_on: float
    rate_off: float
    mean_on: float
    mean_off: float
    clients: int = 1

    def __post_init__(self) -> None:
        self.check()

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.OnOffArrivals(self.rate_on, self.rate_off, self.mean_on, self.mean_off)

    def words(self) -> str:
        return (
            f"on/off {self.rate_on:g}/s for {self.mean_on:g} s, "
            f"{self.rate_off:g}/s for {self.mean_off:g} s"
        )


@dataclass(frozen=True)
class Ramp(OpenPattern):
    """A Poisson process whose rate goes from ``start`` to ``stop`` in a straight line over the
    run's duration, or over its part in a sequence: ``Ramp(0, 100).then(Poisson(100), after=10)``.
    """

    start: float
    stop: float
    clients: int = 1

    def __post_init__(self) -> None:
        self.check()

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        if horizon.duration is None:
            raise UsageError(f"{self.words()} goes over the run's duration: give duration")
        try:
            return _core.SegmentedArrivals([(self.start, self.stop, horizon.duration * 1e-9)])
        except ValueError as error:  # only now is it known how long it is
            raise UsageError(f"{self.words()}: {error}") from error

    def words(self) -> str:
        return f"ramp {self.start:g}/s to {self.stop:g}/s"


@dataclass(frozen=True)
class Steps(OpenPattern):
    """A Poisson process that has each of the ``(rate, seconds)`` in turn, and ends with the last.
    A rate may be 0.
    """

    steps: Sequence[tuple[float, float]]
    clients: int = 1

    def __post_init__(self) -> None:
        try:
            steps = tuple((float(rate), float(seconds)) for rate, seconds in self.steps)
        except (TypeError, ValueError) as error:
            raise UsageError(f"Steps takes pairs (rate, seconds), not {self.steps!r}") from error
        object.__setattr__(self, "steps", steps)
        self.check()

    @property
    def length_ns(self) -> int | None:
        return sum(round(seconds * 1e9) for _, seconds in self.steps)

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.SegmentedArrivals([(rate, rate, seconds) for rate, seconds in self.steps])

    def words(self) -> str:
        return "steps " + ", ".join(f"{rate:g}/s for {s:g} s" for rate, s in self.steps)


@dataclass(frozen=True)
class Sine(OpenPattern):
    """A Poisson process of rate ``mean + amplitude * sin(2 pi t / period)``."""

    mean: float
    amplitude: float
    period: float
    clients: int = 1

    def __post_init__(self) -> None:
        self.check()

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.SineArrivals(self.mean, self.amplitude, self.period)

    def words(self) -> str:
        return f"sine {self.mean:g}/s ± {self.amplitude:g}/s, period {self.period:g} s"


@dataclass(frozen=True)
class Offline:
    """Every query is due at once; the window lasts until the last answer."""

    clients: int = 1
    length_ns = None

    def __post_init__(self) -> None:
        check_clients(self.clients)

    def to_core(self, horizon: Horizon) -> _core.OpenLoop:
        return _core.OpenLoop(_core.OfflineArrivals(), self.clients, True)

    def __str__(self) -> str:
        return "offline, everything at once"
