"""What queueing theory says of the time in the system, in units of the mean service time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Protocol


class Law(Protocol):
    """The time in the system of a queue in equilibrium."""

    @property
    def mean(self) -> float: ...

    def survival(self, t: float) -> float:
        """P(T > t)."""


def quantile(law: Law, q: float) -> float:
    """Return the t with P(T <= t) = q, by bisection to a relative 1e-12."""
    low, high = 0.0, 1.0
    while law.survival(high) > 1 - q:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if law.survival(middle) > 1 - q:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True)
class MMc:
    """Poisson arrivals, exponential service, ``servers`` servers, utilisation ``rho``."""

    servers: int
    rho: float

    @property
    def waiting(self) -> float:
        """Probability of waiting: Erlang's C formula."""
        load = self.servers * self.rho
        head = sum(load**k / math.factorial(k) for k in range(self.servers))
        tail = load**self.servers / math.factorial(self.servers) / (1 - self.rho)
        return tail / (head + tail)

    @property
    def mean(self) -> float:
        return 1 + self.waiting / (self.servers * (1 - self.rho))

    def survival(self, t: float) -> float:
        # The wait is exponential of this rate with probability C, else 0; the service follows it.
        wait_rate = self.servers * (1 - self.rho)
        others = wait_rate - 1
        if others == 0:
            return math.exp(-t) * (1 + self.waiting * t)
        return math.exp(-t) * (1 - self.waiting * math.expm1(-others * t) / others)


@dataclass(frozen=True)
class MD1:
    """Poisson arrivals, a constant service time, one server, utilisation ``rho``."""

    rho: float

    @property
    def mean(self) -> float:
        return 1 + self.rho / (2 * (1 - self.rho))

    def survival(self, t: float) -> float:
        """Erlang (1909): P(W <= w) = (1 - rho) sum (-rho (w - k))^k e^(rho (w - k)) / k!, k to w.

        The terms alternate and are large: they are summed in 120 digits.
        """
        wait = t - 1
        if wait < 0:
            return 1.0
        with localcontext() as context:
            context.prec = 120
            rho, w = Decimal(self.rho), Decimal(wait)
            total, factorial = Decimal(0), Decimal(1)
            for k in range(math.floor(wait) + 1):
                factorial *= max(k, 1)
                load = rho * (w - k)
                power = (-load) ** k if k else Decimal(1)
                total += power * load.exp() / factorial
            return float(1 - (1 - rho) * total)
