"""The whole of plan, queue, device and recorder against queueing theory, on the virtual clock."""

from __future__ import annotations

from functools import partial

import numpy as np

import bytemlperf as bmp
from bytemlperf.backend import Array
from bytemlperf.selftest import closed_forms
from bytemlperf.selftest.closed_forms import MD1, Law, MMc
from bytemlperf.selftest.line import SEEDS, Check, Line, in_parallel, virtual_run

_SERVICE_S = 1e-3
_WARMUP_S = 20.0  # many times the time that the busiest of these queues needs to settle
_QUANTILES = (0.5, 0.9, 0.99)
_MOST_ERRORS = 3.0
# A quantile from a histogram is off by up to this share of itself.
_BUCKET = 2**-11
# The busier the queue, the longer its queries remember each other.
_QUERIES = {0.5: 200_000, 0.8: 400_000, 0.95: 1_000_000}


def queue_obeys(name: str, law: Law, service: bmp.Exponential | bmp.Deterministic) -> Line:
    """Mean and quantiles of 20 runs lie within 3 standard errors of the closed form."""
    servers = law.servers if isinstance(law, MMc) else 1
    rho: float = law.rho  # type: ignore[attr-defined]
    device = bmp.SimulatedDevice(service, servers=servers)
    pattern = bmp.Poisson(servers * rho / _SERVICE_S)

    def figures(seed: int) -> list[float]:
        latency = virtual_run(
            device, pattern, queries=_QUERIES[rho], seed=seed, warmup=_WARMUP_S, stamps=0
        ).latency
        return [latency.mean, *(latency.quantile(q) for q in _QUANTILES)]

    runs = np.array(in_parallel(figures, SEEDS)) / _SERVICE_S
    expected = np.array([law.mean, *(closed_forms.quantile(law, q) for q in _QUANTILES)])
    return _compare(f"{name}, rho {rho:g}", runs, expected)


def _compare(name: str, runs: Array, expected: Array) -> Line:
    """Compare figures of runs, shape [runs, figures], with what is expected of each."""
    means = runs.mean(axis=0)
    errors = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    excess = np.maximum(0.0, np.abs(means - expected) - _BUCKET * expected)
    # Where every run gave the same figure, it is right or wrong without any error of chance.
    off = np.divide(excess, errors, out=np.where(excess > 0, np.inf, 0.0), where=errors > 0)
    labels = ["mean", *(f"p{100 * q:g}" for q in _QUANTILES)]
    return Line(
        name=name,
        ok=bool(off.max() <= _MOST_ERRORS),
        expected=", ".join(f"{k} {v:.4g}" for k, v in zip(labels, expected, strict=True)),
        measured=", ".join(f"{v:.4g}" for v in means) + f"; off by {off.max():.1f} s.e. at most",
        figures={
            "unit": "service times",
            "runs": len(runs),
            "figures": labels,
            "expected": expected.tolist(),
            "measured": means.tolist(),
            "standard_errors": errors.tolist(),
        },
    )


_EXPONENTIAL = bmp.Exponential(_SERVICE_S)
_DETERMINISTIC = bmp.Deterministic(_SERVICE_S)

QUEUES: tuple[Check, ...] = tuple(
    partial(queue_obeys, name, law, service)
    for rho in _QUERIES
    for name, law, service in (
        ("M/M/1", MMc(1, rho), _EXPONENTIAL),
        ("M/D/1", MD1(rho), _DETERMINISTIC),
        ("M/M/3", MMc(3, rho), _EXPONENTIAL),
    )
)


def nothing_waits_below_capacity() -> Line:
    """D/D/1 at rho 0.5: every latency is the service time, to the nanosecond."""
    result = virtual_run(
        bmp.SimulatedDevice(_DETERMINISTIC), bmp.Constant(0.5 / _SERVICE_S), queries=100_000
    )
    low, high = result.latency.min_ns, result.latency.max_ns
    service = round(_SERVICE_S * 1e9)
    return Line(
        name="D/D/1, rho 0.5",
        ok=abs(low - service) <= 1 and abs(high - service) <= 1,
        expected=f"every latency {service:,} ns, to 1 ns",
        measured=f"{low:,} to {high:,} ns",
        figures={"min_ns": low, "max_ns": high},
    )


def overload_adds_up() -> Line:
    """D/D/1 at rho 1.25: query n waits for the n before it, to the nanosecond."""
    result = virtual_run(
        bmp.SimulatedDevice(_DETERMINISTIC), bmp.Constant(1.25 / _SERVICE_S), queries=100_000
    )
    assert result.stamps is not None
    stamps = result.stamps[np.argsort(result.stamps["query"])]
    service = round(_SERVICE_S * 1e9)
    due = np.arange(1, len(stamps) + 1, dtype=np.int64) * service
    worst = int(np.abs(stamps["stamps"]["completed"] - due).max())
    return Line(
        name="D/D/1, rho 1.25",
        ok=worst <= 1 and result.completed == result.planned,
        expected="query n answered at n service times, to 1 ns",
        measured=f"off by {worst} ns at most, {result.completed:,} queries",
        figures={"worst_ns": worst},
    )
