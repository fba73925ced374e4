"""What the host adds, in wall time: the clock, the generator itself, and each hand-over."""

from __future__ import annotations

import numpy as np

import bytemlperf as bmp
from bytemlperf import _core
from bytemlperf.backend import Array
from bytemlperf.selftest.line import Line

# A host that does something else for a moment is given another chance.
_ATTEMPTS = 3
_SERVICE_S = 1e-3
_RHOS = (0.5, 0.8, 0.95)
_RUN_S = 1.0
_ENTRY_NS = 2_000
_OVERHEAD_NS = 1_000
_CLOCK_NS = 100
_DRIFT_PPM = 50.0
_BUSY = "free the host: another process takes its cores, or it has fewer than 2"


def clock_is_sound() -> Line:
    """Readings never fall, cost little, and keep pace with CLOCK_MONOTONIC_RAW."""
    clock = _core.Clock.best()
    readings = np.array([clock.now() for _ in range(100_000)])
    falls = int((np.diff(readings) < 0).sum())
    cost, drift = clock.cost_ns, abs(clock.drift_ppm)
    source = "TSC" if clock.is_tsc else "clock_gettime"
    return Line(
        name="clock",
        ok=falls == 0 and cost <= _CLOCK_NS and drift <= _DRIFT_PPM,
        expected=f"never falls, at most {_CLOCK_NS} ns a reading and {_DRIFT_PPM:g} ppm off",
        measured=f"{source}: {falls} falls, {cost:.1f} ns, {drift:.2f} ppm",
        remedy="use clock='monotonic'; in a virtual machine, ask for a paravirtual clock",
        figures={"source": source, "falls": falls, "cost_ns": cost, "drift_ppm": drift},
    )


def generator_costs_little() -> Line:
    """Nanoseconds that a query costs on a backend that answers at once, in closed loop."""
    queries = 1_000_000
    costs: list[float] = []
    while len(costs) < _ATTEMPTS:
        with bmp.LoadGenerator(bmp.NullBackend()) as generator:
            result = generator.run(bmp.ClosedLoop(), queries=queries, warmup=0.02, stamps=0)
        costs.append(1e9 / result.queries_per_second)
        if costs[-1] <= _OVERHEAD_NS:
            break
    return Line(
        name="the generator itself",
        ok=costs[-1] <= _OVERHEAD_NS,
        expected=f"at most {_OVERHEAD_NS:,} ns a query, one client, null backend",
        measured=f"{costs[-1]:.0f} ns a query ({1e3 / costs[-1]:.2f} million/s)",
        remedy=_BUSY,
        figures={"ns_a_query": costs[-1], "attempts": costs},
    )


def lindley_errors(stamps: Array) -> Array:
    """Return ``entered[n] - max(intended[n], completed[n-1])`` of each query of a run with one
    server, ns: how late the server took a query that it could have taken. No sampling noise:
    whatever the arrivals and services were, a perfect generator has 0 here.
    """
    times = stamps[np.argsort(stamps["query"])]["stamps"]
    could = np.maximum(times["intended"][1:], times["completed"][:-1])
    errors: Array = times["entered"][1:] - could
    return errors


def entries_follow_lindley() -> Line:
    """Queries enter a device of one server as soon as they are due and it is free."""
    attempts: list[float] = []
    while True:
        runs = [_device_run(rho) for rho in _RHOS]
        errors = [lindley_errors(stamps) for stamps, _ in runs]
        attempts.append(max(float(np.median(e)) for e in errors))
        if attempts[-1] < _ENTRY_NS or len(attempts) == _ATTEMPTS:
            break
    levels = (0.1, 0.5, 0.9, 0.99, 0.999)
    shown = np.quantile(np.concatenate(errors), levels, method="inverted_cdf")
    spinning = all(spins for _, spins in runs)
    quantiles = {f"p{100 * q:g}": int(ns) for q, ns in zip(levels, shown, strict=True)}
    return Line(
        name="hand-over in wall time (Lindley)",
        ok=attempts[-1] < _ENTRY_NS,
        expected=f"median below {_ENTRY_NS / 1e3:g} us at rho {', '.join(f'{r:g}' for r in _RHOS)}",
        measured=", ".join(f"{k} {ns / 1e3:.3g}" for k, ns in quantiles.items())
        + " us"
        + ("" if spinning else "; sleeping, not spinning"),
        remedy=_BUSY,
        figures={
            "quantiles_ns": quantiles,
            "medians_ns": {str(r): int(np.median(e)) for r, e in zip(_RHOS, errors, strict=True)},
            "attempts_worst_median_ns": attempts,
            "spinning": spinning,
        },
    )


def _device_run(rho: float) -> tuple[Array, bool]:
    device = bmp.SimulatedDevice(bmp.Deterministic(_SERVICE_S))
    with bmp.LoadGenerator(device) as generator:
        result = generator.run(
            bmp.Poisson(rho / _SERVICE_S), duration=_RUN_S, warmup=0.05, seed=round(100 * rho)
        )
    assert result.stamps is not None
    return result.stamps, bool(result.environment["spinning"])
