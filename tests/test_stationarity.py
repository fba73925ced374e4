"""The course of latency: a plateau is left alone, what drifts, jumps or warms up is named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import bytemlperf as bmp
from bytemlperf.stationarity import Stationarity, stationarity, transient_end
from bytemlperf.windows import Windows

MINUTE = 60.0


def course(
    latency: np.ndarray, duration: float, windows: int = 100, bins: int = 200
) -> Stationarity:
    """Of latencies in seconds that are spread evenly over the duration."""
    edges = np.unique(np.quantile(latency, np.linspace(0, 1, bins + 1)))
    edges[0] -= 1e-9
    when = np.linspace(0, windows, latency.size, endpoint=False).astype(int)
    counts, *_ = np.histogram2d(when, latency, [np.arange(windows + 1), edges])
    edges_ns = np.round(edges * 1e9).astype(np.int64)
    return stationarity(
        Windows(edges_ns, counts.astype(np.int64), np.full(windows, duration / windows))
    )


def noise(seed: int, n: int = 20_000) -> np.ndarray:
    """Lognormal service of 1 ms with a coefficient of variation of 10 %."""
    return np.random.default_rng(seed).lognormal(np.log(1e-3), 0.1, n)


def test_one_percent_a_minute_is_a_drift() -> None:
    """Ten minutes on a device that heats up, and the same getting faster."""
    minutes = np.linspace(0, 10, 20_000)
    for sign, name in ((1, "drifting up"), (-1, "drifting down")):
        found = course(noise(1) * (1 + sign * 0.01 * minutes), 10 * MINUTE)
        assert found.course == name
        assert found.per_minute == pytest.approx(sign * 0.01, rel=0.15)
        assert "% a minute" in str(found)


def test_a_step_at_half_time_is_a_step() -> None:
    after = np.arange(20_000) >= 10_000
    for height, name in ((0.05, "step up"), (-0.05, "step down")):
        found = course(noise(2) * (1 + height * after), MINUTE)
        assert found.course == name
        assert found.change == pytest.approx(height, rel=0.2)
        assert found.at == pytest.approx(30.0, abs=1.0)


def test_an_exponential_tail_is_a_warm_up_and_its_end_is_given() -> None:
    seconds = np.linspace(0, 60, 20_000)
    found = course(noise(3) * (1 + 0.5 * np.exp(-seconds / 4)), MINUTE)
    assert found.course == "warming up"
    assert 6.0 < found.at < 30.0  # 1.5 to 7 time constants
    assert "warm-up" in str(found)


def test_one_stall_is_no_step_and_no_drift() -> None:
    latency = noise(4)
    latency[15_000:15_040] += 0.2
    assert course(latency, MINUTE).course == "plateau"


def test_a_constant_is_a_plateau_and_a_few_queries_are_unknown() -> None:
    with bmp.LoadGenerator(bmp.SimulatedDevice(bmp.Deterministic(1e-3)), clock="virtual") as gen:
        constant = gen.run(bmp.Constant(500.0), queries=5_000)
        few = gen.run(bmp.Poisson(500.0), queries=8)
    assert constant.windows is not None
    assert few.windows is not None
    assert stationarity(constant.windows).course == "plateau"
    assert stationarity(few.windows).course == "unknown"


def queueing(rho: float, queries: int, runs: int) -> Counter[str]:
    found: Counter[str] = Counter()
    device = bmp.SimulatedDevice(bmp.Exponential(1e-3))
    for seed in range(runs):
        with bmp.LoadGenerator(device, clock="virtual") as gen:
            load = bmp.Poisson(1000 * rho)
            result = gen.run(load, queries=queries, warmup=20.0, seed=seed, stamps=0)
        assert result.windows is not None
        found[stationarity(result.windows).course] += 1
    return found


def test_correlation_is_not_taken_for_a_trend() -> None:
    """M/M/1 at rho 0.8: neighbouring latencies are alike for a hundred queries."""
    found = queueing(0.8, 100_000, 15)
    assert found["plateau"] >= 14
    found = queueing(0.8, 20_000, 30)
    assert found["plateau"] + found["unknown"] >= 28


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "queries"), [(0.5, 5_000), (0.8, 200_000), (0.95, 400_000)])
def test_false_alarms_are_below_two_percent(rho: float, queries: int) -> None:
    found = queueing(rho, queries, 300)
    assert found["plateau"] + found["unknown"] >= 294


def test_mser_finds_the_end_of_a_transient() -> None:
    levels = np.r_[5.0, 3.0, 2.0, np.tile([0.9, 1.1], 40)]
    assert transient_end(levels) == 3
    assert transient_end(np.ones(40)) == 0
