"""Each thing that spoils a run is named, with what mends it; what is no fault is left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytemlperf as bmp
from bytemlperf import host, outcome, overhead
from bytemlperf.attribution import late_causes, turnaround
from bytemlperf.kept_outputs import KeptOutputs
from bytemlperf.overhead import Setup, overhead_of
from bytemlperf.verdicts import _course
from bytemlperf.windows import Windows


def verdict(result: bmp.Result, name: str) -> bmp.Verdict:
    return next(v for v in result.verdicts if v.name == name)


def virtual(pattern: Any, service: float = 1e-3, **arguments: Any) -> bmp.Result:
    device = bmp.SimulatedDevice(bmp.Exponential(service))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        return gen.run(pattern, **arguments)


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def answer(feeds: Any) -> dict[str, Any]:
    spin(100e-6)
    return {"y": feeds["x"]}


@pytest.mark.parametrize("pattern", [bmp.ClosedLoop(), bmp.Offline()])
def test_20_us_that_the_client_itself_takes_are_its_overhead(
    pattern: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs are kept between an answer and the next query: there 20 us are lost."""
    keep = KeptOutputs.keep

    def slow(*arguments: Any) -> None:
        spin(20e-6)
        keep(*arguments)

    monkeypatch.setattr(KeptOutputs, "keep", slow)
    samples = {"x": np.zeros((4, 2), np.float32)}
    with bmp.LoadGenerator(answer, samples) as gen:
        slowed = gen.run(pattern, queries=2_000, keep_outputs=True)
        without = [gen.run(pattern, queries=2_000) for _ in range(3)]
    found = verdict(slowed, "overhead")
    assert found.fatal
    assert "keep_outputs" in found.remedy
    assert not slowed.valid
    assert slowed.overhead is not None
    assert slowed.overhead.turnaround is not None
    assert slowed.overhead.turnaround > 20e-6
    assert any(verdict(run, "overhead").ok for run in without)  # the host may slow one down


STOPPED = """
import sys
import bytemlperf as bmp
gen = bmp.LoadGenerator(bmp.SimulatedDevice(bmp.Deterministic(1e-4)))
gen.run(bmp.Constant(1000.0), queries=10)
def ready(progress):
    if progress.phase == "measure":
        print("running", flush=True)
gen.run(bmp.Constant(400.0), duration=3.0, progress=ready).save(sys.argv[1])
"""


def test_a_stopped_process_is_the_clients_lag_and_not_the_backends(tmp_path: Path) -> None:
    result = stopped(tmp_path)
    assert result.schedule_lag.max > 0.1  # a signal takes its time on a busy host
    assert result.late_causes["backend"] < 0.2
    assert result.service_time.p99 < 0.1
    found = verdict(result, "schedule_lag")
    assert found.fatal
    assert "client" in found.remedy
    assert "late" in found.detail


def stopped(folder: Path) -> bmp.Result:
    """A run of 3 s whose process is stopped for 200 ms in its middle."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(folder / "run.json")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    return bmp.load_result(folder / "run.json")


def test_the_cause_of_lateness_is_the_interval_that_grew() -> None:
    """100 000 queries of which 2 % are late, each for one reason; all below 1 ms otherwise."""
    rng = np.random.default_rng(0)
    for cause, name in enumerate(("client", "queue", "GIL", "backend")):
        parts = rng.integers(1000, 100_000, (100_000, 4))
        parts[::50, cause] += 5_000_000
        stamps = stamped(parts)
        assert late_causes(stamps, distributions(stamps)) == pytest.approx(
            {"client": 0.0, "queue": 0.0, "GIL": 0.0, "backend": 0.0} | {name: 1.0}
        )


def test_turnaround_counts_only_where_a_query_was_waiting() -> None:
    """Service 1 ms, 3 us until the next batch is ready where it had been submitted before."""
    completed = np.arange(1, 101) * 1_000_000
    stamps = stamped(np.zeros((100, 4), np.int64))
    times = stamps["stamps"]
    times["completed"] = completed
    times["ready"][1:] = times["entered"][1:] = completed[:-1] + 3_000
    times["submitted"] = times["ready"] - 500_000
    times["intended"] = times["submitted"] - 10
    assert turnaround(stamps) == pytest.approx(3e-6)
    times["submitted"] = times["ready"]
    assert turnaround(stamps) is None
    assert turnaround(None) is None


def stamped(parts: np.ndarray) -> np.ndarray:
    """Stamps of queries 1 ms apart, from their four intervals in ns."""
    names = ["intended", "submitted", "ready", "entered", "completed"]
    record = [("query", "u8"), ("client", "u4"), ("instance", "u4")]
    stamps = np.zeros(len(parts), [*record, ("stamps", [(name, "i8") for name in names])])
    at = np.arange(len(parts)) * 1_000_000
    for name, interval in zip(names, (0, *parts.T), strict=True):
        at = at + interval
        stamps["stamps"][name] = at
    return stamps


def distributions(stamps: np.ndarray) -> dict[str, bmp.Distribution]:
    from bytemlperf import _core
    from bytemlperf.attribution import CAUSES

    ends = {name: (first, last) for name, first, last in CAUSES.values()}
    ends["latency"] = ("intended", "completed")
    times = stamps["stamps"]
    return {
        name: bmp.Distribution.from_core(_core.Histogram(times[last] - times[first]), lambda: None)
        for name, (first, last) in ends.items()
    }


def test_a_good_run_has_only_good_verdicts() -> None:
    result = virtual(bmp.Poisson(500.0), queries=50_000, warmup=10.0)
    assert result.valid
    assert all(v.ok for v in result.verdicts), result.verdicts
    assert {v.name for v in result.verdicts} >= {"answers", "samples", "stationarity"}


def test_an_overloaded_open_loop_is_invalid() -> None:
    result = virtual(bmp.Poisson(1200.0), queries=20_000)
    found = verdict(result, "stationarity")
    assert found.fatal
    assert "queue grows" in found.detail
    assert "lower the rate" in found.remedy
    assert "invalid (stationarity)" in str(result)


def test_few_queries_are_advice_and_timeouts_are_censoring() -> None:
    few = virtual(bmp.ClosedLoop(), queries=100)
    assert few.valid
    assert "368" in verdict(few, "samples").detail
    assert verdict(few, "samples").severity == "advice"
    assert "note (samples)" in str(few)
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-3))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        equal = gen.run(bmp.ClosedLoop(), queries=100)
    assert equal.latency.interval(0.99) is not None
    assert verdict(equal, "samples").ok
    cut = virtual(bmp.Poisson(800.0), queries=20_000, timeout=5e-3)
    assert verdict(cut, "censoring").fatal
    assert "timeout" in verdict(cut, "censoring").remedy
    assert not cut.valid


def test_a_warm_up_is_advised_in_seconds_and_a_drift_is_named() -> None:
    seconds = np.linspace(0, 60, 20_000)
    latency = 1e-3 * np.random.default_rng(3).lognormal(0, 0.1, 20_000)
    tail = _course(windows(latency * (1 + 0.5 * np.exp(-seconds / 4))), False)
    assert "warmup=" in tail.remedy
    assert not tail.fatal
    drift = _course(windows(latency * (1 + seconds / 60 * 0.05)), True)
    assert "drifting up" in drift.detail
    assert not drift.fatal


def windows(latency: np.ndarray) -> Windows:
    """100 windows over a minute."""
    edges = np.unique(np.quantile(latency, np.linspace(0, 1, 200)))
    edges[0] -= 1e-9
    when = np.linspace(0, 100, latency.size, endpoint=False).astype(int)
    counts, *_ = np.histogram2d(when, latency, [np.arange(101), edges])
    return Windows(np.round(edges * 1e9).astype(np.int64), counts.astype(int), np.full(100, 0.6))


SETUPS = [
    Setup(False, 1, 1, False),
    Setup(False, 2, 2, True),
    Setup(False, 3, 1, False),
    Setup(True, 1, 1, True),
    Setup(True, 1, 1, False, max_samples=4),
]


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_every_setup_can_be_calibrated(setup: Setup, empty_cache: Path) -> None:
    overhead._known.clear()
    measured = overhead_of(setup)
    assert 0 < measured.per_query < 1e-2
    assert 0 <= measured.floor < 1.0


def test_a_calibration_is_kept_for_this_host_and_no_other(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overhead._known.clear()
    measured = overhead_of(SETUPS[0])
    kept = json.loads((empty_cache / "overhead.json").read_text())
    assert host.fingerprint() in kept["host"]

    def measure(setup: Setup) -> bmp.Overhead:
        return bmp.Overhead(1.0, 1.0)

    monkeypatch.setattr(overhead, "_measure", measure)
    overhead._known.clear()
    assert overhead_of(SETUPS[0]) == measured  # from the file
    monkeypatch.setattr(host, "fingerprint", lambda: "another host")
    overhead._known.clear()
    assert overhead_of(SETUPS[0]) == bmp.Overhead(1.0, 1.0)
    (empty_cache / "overhead.json").write_text("{")
    overhead._known.clear()
    assert overhead_of(SETUPS[0]) == bmp.Overhead(1.0, 1.0)
    overhead._known.clear()


def test_overhead_is_beside_the_figures_and_survives_the_file(tmp_path: Path) -> None:
    with bmp.LoadGenerator(answer, {"x": np.zeros((4, 2), np.float32)}) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=500)
    assert result.overhead is not None
    assert "harness: " in str(result)
    result.save(tmp_path / "run.json")
    assert bmp.load_result(tmp_path / "run.json").overhead == result.overhead


class Faulty:
    """The record of a run in which something went wrong on one account."""

    def __init__(self, data: Any, fault: str) -> None:
        self._data, self._fault = data, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def stamps(self) -> Any:
        stamps = self._data.stamps()
        if self._fault == "a completion is dropped":
            return stamps[:-1]
        if self._fault == "a completion is recorded twice":
            return np.concatenate([stamps, stamps[:1]])
        if self._fault == "a stamp is off by 1 ns":
            stamps["stamps"]["completed"][7] += 1
        return stamps

    def timeline(self) -> Any:
        bins = self._data.timeline()
        if self._fault == "the time series misses a query":
            fullest = max(range(len(bins)), key=lambda i: bins[i][0])
            queries, *rest = bins[fullest]
            bins[fullest] = (queries - 1, *rest)
        return bins

    @property
    def planned(self) -> int:
        return int(self._data.planned) + (self._fault == "a query never comes back")


FAULTS = {
    "a completion is dropped": "stamps: 499 queries",
    "a completion is recorded twice": "stamps: 501 queries",
    "a stamp is off by 1 ns": "records disagree",
    "the time series misses a query": "time series: 499 queries",
    "a query never comes back": "1 of 501 queries were submitted and never came back",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("clock", ["virtual", "auto"])
def test_a_record_that_is_not_whole_breaks_littles_law(
    fault: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(driven: Any, data: Any, **arguments: Any) -> bmp.Result:
        data = Faulty(data, fault)
        return outcome.result_of(driven, data, **{**arguments, "stamps": data.stamps()})

    monkeypatch.setattr("bytemlperf.loadgen.result_of", spoilt)
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-4))
    with bmp.LoadGenerator(device, clock=clock) as gen:
        result = gen.run(bmp.Poisson(5000.0), queries=500)
    found = verdict(result, "littles_law")
    assert found.fatal
    assert FAULTS[fault] in found.detail
    assert not result.valid


@pytest.mark.parametrize(
    "run",
    [
        {"pattern": bmp.ClosedLoop(3), "queries": 300},
        {"pattern": bmp.Poisson(5000.0), "duration": 0.1, "warmup": 0.02, "stamps": 0},
        {"pattern": bmp.Poisson(20_000.0), "duration": 0.1, "timeout": 0.002},
        {"pattern": bmp.Offline(), "queries": 200},
        {"pattern": bmp.Poisson(5000.0), "p99_within": 0.5, "max_duration": 0.5},
    ],
)
def test_littles_law_holds_to_the_nanosecond_in_every_kind_of_run(run: dict[str, Any]) -> None:
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-4))
    with bmp.LoadGenerator(device) as gen:
        result = gen.run(**run)
    found = verdict(result, "littles_law")
    assert found.ok, found.detail
    assert ("stamps" in found.detail) == (run.get("stamps") != 0)
    in_flight = result.latency.mean * result.latency.count / result.duration
    assert f"{in_flight:.4g} in flight" in found.detail
