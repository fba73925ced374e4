"""Intervals of p99: whether they contain it as often as they say, under queueing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

import bytemlperf as bmp
from bytemlperf.selftest.line import SEEDS, Line, in_parallel, virtual_run
from bytemlperf.stats import binomial_ranks

_RHOS = (0.01, 0.5, 0.8)
_QUERIES = 200_000
_SERVICE_S = 1e-3
_GIVEN = 0.95
_COVER = 0.92


@dataclass(frozen=True)
class _Outcome:
    given: bool
    covers: bool
    naive_covers: bool  # one that takes queries for independent


def intervals_cover() -> Line:
    """95 % intervals of p99 in M/M/1 are given and contain the true p99 as often as promised."""
    cases = list(product(_RHOS, SEEDS))
    outcomes = in_parallel(_outcome, cases)
    given = [o.given for o in outcomes]
    covers = [o.covers for o in outcomes if o.given]
    busy = [o.naive_covers for (rho, _), o in zip(cases, outcomes, strict=True) if rho > 0.1]
    shares = {
        "given": float(np.mean(given)),
        "cover": float(np.mean(covers)) if covers else 0.0,
        "naive_cover_when_busy": float(np.mean(busy)),
    }
    return Line(
        name="95 % intervals of p99",
        ok=shares["given"] >= _GIVEN and shares["cover"] >= _COVER,
        expected=f"given in {_GIVEN:.0%}, cover {_COVER:.0%} (M/M/1, rho 0.01, 0.5, 0.8)",
        measured=f"given {shares['given']:.0%}, cover {shares['cover']:.0%} of {len(cases)}; "
        f"naive ones {shares['naive_cover_when_busy']:.0%} when busy",
        figures=shares,
    )


def _outcome(case: tuple[float, int]) -> _Outcome:
    rho, seed = case
    device = bmp.SimulatedDevice(bmp.Exponential(_SERVICE_S))
    pattern = bmp.Poisson(rho / _SERVICE_S)
    result = virtual_run(device, pattern, queries=_QUERIES, seed=seed, warmup=1.0 / rho)
    true = -math.log(0.01) * _SERVICE_S / (1 - rho)
    interval = result.latency.interval(0.99)
    series = result.latency.series()
    assert series is not None
    low, high = binomial_ranks(series.size, 0.99, 0.95)
    ordered = np.partition(series, (low - 1, high - 1))
    return _Outcome(
        given=interval is not None,
        covers=interval is not None and interval[0] <= true <= interval[1],
        naive_covers=bool(ordered[low - 1] <= true <= ordered[high - 1]),
    )
