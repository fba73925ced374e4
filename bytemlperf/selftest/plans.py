"""Plans: the law of their gaps, their fingerprints, and that clients share one."""

from __future__ import annotations

from typing import Any

import numpy as np

import bytemlperf as bmp
from bytemlperf.backend import Array
from bytemlperf.patterns import Pattern
from bytemlperf.selftest.line import Line

_ALPHA = 0.001

# Plans with seed 7 by how long they are. They are the same on every host and compiler.
GOLDEN: tuple[tuple[Pattern, dict[str, Any], str], ...] = (
    (bmp.Constant(3.0), {"queries": 100_000}, "a475baec93773722"),
    (bmp.Poisson(1000.0), {"queries": 100_000}, "5ef538ba46e99cee"),
    (bmp.Gamma(1000.0, 0.5), {"queries": 100_000}, "a7412d8e4a7022c6"),
    (bmp.Gamma(1000.0, 3.0), {"queries": 100_000}, "8947bd51b803a486"),
    (bmp.OnOff(1000.0, 10.0, 0.1, 0.3), {"queries": 100_000}, "e82cfb65d1e6844d"),
    (bmp.Ramp(0.0, 2000.0), {"duration": 30.0}, "e4e23c331ce25279"),
    (bmp.Steps([(100.0, 5.0), (1000.0, 5.0)]), {}, "5a5aae318dc67053"),
    (bmp.Sine(1000.0, 900.0, 5.0), {"queries": 100_000}, "1b366a7d40ec961e"),
    (bmp.Replay([0.5, 0.75, 1.0]), {}, "4e001a0cf7af4163"),
    (bmp.Poisson(100.0) + bmp.Poisson(100.0), {"queries": 100_000}, "d4aaf0209b480d4b"),
    (
        bmp.Poisson(100.0).then(bmp.Poisson(100.0), after=1.0),
        {"queries": 100_000},
        "b6ddf70a0dc0aec9",
    ),
)


def plan(pattern: Pattern, *, seed: int = 1, **bounds: Any) -> Array:
    """Return the intended times from the start of the window, int64 ns, by query number."""
    result = _planned(pattern, seed=seed, **bounds)
    assert result.stamps is not None
    times: Array = result.stamps["stamps"]["intended"]
    return times[np.argsort(result.stamps["query"])]


def _planned(pattern: Pattern, **settings: Any) -> bmp.Result:
    device = bmp.SimulatedDevice(bmp.Deterministic(0.0))
    with bmp.LoadGenerator(device, clock="virtual") as generator:
        return generator.run(pattern, **settings)


def durbin(times: Array, end: float) -> float:
    """p-value of Lewis's test of a Poisson process (Kim and Whitt, Naval Research Logistics 2014).

    Given their number, the times of a Poisson process are uniform order statistics; Durbin's
    transform of their spacings, sorted, makes deviations from that large.
    """
    from scipy import stats

    n = times.size
    spacings = np.sort(np.diff(np.concatenate([[0.0], times, [end]]) / end))
    lengths = (n + 1 - np.arange(n + 1)) * np.diff(spacings, prepend=0.0)
    return float(stats.kstest(np.cumsum(lengths)[:-1], "uniform").pvalue)


def smooth_gaps(times: Array) -> Array:
    """Return gaps in seconds, with what rounding to whole nanoseconds took from them put back."""
    lost = np.random.default_rng(0).uniform(-0.5, 0.5, times.size)
    return (np.diff(times, prepend=0) + lost) * 1e-9


def gamma_p_value(gaps: Array, cv: float) -> float:
    """Kolmogorov-Smirnov of gamma gaps of mean 1, shape [n]. A small shape has many gaps below a
    nanosecond, so they are compared from a small one on."""
    from scipy import stats

    shape = cv**-2
    law = stats.gamma(shape, scale=1 / shape)
    least = 1e-3

    def from_there(x: Array) -> Array:
        return np.asarray((law.cdf(x) - law.cdf(least)) / law.sf(least))

    return float(stats.kstest(gaps[gaps >= least], from_there).pvalue)


def gaps_have_their_law() -> Line:
    """Poisson gaps pass Kolmogorov-Smirnov and Lewis's test, gamma gaps the former."""
    from scipy import stats

    n = 100_000
    p_values = {}
    for rate in (1e3, 1e6):
        gaps = smooth_gaps(plan(bmp.Poisson(rate), queries=n))
        p_values[f"Poisson {rate:g}/s"] = stats.kstest(gaps * rate, "expon").pvalue
        times = np.cumsum(gaps)
        p_values[f"Poisson {rate:g}/s (Lewis)"] = durbin(times[:-1], float(times[-1]))
    for cv in (0.5, 2.0):
        gaps = smooth_gaps(plan(bmp.Gamma(1e3, cv), queries=n))
        p_values[f"gamma cv {cv:g}"] = gamma_p_value(gaps * 1e3, cv)
    least = min(p_values, key=lambda name: p_values[name])
    return Line(
        name="gaps of plans",
        ok=p_values[least] > _ALPHA,
        expected=f"Kolmogorov-Smirnov and Lewis: every p above {_ALPHA:g}",
        measured=f"{len(p_values)} tests of {n:,} gaps, least p {p_values[least]:.3f} ({least})",
        figures={"p_values": {name: float(p) for name, p in p_values.items()}},
    )


def plans_are_golden() -> Line:
    """Every kind of plan has the fingerprint that it has everywhere."""
    wrong = [
        str(pattern)
        for pattern, bounds, expected in GOLDEN
        if _planned(pattern, seed=7, stamps=0, **bounds).plan_hash != expected
    ]
    return Line(
        name="fingerprints of plans",
        ok=not wrong,
        expected=f"{len(GOLDEN)} published hashes",
        measured=f"differs: {'; '.join(wrong)}" if wrong else "all equal",
        figures={"differ": wrong},
    )


def any_number_of_clients() -> Line:
    """1, 2 and 8 client threads submit one plan in wall time, each query at its own offset."""
    queries = 400
    pattern = bmp.Gamma(20_000.0, 2.0)
    expected = np.diff(plan(pattern, queries=queries, seed=3))
    wrong = []
    for clients in (1, 2, 8):
        with bmp.LoadGenerator(bmp.NullBackend()) as generator:
            result = generator.run(bmp.Gamma(20_000.0, 2.0, clients), queries=queries, seed=3)
        assert result.stamps is not None
        stamps = result.stamps[np.argsort(result.stamps["query"])]
        same = np.array_equal(np.diff(stamps["stamps"]["intended"]), expected)
        shared = np.array_equal(stamps["client"], np.arange(queries) % clients)
        if not (same and shared):
            wrong.append(clients)
    return Line(
        name="one plan for any clients",
        ok=not wrong,
        expected=f"1, 2 and 8 clients: the same {queries} offsets",
        measured=f"differs with {wrong} clients" if wrong else "the same",
        figures={"differ": wrong},
    )
