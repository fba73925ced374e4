"""Every line of ``bytemlperf selftest``, and that a line can fail."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bytemlperf as bmp
from bytemlperf import cli, selftest
from bytemlperf.selftest import closed_forms
from bytemlperf.selftest.closed_forms import MD1, MMc
from bytemlperf.selftest.little import integral_in_flight, overlaps
from bytemlperf.selftest.plans import GOLDEN
from bytemlperf.selftest.queueing import queue_obeys
from bytemlperf.selftest.wall import entries_follow_lindley, lindley_errors

# Time in the system in units of the service time: mean, p50, p90, p99.
TABLE = {
    MMc(1, 0.5): (2.0, 1.386, 4.605, 9.210),
    MMc(1, 0.8): (5.0, 3.466, 11.513, 23.026),
    MMc(1, 0.95): (20.0, 13.863, 46.052, 92.103),
    MD1(0.5): (1.5, 1.000, 2.516, 4.336),
    MD1(0.8): (3.0, 2.276, 6.012, 11.356),
    MD1(0.95): (10.5, 7.481, 23.302, 45.938),
}


@pytest.mark.parametrize("law", TABLE, ids=str)
def test_closed_forms_are_those_of_the_table(law: Any) -> None:
    figures = (law.mean, *(closed_forms.quantile(law, q) for q in (0.5, 0.9, 0.99)))
    assert figures == pytest.approx(TABLE[law], abs=6e-4)


@pytest.mark.parametrize("law", [MMc(1, 0.7), MMc(3, 0.8), MMc(3, 2 / 3), MMc(2, 0.5), MD1(0.5)])
def test_the_mean_is_the_integral_of_the_survival(law: Any) -> None:
    width = 0.05
    middles = np.arange(width / 2, 40.0, width)
    integral = width * sum(law.survival(t) for t in middles)
    assert integral == pytest.approx(law.mean, rel=2e-3)


def name_of(check: Any) -> str:
    if isinstance(check, partial):
        name, law, _ = check.args
        return f"{name} rho {law.rho}"
    return str(check.__name__)


def is_slow(check: Any) -> bool:
    """Lines whose size is for a user's proof; what they rest on is tested more quickly elsewhere."""
    return "0.95" in name_of(check) or name_of(check) == "intervals_cover"


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, marks=[pytest.mark.slow] if is_slow(check) else [])
        for check in selftest.CHECKS
        if check is not entries_follow_lindley
    ],
    ids=name_of,
)
def test_line(check: selftest.Check) -> None:
    line = check()
    assert line.ok, line
    json.dumps(line.figures)


def test_entries_follow_lindley() -> None:
    """On a host that other work keeps busy, the tenth of the queries that was let alone shows what
    the generator itself adds."""
    line = entries_follow_lindley()
    quantiles = line.figures["quantiles_ns"]
    assert line.ok or quantiles["p10"] < 2000, line
    assert quantiles["p10"] >= 0


def test_lindley_errors_are_zero_without_a_host() -> None:
    device = bmp.SimulatedDevice(bmp.Exponential(1e-3))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        stamps = gen.run(bmp.Poisson(900.0), queries=10_000).stamps
    assert stamps is not None
    assert not lindley_errors(stamps).any()


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300)), min_size=1, max_size=40))
def test_littles_law_is_an_identity_on_any_window(queries: list[tuple[int, int]]) -> None:
    intended = np.array([start for start, _ in queries])
    completed = intended + [length for _, length in queries]
    for window in ((0, 1300), (250, 600), (400, 401)):
        expected = sum(
            max(0, min(c, window[1]) - max(i, window[0]))
            for i, c in zip(intended.tolist(), completed.tolist(), strict=True)
        )
        assert overlaps(intended, completed, *window) == expected
        assert integral_in_flight(intended, completed, *window) == expected


def test_every_kind_of_plan_is_golden() -> None:
    kinds = {type(pattern).__name__ for pattern, _, _ in GOLDEN}
    planned = {"Constant", "Poisson", "Gamma", "OnOff", "Ramp", "Steps", "Sine", "Replay"}
    assert kinds == planned | {"Superposed", "Sequence"}


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code: Any = 0
    try:
        cli.main(["selftest", *arguments])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_tells_each_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "CHECKS", (selftest.CHECKS[0], selftest.CHECKS[-3]))
    code, out, _ = run_command(capsys)
    assert code == 0
    assert "clock" in out
    assert "the same at the very" in out  # the rest is on the next line of a narrow table
    code, out, _ = run_command(capsys, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["ok"] is True
    assert [line["ok"] for line in document["lines"]] == [True, True]
    assert document["environment"]["cores"] >= 1


def test_a_wrong_law_is_seen_and_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed form that is 3 % off turns its line red, and the exit code with it."""
    right = MMc(1, 0.5).mean
    monkeypatch.setattr(MMc, "mean", property(lambda law: 1.03 * right))
    check = partial(queue_obeys, "M/M/1", MMc(1, 0.5), bmp.Exponential(1e-3))
    monkeypatch.setattr(selftest, "CHECKS", (check,))
    code, out, err = run_command(capsys)
    assert code == 3
    assert "FAILED" in out
    assert "M/M/1, rho 0.5" in err
    code, out, _ = run_command(capsys, "--json")
    assert code == 3
    assert json.loads(out)["ok"] is False


def test_a_generator_that_moves_the_plan_would_be_seen() -> None:
    """A stall that is not charged, as where the schedule is reset when it is late, has a p99 of the
    service time: the stall lines tell the two apart."""
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-4), stall=(10.0, 1.0))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        result = gen.run(bmp.ClosedLoop(think_time=9e-4), duration=30.0)
    assert result.latency.p99 == pytest.approx(1e-4, rel=0.01)
    assert result.latency.max == pytest.approx(1.0, rel=0.01)


def test_durbins_form_is_uniform_under_the_null() -> None:
    from bytemlperf.selftest.plans import durbin

    rng = np.random.default_rng(0)
    p_values = [durbin(np.sort(rng.random(500)), 1.0) for _ in range(300)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
