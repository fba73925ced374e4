"""Comparison of two runs: noise stays noise, a slowdown is found, and what cannot be said is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import bytemlperf as bmp
from bytemlperf import cli
from bytemlperf.commands.compare import Condition
from bytemlperf.comparison import _holm, compare_all
from bytemlperf.windows import Windows


def run(seed: int, service: float = 1e-3, queries: int = 200_000, stamps: int = 0) -> bmp.Result:
    """M/D/1 at rho 0.5, where ``service`` is 1 ms."""
    device = bmp.SimulatedDevice(bmp.Deterministic(service))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        return gen.run(bmp.Poisson(500.0), queries=queries, warmup=10.0, seed=seed, stamps=stamps)


def outcomes(pairs: int) -> tuple[int, int]:
    """How often runs of one thing are told apart, and how often a slowdown of 5 % is found."""
    different = found = 0
    for i in range(pairs):
        before = run(2 * i)
        different += bool(bmp.compare(before, run(2 * i + 1)).detected)
        slower = bmp.compare(before, run(2 * i + 1, 1.05e-3)).detected
        found += any(c.metric != "qps" and (c.change or 0) > 0 for c in slower)
    return different, found


def test_noise_stays_noise_and_five_percent_are_found() -> None:
    different, found = outcomes(8)
    assert different <= 1
    assert found >= 7


@pytest.mark.slow
def test_noise_stays_noise_in_95_of_100_and_five_percent_are_found_in_90() -> None:
    different, found = outcomes(100)
    assert different <= 5
    assert found >= 90


def test_the_error_of_a_change_is_that_of_repeated_runs() -> None:
    """The interval's half-width, in units of the spread that pairs of runs really have."""
    runs = [run(seed, queries=50_000) for seed in range(40)]
    compared = [bmp.compare(a, b) for a, b in zip(runs[::2], runs[1::2], strict=True)]
    for metric in ("p50", "p99", "qps"):
        changes = [comparison[metric] for comparison in compared]
        spread = np.std([np.log(c.after / c.before) for c in changes])
        reach = np.mean([np.log1p(c.interval[1]) - np.log1p(c.change) for c in changes])
        assert 1.6 < reach / spread < 4.6, metric  # 2.85 by Student's t, from 20 pairs


def test_an_equal_run_has_no_change_and_a_bound() -> None:
    change = bmp.compare(run(1), run(1))["p99"]
    assert change.change == 0
    assert not change.detected
    assert change.bound is not None
    assert 0 < change.bound < 0.1


def test_too_few_queries_are_refused_by_metric() -> None:
    compared = bmp.compare(run(1, queries=300), run(2, queries=300))
    assert compared["p99"].change is None
    assert "needs 368" in compared["p99"].reason
    assert compared["p50"].change is not None
    assert "cannot say" in str(compared)
    tiny = bmp.compare(run(1, queries=2), run(2, queries=2))
    assert all(change.change is None for change in tiny.changes)


def test_open_and_closed_loop_are_not_compared() -> None:
    with (
        bmp.LoadGenerator(bmp.SimulatedDevice(bmp.Deterministic(1e-3)), clock="virtual") as gen,
        pytest.raises(bmp.UsageError, match="different things"),
    ):
        bmp.compare(run(1, queries=1000), gen.run(bmp.ClosedLoop(), queries=1000))


def test_what_else_differs_is_noted() -> None:
    with bmp.LoadGenerator(
        bmp.SimulatedDevice(bmp.Deterministic(1e-3)), clock="virtual", batch_size=2
    ) as gen:
        other = gen.run(bmp.Poisson(400.0), queries=20_000, seed=1)
    notes = " ".join(bmp.compare(run(1, queries=20_000), other).notes)
    assert "batch_size differs: 1 and 2" in notes
    assert "Poisson 400/s" in notes


def test_several_pairs_are_one_family() -> None:
    runs = [run(seed, queries=20_000) for seed in range(4)]
    alone = bmp.compare(runs[0], runs[1])
    both = compare_all([(runs[0], runs[1]), (runs[2], runs[3])])
    for single, among in zip(alone.changes, both[0].changes, strict=True):
        assert single.change == among.change
        assert (single.p_value or 0) <= (among.p_value or 0)


@given(st.lists(st.floats(0, 1) | st.none(), max_size=8))
def test_holm_is_monotone_and_never_below_the_raw_value(raw: list[float | None]) -> None:
    adjusted = _holm(raw)
    pairs = [(p, a) for p, a in zip(raw, adjusted, strict=True) if p is not None]
    assert [p is None for p in raw] == [a is None for a in adjusted]
    assert all(a is not None and p <= a <= 1 for p, a in pairs)
    by_raw = sorted(pairs)
    assert [a for _, a in by_raw] == sorted(a for _, a in by_raw if a is not None)
    if by_raw:
        assert by_raw[0][1] == pytest.approx(min(1.0, len(pairs) * by_raw[0][0]))


def test_windows_give_the_quantiles_of_the_histogram() -> None:
    result = run(3, queries=100_000)
    windows = result.windows
    assert windows is not None
    assert windows.queries.sum() == result.completed
    assert windows.seconds.sum() == pytest.approx(result.duration)
    everything = np.ones((1, windows.seconds.size))
    for q in (0.1, 0.5, 0.9, 0.99, 0.999):
        read = windows.quantiles(everything, q)[0] * 1e-9
        assert read == pytest.approx(result.latency.quantile(q), rel=5e-3)
    again = Windows.from_dict(json.loads(json.dumps(windows.to_dict())))
    for name in ("edges_ns", "counts", "seconds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(windows, name))


def test_a_saved_result_is_compared_as_the_run_itself(tmp_path: Path) -> None:
    before, after = run(1), run(2)
    before.save(tmp_path / "a.json")
    after.save(tmp_path / "b.json")
    loaded = [bmp.load_result(tmp_path / name) for name in ("a.json", "b.json")]
    assert bmp.compare(*loaded) == bmp.compare(before, after)
    assert (tmp_path / "a.json").stat().st_size < 500_000


def test_a_result_of_the_first_schema_loads_and_is_refused_with_why(tmp_path: Path) -> None:
    data = run(1, queries=1000).to_dict()
    del data["windows"]
    data["schema"] = "bytemlperf.result/1"
    for verdict in data["verdicts"]:
        del verdict["severity"]
    (tmp_path / "old.json").write_text(json.dumps(data))
    old = bmp.load_result(tmp_path / "old.json")
    assert old.valid
    assert "older version" in bmp.compare(old, old)["qps"].reason


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``bytemlperf compare`` in a folder with a.json, same.json and slow.json."""
    monkeypatch.chdir(tmp_path)
    for name, result in (("a", run(1)), ("same", run(2)), ("slow", run(3, 1.08e-3))):
        result.save(tmp_path / f"{name}.json")
    return lambda *arguments: CliRunner().invoke(cli.cli, ["compare", *arguments])


def test_the_command_tells_noise_from_a_regression(command: Callable[..., Result]) -> None:
    same = command("a.json", "same.json", "--fail-if", "p99>+5%", "--fail-if", "qps<-3%")
    assert same.exit_code == 0, same.output
    assert "no detectable difference" in same.output
    slow = command("a.json", "slow.json", "--fail-if", "p99>+5%")
    assert isinstance(slow.exception, bmp.BytemlperfError)
    assert slow.exception.exit_code == 5
    assert "p99>+5%" in str(slow.exception)
    assert command("a.json", "slow.json").exit_code == 0  # nothing was asked to fail
    printed = json.loads(command("a.json", "slow.json", "--json").stdout)
    assert printed[0]["changes"][1]["metric"] == "p99"
    assert printed[0]["changes"][1]["detected"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("a.json", "same.json", "--fail-if", "p99=5"), 2, "p99>+5%"),
        (("a.json", "same.json", "--fail-if", "p98>5%"), 2, "p98"),
        (("a.json", "same.json", "--fail-if", "p99<5%"), 2, "no change at all"),
        (("a.json", "none.json"), 2, "none.json"),
        (("a.json", "same.json", "--confidence", "7"), 2, "confidence"),
    ],
)
def test_what_is_wrong_with_a_command_is_named(
    command: Callable[..., Result], arguments: tuple[str, ...], code: int, says: str
) -> None:
    error = command(*arguments).exception
    assert isinstance(error, bmp.BytemlperfError)
    assert error.exit_code == code
    assert says in str(error)


def test_a_condition_that_the_data_cannot_judge_is_no_pass(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    run(5, queries=300).save(tmp_path / "short.json")
    error = command("a.json", "short.json", "--fail-if", "p99>+5%").exception
    assert isinstance(error, bmp.BytemlperfError)
    assert error.exit_code == 3
    assert "needs 368" in str(error)


def test_a_condition_reads_as_it_is_written() -> None:
    condition = Condition.parse(" P99.9 > +2.5 % ")
    assert (condition.metric, condition.above, condition.bound) == ("p99.9", True, 0.025)
    assert not Condition.parse("qps<-3%").above
