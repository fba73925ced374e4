"""The generator's arithmetic against queueing theory, in virtual time."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bytemlperf as bmp

# Sojourn time in units of the service time: mean, p50, p90, p99 (M/D/1 by numerical inversion).
MD1 = {0.5: (1.5, 1.000, 2.516, 4.336), 0.8: (3.0, 2.276, 6.012, 11.356)}
SERVICE = 1e-3
SEEDS = 20


def run(service: object, rho: float, seed: int, queries: int, servers: int = 1) -> bmp.Result:
    device = bmp.SimulatedDevice(service, servers=servers)  # type: ignore[arg-type]
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        pattern = bmp.Poisson(servers * rho / SERVICE)
        return gen.run(pattern, queries=queries, seed=seed, warmup=200.0, stamps=0)


def within_three_standard_errors(values: list[float], expected: float) -> bool:
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    # A histogram's quantile is off by up to 2**-11 of itself.
    return abs(np.mean(values) - expected) <= 3 * error + expected * 2**-11


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_md1(rho: float) -> None:
    runs = [run(bmp.Deterministic(SERVICE), rho, seed, 200_000) for seed in range(SEEDS)]
    mean, p50, p90, p99 = MD1[rho]
    for expected, measured in (
        (mean, [r.latency.mean for r in runs]),
        (p50, [r.latency.p50 for r in runs]),
        (p90, [r.latency.p90 for r in runs]),
        (p99, [r.latency.p99 for r in runs]),
    ):
        assert within_three_standard_errors([m / SERVICE for m in measured], expected)


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_mm1_is_exponential(rho: float) -> None:
    runs = [run(bmp.Exponential(SERVICE), rho, seed, 200_000) for seed in range(SEEDS)]
    scale = 1 / (1 - rho)
    for q in (0.5, 0.9, 0.99):
        measured = [r.latency.quantile(q) / SERVICE for r in runs]
        assert within_three_standard_errors(measured, -scale * math.log(1 - q))
    assert within_three_standard_errors([r.latency.mean / SERVICE for r in runs], scale)


def test_mm3_waits_as_erlang_c_says() -> None:
    servers, rho = 3, 0.8
    load = servers * rho
    head = sum(load**k / math.factorial(k) for k in range(servers))
    tail = load**servers / math.factorial(servers) / (1 - rho)
    expected = 1 + tail / (head + tail) / (servers * (1 - rho))
    runs = [run(bmp.Exponential(SERVICE), rho, seed, 200_000, servers) for seed in range(SEEDS)]
    assert within_three_standard_errors([r.latency.mean / SERVICE for r in runs], expected)


def test_constant_arrivals_below_capacity_never_wait() -> None:
    with bmp.LoadGenerator(bmp.SimulatedDevice(bmp.Deterministic(SERVICE)), clock="virtual") as gen:
        result = gen.run(bmp.Constant(500.0), queries=10_000)
    assert result.latency.min == result.latency.max == pytest.approx(SERVICE, abs=1e-12)


def test_one_stall_is_charged_to_all_that_it_delays() -> None:
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-4), stall=(10.0, 1.0))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        result = gen.run(bmp.Constant(1000.0), duration=30.0)
    assert result.latency.p99 == pytest.approx(0.730, rel=0.01)
    assert result.latency.p999 == pytest.approx(0.973, rel=0.01)
    assert result.service_time.p99 == pytest.approx(1e-4, rel=0.001)


def test_a_virtual_run_is_repeatable_to_the_nanosecond() -> None:
    first = run(bmp.Exponential(SERVICE), 0.8, 5, 50_000)
    second = run(bmp.Exponential(SERVICE), 0.8, 5, 50_000)
    assert first.latency.to_dict() == second.latency.to_dict()
    assert first.plan_hash == second.plan_hash
