from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import bdtr

import bytemlperf as bmp
from bytemlperf import _core
from bytemlperf.distribution import Distribution
from bytemlperf.stats import (
    binomial_ranks,
    effective_sample_size,
    quantile_interval,
    quantile_rank,
)

times = st.lists(st.integers(0, 2**60), min_size=1, max_size=300)


@given(times, st.floats(0, 1))
def test_a_quantile_is_the_nearest_rank_within_the_bucket_error(
    values: list[int], q: float
) -> None:
    distribution = of(values)
    exact = sorted(values)[quantile_rank(len(values), q) - 1]
    assert distribution.quantile(q) == pytest.approx(exact * 1e-9, rel=2**-11, abs=1e-9)


@given(times)
def test_moments_are_exact(values: list[int]) -> None:
    distribution = of(values)
    assert distribution.count == len(values)
    assert distribution.min == min(values) * 1e-9
    assert distribution.max == max(values) * 1e-9
    if sum(values) < 2**63:
        assert distribution.mean == pytest.approx(np.mean(values) * 1e-9)


@given(times)
def test_a_distribution_survives_its_dictionary(values: list[int]) -> None:
    distribution = of(values)
    again = Distribution.from_dict(distribution.to_dict())
    assert again.to_dict() == distribution.to_dict()


@given(times)
def test_hdrhistogram_reads_the_export_into_the_same_buckets(values: list[int]) -> None:
    hdrh = pytest.importorskip("hdrh.histogram")
    distribution = of(values)
    read = hdrh.HdrHistogram.decode(distribution.to_hdr())
    assert read.get_total_count() == len(values)
    for low, high, count in distribution.buckets():
        for value in (round(1e9 * low), round(1e9 * high)) if high < 1e-3 else ():
            assert read.get_count_at_value(value) == count
    found = [
        (v.value_iterated_to, v.count_at_value_iterated_to) for v in read.get_recorded_iterator()
    ]
    assert [count for _, count in found] == distribution.counts.tolist()
    for (value, _), lowest in zip(found, distribution.lowest, strict=True):
        assert read.values_are_equivalent(value, int(lowest))


def test_an_empty_distribution_has_no_quantile() -> None:
    empty = of([])
    assert math.isnan(empty.p99)
    assert math.isnan(empty.mean)
    assert empty.interval(0.99) is None


def of(values: list[int]) -> Distribution:
    return Distribution.from_core(_core.Histogram(np.asarray(values, np.int64)), lambda: None)


def test_a_two_sided_interval_of_p99_needs_368_independent_samples() -> None:
    low, high = binomial_ranks(368, 0.99, 0.95)
    assert 1 <= low < high == 368
    assert binomial_ranks(367, 0.99, 0.95)[1] > 367
    interval, reason = quantile_interval(np.arange(367.0), 0.99, 0.95)
    assert interval is None
    assert "needs 368" in reason


@given(st.integers(1, 5000), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_binomial_ranks_enclose_the_quantile_often_enough(n: int, q: float) -> None:
    """P(x_(l) <= quantile < x_(u)) = P(l <= B < u) for B ~ Binomial(n, q)."""
    low, high = binomial_ranks(n, q, 0.95)
    assert bdtr(high - 1, n, q) - (bdtr(low - 1, n, q) if low >= 1 else 0.0) >= 0.95 - 1e-12
    assert low == 0 or bdtr(low - 1, n, q) < 0.025


def test_independent_samples_are_worth_themselves() -> None:
    rng = np.random.default_rng(0)
    sizes = [effective_sample_size(rng.random(20_000) > 0.9) for _ in range(20)]
    assert np.median(sizes) == pytest.approx(20_000, rel=0.15)


def test_repeated_samples_are_worth_their_number_before_repetition() -> None:
    rng = np.random.default_rng(0)
    sizes = [effective_sample_size(np.repeat(rng.random(2_000) > 0.9, 10)) for _ in range(20)]
    assert np.median(sizes) == pytest.approx(2_000, rel=0.2)


def test_intervals_cover_the_true_p99_under_queueing() -> None:
    """M/M/1 at rho 0.8: an interval for independent samples would cover about half as often."""
    true = -5e-3 * math.log(0.01)
    covered = given_at_all = 0
    runs = 40
    for seed in range(runs):
        device = bmp.SimulatedDevice(bmp.Exponential(1e-3))
        with bmp.LoadGenerator(device, clock="virtual") as gen:
            result = gen.run(bmp.Poisson(800.0), queries=100_000, warmup=100.0, seed=seed)
        interval = result.latency.interval(0.99)
        if interval is not None:
            given_at_all += 1
            covered += interval[0] <= true <= interval[1]
    assert given_at_all >= 0.95 * runs
    assert covered >= 0.87 * runs  # 95 % nominal; 3 standard errors of 40 runs are 10 points


def test_an_interval_that_cannot_be_given_says_why() -> None:
    device = bmp.SimulatedDevice(bmp.Exponential(1e-3))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        few = gen.run(bmp.Poisson(100.0), queries=100)
        without_stamps = gen.run(bmp.Poisson(100.0), queries=1000, stamps=0)
        short = gen.run(bmp.Poisson(1e5), queries=10, stamps=0)
    assert few.latency.interval(0.99) is None
    assert "needs 368" in few.latency.interval_reason(0.99)
    assert without_stamps.service_time.interval(0.5) is None
    assert "stamps" in without_stamps.service_time.interval_reason(0.5)
    assert short.latency.interval(0.5) is None
    assert "too short" in short.latency.interval_reason(0.5)


def test_windows_cover_as_stamps_do() -> None:
    """M/M/1 at rho 0.5, long against its correlation: with and without stamps."""
    true = -2e-3 * math.log(0.01)
    covered = 0
    widths = []
    for seed in range(40):
        device = bmp.SimulatedDevice(bmp.Exponential(1e-3))
        with bmp.LoadGenerator(device, clock="virtual") as gen:
            load = bmp.Poisson(500.0)
            full = gen.run(load, queries=100_000, warmup=100.0, seed=seed)
            windowed = gen.run(load, queries=100_000, warmup=100.0, seed=seed, stamps=0)
        exact, interval = full.latency.interval(0.99), windowed.latency.interval(0.99)
        assert exact is not None
        assert interval is not None
        covered += interval[0] <= true <= interval[1]
        widths.append((interval[1] - interval[0]) / (exact[1] - exact[0]))
    assert covered >= 35  # 95 % nominal
    assert 0.8 < float(np.median(widths)) < 1.25
