"""When queries are due: every process against its own mathematics, on the virtual clock."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

import bytemlperf as bmp
from bytemlperf.patterns import OpenPattern, Pattern
from bytemlperf.selftest.plans import durbin, gamma_p_value, plan, smooth_gaps

ALPHA = 0.001


def counts(times_ns: np.ndarray, width_s: float, length_s: float) -> np.ndarray:
    """Queries in each whole interval of a width."""
    edges = np.arange(0.0, length_s + width_s / 2, width_s) * 1e9
    return np.histogram(times_ns, edges)[0]


@pytest.mark.parametrize("rate", [0.01, 1e3, 1e6])
def test_poisson_is_poisson(rate: float) -> None:
    n = 100_000
    gaps = smooth_gaps(plan(bmp.Poisson(rate), queries=n))
    assert abs(gaps.mean() * rate - 1) < 4 / math.sqrt(n)
    assert stats.kstest(gaps * rate, "expon").pvalue > ALPHA
    assert durbin(np.cumsum(gaps)[:-1], float(gaps.sum())) > ALPHA


def test_the_stronger_test_sees_what_is_not_poisson() -> None:
    """Gaps that alternate about the right mean: Durbin's form finds them."""
    times = plan(bmp.Gamma(1000.0, 0.9), queries=20_000).astype(np.float64)
    assert durbin(times[:-1], float(times[-1])) < ALPHA


def test_counts_of_poisson_are_as_dispersed_as_they_should_be() -> None:
    seen = counts(plan(bmp.Poisson(1000.0), duration=1000.0), 0.1, 1000.0)
    assert seen.var(ddof=1) / seen.mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("cv", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_gamma_gaps_have_their_law(cv: float) -> None:
    n = 100_000
    gaps = smooth_gaps(plan(bmp.Gamma(1000.0, cv), queries=n)) * 1000.0
    assert abs(gaps.mean() - 1) < 4 * cv / math.sqrt(n)
    assert np.mean(gaps < 1e-3) == pytest.approx(
        stats.gamma(cv**-2, scale=cv**2).cdf(1e-3), abs=0.005
    )
    assert gamma_p_value(gaps, cv) > ALPHA


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_counts_of_gamma_are_dispersed_by_cv_squared(cv: float) -> None:
    """Over long windows the index of dispersion is 1 / k = cv**2."""
    seen = counts(plan(bmp.Gamma(1000.0, cv), duration=1000.0), 1.0, 1000.0)
    assert seen.var(ddof=1) / seen.mean() == pytest.approx(cv**2, rel=0.15)


def test_on_off_has_the_mean_and_the_bursts_of_its_rates() -> None:
    pattern = bmp.OnOff(rate_on=500.0, rate_off=50.0, mean_on=0.2, mean_off=0.8)
    length = 4000.0
    times = plan(pattern, duration=length)
    assert times.size / length == pytest.approx(0.2 * 500 + 0.8 * 50, rel=0.05)
    # A Markov-modulated Poisson process of two states: the index of dispersion for long counts is
    # 1 + 2 (a - b)^2 r s / ((r + s)^2 (a s + b r)), r and s the rates of leaving on and off.
    r, s, a, b = 1 / 0.2, 1 / 0.8, 500.0, 50.0
    expected = 1 + 2 * (a - b) ** 2 * r * s / ((r + s) ** 2 * (a * s + b * r))
    seen = counts(times, 10.0, length)
    assert seen.var(ddof=1) / seen.mean() == pytest.approx(expected, rel=0.25)


def test_off_may_be_silent() -> None:
    times = plan(bmp.OnOff(1000.0, 0.0, 0.1, 0.9), duration=200.0)
    silent = np.diff(times) > 50_000_000
    assert times.size == pytest.approx(200 * 100, rel=0.2)
    assert 100 < silent.sum() < 250  # about one pause a second, most of them longer than 50 ms


RATES: list[tuple[OpenPattern, float | None, Callable[[np.ndarray], np.ndarray]]] = [
    (bmp.Ramp(0.0, 2000.0), 20.0, lambda t: 50.0 * t**2),
    (bmp.Ramp(2000.0, 0.0), 20.0, lambda t: 2000.0 * t - 50.0 * t**2),
    (bmp.Ramp(700.0, 700.0), 20.0, lambda t: 700.0 * t),
    (
        bmp.Steps([(2000.0, 5.0), (0.0, 5.0), (500.0, 10.0)]),
        None,
        lambda t: np.interp(t, [0.0, 5.0, 10.0, 20.0], [0.0, 10_000.0, 10_000.0, 15_000.0]),
    ),
    (
        bmp.Sine(1000.0, 900.0, 7.0),
        20.0,
        lambda t: 1000 * t + 900 * 7 / (2 * np.pi) * (1 - np.cos(2 * np.pi * t / 7)),
    ),
    (
        bmp.Ramp(0.0, 1000.0).then(bmp.Poisson(1000.0), after=10.0),
        20.0,
        lambda t: np.where(t < 10.0, 50.0 * t**2, 5000.0 + 1000.0 * (t - 10.0)),
    ),
    (bmp.Poisson(300.0) + bmp.Poisson(500.0), 20.0, lambda t: 800.0 * t),
]


@pytest.mark.parametrize(("pattern", "duration", "integral"), RATES, ids=lambda x: str(x)[:40])
def test_a_changing_rate_is_met(
    pattern: OpenPattern, duration: float | None, integral: Callable[[np.ndarray], np.ndarray]
) -> None:
    """A Poisson process whose clock runs through the integral of its rate is one of rate 1."""
    times = plan(pattern, duration=duration) if duration else plan(pattern)
    total = float(integral(np.array(20.0)))
    assert abs(times.size - total) < 4 * math.sqrt(total)
    warped = integral(times * 1e-9)
    assert stats.kstest(warped / total, "uniform").pvalue > ALPHA
    assert durbin(warped, total) > ALPHA


PATTERNS = st.recursive(
    st.one_of(
        st.builds(bmp.Constant, st.floats(0.1, 1e4)),
        st.builds(bmp.Poisson, st.floats(0.1, 1e6)),
        st.builds(bmp.Gamma, st.floats(0.1, 1e6), st.floats(0.05, 30.0)),
        st.builds(
            bmp.OnOff,
            st.floats(1.0, 1e5),
            st.floats(0.0, 0.0) | st.floats(1.0, 1e5),
            st.floats(0.01, 10.0),
            st.floats(0.01, 10.0),
        ),
        st.builds(bmp.Ramp, st.floats(0.0, 0.0) | st.floats(0.1, 1e5), st.floats(0.1, 1e5)),
        st.builds(
            lambda mean, share, period: bmp.Sine(mean, share * mean, period),
            st.floats(0.1, 1e5),
            st.floats(0.0, 1.0),
            st.floats(0.01, 100.0),
        ),
        st.builds(
            bmp.Steps,
            st.lists(
                st.tuples(st.floats(1.0, 1e4), st.floats(0.001, 0.01)), min_size=1, max_size=4
            ),
        ),
    ),
    lambda parts: st.one_of(
        st.builds(lambda a, b: a + b, parts, parts),
        st.builds(lambda a, b, s: a.then(b, after=s), parts, parts, st.floats(0.001, 0.01)),
    ),
    max_leaves=4,
)


@given(PATTERNS, st.integers(0, 2**63))
def test_offsets_never_fall_and_lie_in_the_window(pattern: OpenPattern, seed: int) -> None:
    device = bmp.SimulatedDevice(bmp.Deterministic(0.0))
    own = pattern.length_ns
    bounds: dict[str, Any] = {"max_duration": 0.05} if own else {"duration": 0.05}
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        try:
            stamps = gen.run(pattern, seed=seed, stamps=1 << 20, **bounds).stamps
        except bmp.UsageError as error:  # a part that its own sequence does not reach
            assume("second part" not in str(error))
            raise
    assert stamps is not None
    times = stamps["stamps"]["intended"][np.argsort(stamps["query"])]
    assert (np.diff(times) >= 0).all()
    assert times.size == 0 or (times[0] >= 0 and times[-1] < max(bounds.values()) * 1e9)


OFFSETS = st.lists(st.integers(0, 10**12), min_size=1, max_size=50).map(sorted)


@given(OFFSETS, OFFSETS)
def test_superposition_is_a_merge(a: list[int], b: list[int]) -> None:
    both = bmp.Replay(np.array(a) * 1e-9, start=0.0) + bmp.Replay(np.array(b) * 1e-9, start=0.0)
    assert plan(both).tolist() == sorted(a + b)


@given(OFFSETS, OFFSETS)
def test_a_sequence_is_one_after_the_other(a: list[int], b: list[int]) -> None:
    first = bmp.Replay(np.array(a) * 1e-9, start=0.0)
    sequence = first.then(bmp.Replay(np.array(b) * 1e-9, start=0.0))
    assert plan(sequence).tolist() == a + [a[-1] + 1 + t for t in b]


@given(OFFSETS, st.sampled_from([0.5, 1.0, 4.0]))
def test_a_replay_gives_back_its_times(offsets: list[int], speed: float) -> None:
    replay = bmp.Replay(np.array(offsets) * 1e-9, speed=speed, start=0.0)
    np.testing.assert_allclose(plan(replay), np.array(offsets) / speed, atol=0.51)


def test_a_replay_begins_at_its_first_timestamp_and_ends_with_its_last() -> None:
    times = [1_700_000_000.0, 1_700_000_000.5, 1_700_000_002.0]
    device = bmp.SimulatedDevice(bmp.Deterministic(0.1))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        result = gen.run(bmp.Replay(times, speed=2.0))
    assert result.planned == result.completed == 3
    assert result.duration == pytest.approx(1.0, abs=1e-8)
    dates = np.array(["2026-01-01T00:00:00.000000001", "2026-01-01T00:00:01"], "datetime64[ns]")
    assert plan(bmp.Replay(dates)).tolist() == [0, 999_999_999]


TWO_OBJECTS = json.dumps([{"timestamp_ns": 17 * 10**17 + n} for n in (1, 1_000_001)])


def test_a_saved_run_can_be_replayed(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        result = gen.run(bmp.Poisson(10_000.0), queries=100)
    result.save_queries(tmp_path / "run.csv.gz")
    assert result.stamps is not None
    intended = np.sort(result.stamps["stamps"]["intended"])
    again = plan(bmp.Replay(tmp_path / "run.csv.gz"))
    np.testing.assert_array_equal(again, intended - intended[0])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bare.csv", "0.5\n0.75\n2\n", [0, 250, 1500]),
        ("named.csv", "user,timestamp_ms\na,1000\nb,1250\n", [0, 250]),
        ("lines.jsonl", '0\n{"timestamp": 0.25}\n\n1\n', [0, 250, 1000]),
        ("lines.jsonl", '{"timestamp_us": 5000, "x": 1}\n{"timestamp_us": 6000}\n', [0, 1]),
        ("list.json", "[1, 1.5, 2]", [0, 500, 1000]),
        ("objects.json", TWO_OBJECTS, [0, 1]),
    ],
)
def test_traces_are_read(tmp_path: Path, name: str, text: str, expected: list[int]) -> None:
    (tmp_path / name).write_text(text)
    assert plan(bmp.Replay(tmp_path / name)).tolist() == [ms * 1_000_000 for ms in expected]
    with gzip.open(tmp_path / f"{name}.gz", "wt") as file:
        file.write(text)
    assert plan(bmp.Replay(str(tmp_path / f"{name}.gz"))).tolist() == [
        ms * 1_000_000 for ms in expected
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "0.5\nlate\n", r"t\.csv:2: no timestamp in 'late'"),
        ("t.csv", "time,timstamp\n1,2\n", "did you mean 'timestamp'"),
        ("t.csv", "1\n0\n", "number 2, 0, is before number 1, 1: sort"),
        ("t.csv", "", "no timestamps"),
        ("t.jsonl", '1\n{"timestamp": "soon"}\n', r"t\.jsonl:2: a timestamp is a number"),
        ("t.jsonl", "1\n}\n", r"t\.jsonl:2: not JSON"),
        ("t.json", "3", "a list"),
        ("t.json", "[1,", "not JSON"),
        ("t.json", '[{"timestamp": 1}, {"timestamp_ms": 2}]', "different units"),
        ("t.txt", "1", r"\.csv, \.json or \.jsonl"),
    ],
)
def test_a_bad_trace_names_file_and_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(bmp.UsageError, match=message):
        bmp.Replay(tmp_path / name)
    with pytest.raises(bmp.UsageError, match="cannot read"):
        bmp.Replay(tmp_path / "absent.csv")


def test_arrivals_of_ones_own() -> None:
    def uniform(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.uniform(0.0, 2e-3, n)

    pattern = bmp.Arrivals(uniform)
    times = plan(pattern, duration=200.0, seed=5)
    measured = np.diff(times, prepend=0) * 1e-9
    assert abs(measured.mean() - 1e-3) < 4 * 2e-3 / math.sqrt(12 * times.size)
    assert stats.kstest(measured, "uniform", (0, 2e-3)).pvalue > ALPHA
    np.testing.assert_array_equal(times, plan(pattern, duration=200.0, seed=5))
    assert not np.array_equal(times, plan(pattern, duration=200.0, seed=6))
    assert plan(pattern, queries=100_000).size == 100_000
    # Parts of one function draw different gaps.
    both = plan(pattern + pattern, queries=10_000)
    assert (np.diff(both) == 0).mean() < 0.01


def test_a_function_may_end_its_plan() -> None:
    calls = iter([[0.5, 0.5], [0.25]])
    times = plan(bmp.Arrivals(lambda rng, n: next(calls)), queries=65_538)
    assert times.tolist() == [500_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([[1.0]], "up to 3 gaps in one row"),
        ([1.0] * 9, "up to 3 gaps"),
        (["a"], "up to 3 gaps"),
        ([-1.0], "0 s or more, not -1.0"),
        ([math.nan], "0 s or more, not nan"),
    ],
)
def test_what_a_function_may_not_say(returned: Any, message: str) -> None:
    with pytest.raises(bmp.UsageError, match=message):
        plan(bmp.Arrivals(lambda rng, n: returned), queries=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bmp.Gamma(100.0, 0.0), r"Gamma\(rate=100.0, cv=0.0.*cv must lie between"),
        (lambda: bmp.Poisson(2e9), r"Poisson\(rate=2000000000.0.*rate must lie between"),
        (lambda: bmp.Poisson("9"), "numbers"),  # type: ignore[arg-type]
        (lambda: bmp.Sine(10.0, 20.0, 1.0), "amplitude must lie between 0 and the mean"),
        (lambda: bmp.OnOff(1.0, 0.0, 0.0, 1.0), "a length in a load pattern"),
        (lambda: bmp.Ramp(0.0, 0.0), "a rate above 0"),
        (lambda: bmp.Steps([]), "one at least"),
        (lambda: bmp.Steps([1.0]), r"pairs \(rate, seconds\)"),  # type: ignore[list-item]
        (lambda: bmp.Poisson(1.0, clients=0), "clients must lie"),
        (lambda: bmp.Replay([0.0, 1.0], speed=0.0), "speed is a positive number"),
        (lambda: bmp.Replay([1.0], start=2.0), "before the start"),
        (lambda: bmp.Replay([0.0, math.nan]), "within 1e9 s"),
        (lambda: bmp.Replay([[0.0]]), "one row of numbers"),  # type: ignore[list-item]
        (lambda: bmp.Arrivals(5), "takes a function"),  # type: ignore[arg-type]
        (lambda: bmp.Poisson(1.0).then(bmp.Poisson(2.0)), "after=SECONDS"),
        (lambda: bmp.Poisson(1.0).then(bmp.Poisson(2.0), after=0.0), "positive number of seconds"),
        (lambda: bmp.ClosedLoop(1, think_time=-1.0), "think_time"),
    ],
)
def test_wrong_patterns_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(bmp.UsageError, match=message):
        make()


@pytest.mark.parametrize(
    ("pattern", "bounds", "message"),
    [
        (bmp.Ramp(0.0, 10.0), {"queries": 10}, "give duration"),
        (bmp.Ramp(0.0, 10.0), {"p99_within": 0.05}, "give duration"),
        (bmp.Ramp(0.0, 10.0), {"duration": 1e5}, "ramp 0/s to 10/s: a length in a load pattern"),
        (bmp.Replay([0.0]), {"queries": 1}, "lasts 1e-09 s by itself"),
        (bmp.Steps([(1.0, 2.0)]), {"duration": 1.0}, "lasts 2 s by itself"),
        (bmp.Steps([(1.0, 2.0)]), {"p99_within": 0.1}, "none of queries"),
        (bmp.Poisson(1.0), {}, "exactly one of"),
        (bmp.Poisson(1.0).then(bmp.Poisson(9.0), after=5.0), {"duration": 5.0}, "second part"),
    ],
)
def test_patterns_say_how_long_they_may_run(
    pattern: Pattern, bounds: dict[str, Any], message: str
) -> None:
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-3))
    with (
        bmp.LoadGenerator(device, clock="virtual") as gen,
        pytest.raises(bmp.UsageError, match=message),
    ):
        gen.run(pattern, **bounds)


def test_patterns_read_well() -> None:
    pattern = bmp.Ramp(0, 50).then(bmp.Poisson(50) + bmp.Gamma(5, 3), after=10)
    assert str(pattern) == (
        "open loop, ramp 0/s to 50/s for 10 s, then Poisson 50/s + gamma 5/s, cv 3"
    )
    assert str(bmp.Replay([0, 1], speed=2)) == "open loop, replay at speed 2, 2 queries"
    assert json.dumps(str(bmp.Steps([(1, 2)])))


@pytest.mark.parametrize("think", [0.05, bmp.Exponential(0.05), bmp.Lognormal(0.05, 2.0)])
def test_think_time_obeys_the_interactive_law(think: Any) -> None:
    """R = N / X - Z (Denning and Buzen, 1978)."""
    device = bmp.SimulatedDevice(bmp.Exponential(4e-3))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        result = gen.run(bmp.ClosedLoop(20, think), duration=2000.0, seed=3)
    expected = 20 / result.queries_per_second - 0.05
    assert result.latency.mean == pytest.approx(expected, rel=0.03)


def test_thinking_clients_in_wall_time() -> None:
    with bmp.LoadGenerator(bmp.NullBackend(), instances=2) as gen:
        wall = gen.run(bmp.ClosedLoop(2, bmp.Exponential(2e-3)), queries=100, seed=1)
    with bmp.LoadGenerator(
        bmp.SimulatedDevice(bmp.Deterministic(0.0), servers=2), clock="virtual"
    ) as gen:
        virtual = gen.run(bmp.ClosedLoop(2, bmp.Exponential(2e-3)), queries=100, seed=1)
    thought, planned = _thinking(wall), _thinking(virtual)
    assert np.mean(planned) == pytest.approx(2e6, rel=0.5)
    assert (thought >= planned).all()
    assert np.median(thought - planned) < 5e6  # how late a busy host wakes a thread


def _thinking(result: bmp.Result) -> np.ndarray:
    """Time from each answer to the same client's next query, ns, by query number."""
    assert result.stamps is not None
    stamps = result.stamps[np.argsort(result.stamps["query"])]["stamps"]
    return stamps["submitted"][2:] - stamps["completed"][:-2]
