from __future__ import annotations

import functools
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytemlperf as bmp


def planned_is_accounted_for(result: bmp.Result) -> bool:
    parts = result.completed + result.errors + result.timeouts + result.unsent
    return result.planned == parts


class Doubler:
    """A RuntimeBackend in small: notes its threads and batch sizes."""

    built: list[Doubler] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.loaded: list[int] = []
        self.unloaded = 0
        self.calls = 0
        Doubler.built.append(self)

    def load(self, batch_size: int) -> None:
        assert threading.get_ident() == self.thread
        self.loaded.append(batch_size)

    def predict(self, feeds: Any) -> dict[str, np.ndarray]:
        assert threading.get_ident() == self.thread
        self.calls += 1
        return {"y": feeds["x"] * 2}

    def unload(self) -> None:
        assert threading.get_ident() == self.thread
        self.unloaded += 1


@pytest.fixture(autouse=True)
def _no_instances() -> Iterator[None]:
    Doubler.built.clear()
    yield
    Doubler.built.clear()


def sleep_10ms(_: Any) -> None:
    time.sleep(0.01)


def test_three_clients_on_three_instances_overlap() -> None:
    with bmp.LoadGenerator(sleep_10ms, instances=3) as gen:
        result = gen.run(bmp.ClosedLoop(3), duration=1.0)
    assert 2.9 <= result.queries_per_second * result.service_time.mean <= 3.0 + 0.05
    assert result.latency.p50 < 1.2 * result.service_time.p50
    assert planned_is_accounted_for(result)


def test_three_clients_on_one_instance_wait_for_each_other() -> None:
    with bmp.LoadGenerator(sleep_10ms, instances=1) as gen:
        result = gen.run(bmp.ClosedLoop(3), duration=1.0)
    assert result.latency.p50 == pytest.approx(3 * result.service_time.p50, rel=0.1)
    assert result.queue_wait.p50 == pytest.approx(2 * result.service_time.p50, rel=0.1)


def test_a_class_is_built_loaded_called_and_unloaded_on_its_own_thread() -> None:
    x = np.arange(10, dtype=np.float32).reshape(10, 1)
    with bmp.LoadGenerator(Doubler, samples={"x": x}, batch_size=2, instances=2) as gen:
        first = gen.run(bmp.ClosedLoop(2), queries=20)
        second = gen.run(bmp.Offline(), queries=5, keep_outputs=True)
    assert first.completed == 20
    assert first.errors == 0
    assert len(Doubler.built) == 2
    assert len({b.thread for b in Doubler.built}) == 2
    assert all(b.loaded == [2] and b.unloaded == 1 for b in Doubler.built)
    assert second.outputs is not None
    np.testing.assert_array_equal(np.concatenate([o["y"] for o in second.outputs]), 2 * x)


def test_an_object_is_shared_and_loaded_once() -> None:
    backend = SharedBackend()
    with bmp.LoadGenerator(backend, instances=3) as gen:
        gen.run(bmp.ClosedLoop(3), queries=30)
        gen.run(bmp.ClosedLoop(1), queries=3)
    assert backend.log[0] == "load 1"
    assert backend.log[-1] == "unload"
    assert backend.log.count("predict") == 33
    assert len(backend.log) == 35


class SharedBackend:
    def __init__(self) -> None:
        self.log: list[str] = []

    def load(self, batch_size: int) -> None:
        self.log.append(f"load {batch_size}")

    def predict(self, feeds: Any) -> None:
        self.log.append("predict")

    def unload(self) -> None:
        self.log.append("unload")


def test_a_partial_of_a_class_is_a_factory() -> None:
    class Adder:
        def __init__(self, amount: int) -> None:
            self.amount = amount

        def predict(self, feeds: Any) -> dict[str, np.ndarray]:
            return {"y": feeds["x"] + self.amount}

    with bmp.LoadGenerator(functools.partial(Adder, 5), samples={"x": np.zeros(4)}) as gen:
        result = gen.run(bmp.Offline(), queries=4, keep_outputs=True)
    assert result.outputs is not None
    assert [float(o["y"][0]) for o in result.outputs] == [5.0] * 4


@pytest.mark.parametrize(("rows", "batch"), [(10, 5), (10, 4), (7, 3), (3, 8), (5003, 7)])
def test_query_k_takes_rows_k_times_batch_and_on_around_the_end(rows: int, batch: int) -> None:
    x = np.arange(rows, dtype=np.int64)
    weight = np.ones(3, np.float32)
    seen: list[np.ndarray] = []

    def record(feeds: Any) -> dict[str, np.ndarray]:
        assert feeds["x"].shape == (batch,)
        assert feeds["weight"].shape == (3,)
        assert feeds["x"].flags.c_contiguous
        assert not feeds["x"].flags.writeable
        with pytest.raises(TypeError):
            feeds["x2"] = 1
        return {"rows": feeds["x"]}

    samples = {"x": x, "weight": bmp.Shared(weight)}
    with bmp.LoadGenerator(record, samples=samples, batch_size=batch) as gen:
        result = gen.run(bmp.Offline(), queries=40, keep_outputs=True)
    assert result.errors == 0, result.error_types
    assert result.outputs is not None
    seen = [o["rows"] for o in result.outputs]
    for k, taken in enumerate(seen):
        np.testing.assert_array_equal(taken, (k * batch + np.arange(batch)) % rows)


def test_ready_queries_are_handed_over_as_they_are_and_may_differ_in_size() -> None:
    queries = [{"x": np.full((n, 2), n)} for n in (4, 4, 3)]
    with bmp.LoadGenerator(lambda f: {"y": f["x"]}, samples=queries) as gen:
        result = gen.run(bmp.Offline(), queries=3, keep_outputs=True)
    assert result.outputs is not None
    assert [o["y"].shape for o in result.outputs] == [(4, 2), (4, 2), (3, 2)]
    assert result.samples_per_second == pytest.approx(11 / result.duration)


def test_feeds_are_a_dict_that_refuses_to_be_changed() -> None:
    seen: list[Any] = []
    with bmp.LoadGenerator(seen.append, {"x": np.zeros((2, 1), np.float32)}) as gen:
        gen.run(bmp.ClosedLoop(), queries=2)
    feeds = seen[0]
    assert isinstance(feeds, dict)
    assert list(feeds) == ["x"]
    y = feeds["x"]
    changes: list[Callable[[], Any]] = [
        lambda: feeds.update(y=y),
        lambda: feeds.__setitem__("y", y),
        lambda: feeds.pop("x"),
        lambda: feeds.setdefault("y", y),
        lambda: feeds.__ior__({"y": y}),
        feeds.popitem,
        feeds.clear,
        lambda: feeds.__delitem__("x"),
    ]
    for change in changes:
        with pytest.raises(TypeError, match=r"read-only.*change dict\(feeds\)"):
            change()
    with pytest.raises(ValueError, match="read-only"):
        y += 1
    assert {**feeds, "y": y}.keys() == (feeds | {"y": y}).keys() == {"x", "y"}
    assert pickle.loads(pickle.dumps(feeds)).keys() == {"x"}


def test_a_backend_that_raises_is_counted_and_the_run_goes_on() -> None:
    calls = iter(range(1000))

    def sometimes(feeds: Any) -> None:
        if next(calls) % 10 == 0:
            raise ValueError("planted")

    with bmp.LoadGenerator(sometimes) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=200)
    assert (result.completed, result.errors) == (180, 20)
    assert result.error_types["ValueError"].count == 20
    assert "planted" in result.error_types["ValueError"].first
    assert "test_loadgen.py" in result.error_types["ValueError"].first
    assert result.latency.count == 180
    assert not result.valid
    assert planned_is_accounted_for(result)


def test_a_backend_that_cannot_be_loaded_says_why() -> None:
    class Broken:
        def load(self, batch_size: int) -> None:
            raise OSError("no such device: /dev/spu0")

        def predict(self, feeds: Any) -> None: ...

    gen = bmp.LoadGenerator(Broken, instances=2)
    with pytest.raises(bmp.BackendError, match="no such device: /dev/spu0"):
        gen.run(bmp.ClosedLoop(2), queries=10)


class OnDevice:
    """Looks like an array of another library."""

    def __dlpack__(self) -> None: ...


@pytest.mark.parametrize("outputs", [OnDevice(), {"y": OnDevice()}, [np.zeros(1), OnDevice()]])
def test_outputs_that_may_not_be_computed_yet_are_refused(outputs: Any) -> None:
    with bmp.LoadGenerator(lambda f: outputs) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=3)
    assert result.completed == 0
    assert "return numpy arrays" in result.error_types["TypeError"].first


@pytest.mark.parametrize("pattern", [bmp.Poisson(2000.0), bmp.Constant(2000.0, clients=2)])
def test_open_loop_holds_its_rate_and_charges_from_the_plan(pattern: Any) -> None:
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        result = gen.run(pattern, duration=0.5, seed=3, warmup=0.05)
    assert result.planned == result.completed
    assert result.planned == pytest.approx(1000, rel=0.15)
    assert result.stamps is not None
    times = result.stamps["stamps"]
    for first, last in (
        ("intended", "submitted"),
        ("submitted", "ready"),
        ("ready", "entered"),
        ("entered", "completed"),
    ):
        assert (times[last] >= times[first]).all()
    assert result.plan_hash is not None
    assert sorted(result.stamps["query"].tolist()) == list(range(result.planned))


def test_overload_is_charged_to_latency_not_dropped() -> None:
    def slow(feeds: Any) -> None:
        time.sleep(0.002)

    with bmp.LoadGenerator(slow) as gen:
        result = gen.run(bmp.Constant(1000.0), queries=200)
    assert result.completed == 200
    # 200 queries of 2 ms, due within 0.2 s: the last one waits for 0.2 s and more.
    assert result.latency.max > 0.2
    assert result.service_time.p50 < 0.003
    assert result.queue_wait.p50 > 0.05


def test_one_seed_is_one_plan_for_any_number_of_clients() -> None:
    hashes = set()
    for clients in (1, 2, 8):
        with bmp.LoadGenerator(bmp.NullBackend()) as gen:
            hashes.add(gen.run(bmp.Poisson(50_000.0, clients), queries=500, seed=9).plan_hash)
    assert len(hashes) == 1
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        assert gen.run(bmp.Poisson(50_000.0), queries=500, seed=10).plan_hash not in hashes


def test_a_time_bound_ends_a_counted_run_early() -> None:
    with bmp.LoadGenerator(sleep_10ms, instances=2) as gen:
        result = gen.run(bmp.ClosedLoop(2), queries=1000, max_duration=0.2)
    assert result.planned == 1000
    assert 2 <= result.completed < 60
    assert result.unsent == 1000 - result.completed
    assert planned_is_accounted_for(result)


def test_warm_up_is_extra_and_not_counted() -> None:
    calls = 0

    def count(feeds: Any) -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.001)

    with bmp.LoadGenerator(count) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=20, warmup=0.1)
    assert result.completed == 20
    assert calls > 60


def test_progress_is_reported_and_its_errors_end_the_run() -> None:
    seen: list[bmp.Progress] = []
    with bmp.LoadGenerator(sleep_10ms) as gen:
        gen.run(bmp.ClosedLoop(), duration=0.8, progress=seen.append)
    assert len(seen) >= 2
    assert {p.phase for p in seen} <= {"load", "warmup", "measure", "drain"}
    assert seen[-1].fraction is not None
    assert 0 < seen[-1].fraction <= 1
    assert seen[-1].p99 is not None

    def fail(progress: bmp.Progress) -> None:
        raise RuntimeError("drawing failed")

    with bmp.LoadGenerator(sleep_10ms) as gen, pytest.raises(RuntimeError, match="drawing"):
        gen.run(bmp.ClosedLoop(), duration=5.0, progress=fail)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"queries": 1, "duration": 1.0},
        {"queries": 0},
        {"duration": -1.0},
        {"queries": 5, "warmup": -1.0},
        {"p99_within": 0.05, "queries": 5},
        {"p99_within": 2.0},
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any]) -> None:
    with bmp.LoadGenerator(bmp.NullBackend()) as gen, pytest.raises(bmp.UsageError):
        gen.run(bmp.ClosedLoop(), **arguments)


def test_wrong_construction_is_refused() -> None:
    with pytest.raises(bmp.UsageError, match="virtual"):
        bmp.LoadGenerator(bmp.NullBackend(), clock="virtual")
    with pytest.raises(bmp.UsageError, match="batch_size"):
        bmp.LoadGenerator(bmp.NullBackend(), batch_size=0)
    for samples in ({"x": np.zeros(3), "y": np.zeros(4)}, {"x": np.zeros((0, 2))}, []):
        with pytest.raises(bmp.UsageError, match="samples"):
            bmp.LoadGenerator(print, samples=samples).run(bmp.ClosedLoop(), queries=1)
    with pytest.raises(bmp.UsageError, match="neither"):
        bmp.LoadGenerator(42).run(bmp.ClosedLoop(), queries=1)
    for wrong in (lambda: bmp.Poisson(0), lambda: bmp.ClosedLoop(0), lambda: bmp.Constant(1e10)):
        with pytest.raises(bmp.UsageError):
            wrong()


def test_measure_stops_when_p99_is_known() -> None:
    result = bmp.measure(np.sort, np.random.default_rng(0).random(2000))
    assert result.duration < 10.5
    assert result.completed > 100
    names = {verdict.name for verdict in result.verdicts}
    assert "p99_within" in names
    assert "latency" in str(result)
    assert "<pre>" in result._repr_html_()


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    with bmp.LoadGenerator(sleep_10ms) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=30)
    result.save(tmp_path / "run.json")
    loaded = bmp.load_result(tmp_path / "run.json")
    assert loaded.to_dict() == result.to_dict()
    assert loaded.latency.p99 == result.latency.p99
    assert loaded.latency.interval(0.5) == result.latency.interval(0.5)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(bmp.UsageError, match=r"bad\.json"):
        bmp.load_result(tmp_path / "bad.json")


CTRL_C = """
import sys, time
import bytemlperf as bmp
gen = bmp.LoadGenerator(lambda feeds: time.sleep(0.002), instances=2)
def ready(progress):
    print("running", flush=True)
try:
    gen.run(bmp.ClosedLoop(2), duration=60.0, progress=ready)
except bmp.RunInterrupted as stop:
    print("kept", stop.result.completed > 0, stop.result.interrupted)
    sys.exit(130)
"""


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "kept True True" in output


def test_an_open_generator_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    code = (
        "import bytemlperf as bmp; gen = bmp.LoadGenerator(lambda f: None, instances=2); "
        "print(gen.run(bmp.ClosedLoop(2), queries=10).completed)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "10\n", "")


def test_stamps_become_a_table_of_queries() -> None:
    pytest.importorskip("pandas")
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        table = gen.run(bmp.ClosedLoop(), queries=50).to_pandas()
    assert len(table) == 50
    assert (table["completed"] >= table["entered"]).all()
    assert set(table) == {
        "query", "client", "instance", "intended", "submitted", "ready", "entered", "completed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: bmp.Deterministic(-1.0), r"Deterministic\(seconds=-1.0\): a service time"),
        (lambda: bmp.Exponential("x"), "times are numbers of seconds"),
        (lambda: bmp.Lognormal(1.0, cv=-1.0), "cv must not be negative"),
        (lambda: bmp.Table({}), "batches of 1 or more"),
        (lambda: bmp.SimulatedDevice(0.1), "service is a Deterministic, "),
        (lambda: bmp.SimulatedDevice(bmp.Deterministic(0.1), servers=0), "at least one server"),
        (lambda: bmp.SimulatedDevice(bmp.Deterministic(0.1), stall=(1.0, -1.0)), "a stall begins"),
        (lambda: bmp.Dynamic("4", 0.1), "max_samples is a whole number"),
        (lambda: bmp.LoadGenerator(print, batch_size="4"), "batch_size is a whole number"),
        (lambda: bmp.LoadGenerator(print, instances=1.5), "instances is a whole number"),
    ],
)
def test_figures_that_cannot_be_are_refused_where_they_are_given(build: Any, message: str) -> None:
    with pytest.raises(bmp.UsageError, match=message):
        build()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pattern": "poisson", "queries": 1}, r"an object such as Poisson\(100\), not 'poisson'"),
        ({"pattern": bmp.Poisson, "queries": 1}, "an object such as"),
        ({"queries": 2.5}, "queries is a whole number"),
        ({"queries": 1, "seed": -1}, "seed is a whole number"),
        ({"queries": 1, "stamps": -1}, "stamps is a whole number"),
    ],
)
def test_what_no_run_can_do_is_refused(asked: dict[str, Any], message: str) -> None:
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        with pytest.raises(bmp.UsageError, match=message):
            gen.run(**{"pattern": bmp.ClosedLoop(), **asked})
        assert gen.run(bmp.ClosedLoop(), queries=1).completed == 1
