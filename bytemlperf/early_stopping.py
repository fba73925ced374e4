"""MLPerf LoadGen's early stopping, for those who compare with it. An extra, not an interval.

It treats queries as independent, which they are not where there is a queue: there its bound holds
less often than it says (:meth:`bytemlperf.Distribution.interval` is what holds). The arithmetic is
LoadGen's (loadgen/early_stopping.cc): with t queries over the latency, the fewest n such that
``P(Binomial(n, 1 - p) <= t) < 1 - c``, at its confidence c = 0.99 and tolerance 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bytemlperf.distribution import Distribution

CONFIDENCE = 0.99


@dataclass(frozen=True)
class EarlyStopping:
    """LoadGen's estimate of a percentile, for ``SingleStream`` and ``MultiStream``.

    Attributes:
        percentile: e.g. 0.9 or 0.99.
        estimate: seconds; a latency that the percentile does not exceed, if queries were
            independent. None where there are fewer than ``needed`` queries.
        discarded: slower queries than the estimate.
        needed: fewest queries for an estimate.
    """

    percentile: float
    estimate: float | None
    discarded: int
    needed: int


def queries_needed(percentile: float, over: int) -> int:
    """Return LoadGen's fewest queries of which ``over`` may exceed the latency at ``percentile``.

    h(t) + t, where h is the smallest with ``I_p(h, t + 1) < 1 - c`` (regularised incomplete beta).
    """
    from scipy.special import betainc

    if not 0.0 < percentile < 1.0:
        raise ValueError(f"a percentile lies between 0 and 1, not {percentile!r}")
    low, high = 0, max(1, over)  # I_p(low) is not below 1 - c
    while not betainc(high, over + 1, percentile) < 1.0 - CONFIDENCE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if betainc(middle, over + 1, percentile) < 1.0 - CONFIDENCE:
            high = middle
        else:
            low = middle
    return high + over


def passes(latency: Distribution, percentile: float, limit: float) -> bool:
    """LoadGen's ``Server`` verdict: enough queries for as many as exceed ``limit`` seconds.

    A query counts as over the limit where its bucket lies above it.
    """
    over = int(latency.counts[latency.lowest > limit * 1e9].sum())
    return latency.count >= queries_needed(percentile, over)


def early_stopping(latency: Distribution, percentile: float) -> EarlyStopping:
    """Return LoadGen's estimate: of n queries the t-th largest, t the most that n allows."""
    needed = queries_needed(percentile, 1)
    n = latency.count
    if n < needed:
        return EarlyStopping(percentile, None, 0, needed)
    low, high = 1, math.ceil((1.0 - percentile) * n) + 1  # needed(high) > n
    while high - low > 1:
        middle = (low + high) // 2
        if queries_needed(percentile, middle) <= n:
            low = middle
        else:
            high = middle
    # The t-th largest has rank n - t + 1.
    return EarlyStopping(percentile, latency.quantile((n - low + 1) / n), low - 1, needed)
