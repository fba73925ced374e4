"""Backends in processes of their own: what they answer, and what happens when they die."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytemlperf as bmp


def load_planted() -> Any:
    """Import planted.py by its file, as a user's module that lies on no path."""
    file = Path(__file__).with_name("planted.py")
    spec = importlib.util.spec_from_file_location("planted", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["planted"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


planted = load_planted()
X = np.arange(10, dtype=np.float32).reshape(10, 1)


def run(
    backend: Any, queries: int = 20, samples: Any = None, clients: int = 1, **arguments: Any
) -> bmp.Result:
    names = ("batch_size", "batching", "instances")
    options = {k: arguments.pop(k) for k in names if k in arguments}
    feeds = {"x": X} if samples is None else samples
    with bmp.LoadGenerator(backend, feeds, **options) as generator:
        return generator.run(
            bmp.ClosedLoop(clients), queries=queries, keep_outputs=True, **arguments
        )


def isolated(deed: str, **options: Any) -> bmp.Isolated:
    return bmp.Isolated(partial(planted.Planted, deed), **options)


@pytest.mark.parametrize(
    "backend", [planted.double, planted.Planted, planted.Planted(), planted.Pooled]
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_isolated_backend_answers_as_it_does_at_home(
    backend: Any, batch_size: int, check_outputs: Callable[..., None]
) -> None:
    result = run(bmp.Isolated(backend), batch_size=batch_size)
    assert (result.completed, result.errors) == (20, 0), result.error_types
    check_outputs(result, batch_size)
    stamps = result.stamps["stamps"]
    order = ("intended", "submitted", "ready", "entered", "completed")
    assert all((stamps[a] <= stamps[b]).all() for a, b in pairwise(order))
    isolation = result.environment["isolation"]
    assert isolation["restarts"] == 0
    assert isolation["hop_p50_us"] > 0


def test_a_short_query_is_told_what_the_bridge_takes() -> None:
    with bmp.LoadGenerator(bmp.Isolated(planted.double), {"x": X}) as generator:
        result = generator.run(bmp.ClosedLoop(), queries=2000)
    (found,) = (verdict for verdict in result.verdicts if verdict.name == "overhead")
    hop = result.environment["isolation"]["hop_p50_us"]
    assert not found.ok
    assert f"the bridge to the backend's own process takes {hop:.3g} us of each query" in str(found)
    assert "without isolation" in found.remedy
    assert result.overhead is not None
    assert result.gil_wait.p50 <= result.overhead.floor  # the way in is in every latency


def test_queries_are_merged_and_instances_are_children(check_outputs: Callable[..., None]) -> None:
    result = run(
        bmp.Isolated(planted.Planted),
        queries=100,
        clients=8,
        instances=2,
        batching=bmp.Dynamic(max_samples=4, max_delay=0.002),
    )
    assert result.completed == 100
    assert result.batches < 100
    check_outputs(result)


def test_ready_queries_shared_inputs_and_other_outputs() -> None:
    ready = [{"x": X[:2]}, {"x": X[2:3]}]
    result = run(bmp.Isolated(planted.everything), samples=ready, queries=4, batch_size=2)
    assert result.errors == 0, result.error_types
    first, second = result.outputs[2:]  # type: ignore[index]
    assert first["list"][1] == "text"
    assert first["tuple"] == (None, 1.5)
    np.testing.assert_array_equal(first["x"], X[:2])
    np.testing.assert_array_equal(second["x"], X[2:3])
    assert second["scalar"] == 2.0
    shared = {"x": X, "bias": bmp.Shared(np.float32([5, 6]))}
    result = run(bmp.Isolated(planted.add_bias), samples=shared, queries=12)
    for query, outputs in enumerate(result.outputs or []):
        np.testing.assert_array_equal(outputs["y"], X[query % 10] + [[5, 6]])


def test_outputs_may_grow() -> None:
    ready = [{"n": np.full((1, 1), 10**k)} for k in range(7)]
    result = run(bmp.Isolated(planted.zeros), samples=ready, queries=14)
    assert [len(o["y"]) for o in result.outputs or []] == 2 * [10**k for k in range(7)]


DEATHS = {
    "read_null": ("BackendCrashed", "SIGSEGV"),
    "abort": ("BackendCrashed", "SIGABRT"),
    "leave": ("BackendCrashed", "exited with code 7"),
    "write_to_inputs": ("BackendCrashed", "SIGSEGV"),
}
FAULTS = {
    "fail": ("ValueError", "planted"),
    "shape": ("BadOutputs", "output 'y': expected an array with 1 rows"),
    "foreign": ("TypeError", "may lie on a device"),
}


@pytest.mark.parametrize("deed", [*DEATHS, *FAULTS])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_planted_fault_fails_its_query_only(
    deed: str, asynchronous: bool, check_two_faults: Callable[..., None]
) -> None:
    backend = bmp.Isolated(partial(planted.Pooled if asynchronous else planted.Planted, deed))
    if asynchronous and deed == "shape":
        pytest.skip("without predict() a backend promises no rows")
    result = run(backend)
    check_two_faults(result, *(DEATHS | FAULTS)[deed], dies=deed in DEATHS)


def test_the_last_words_of_a_child_are_in_the_error(tmp_path: Path) -> None:
    result = run(isolated("abort", log_dir=tmp_path))
    message = result.error_types["BackendCrashed"].first
    assert "the device is on fire" in message
    assert "in abort" in message  # where it was
    assert str(tmp_path / "instance-0.log") in message
    assert (tmp_path / "instance-0.log").read_text().count("on fire") == 2


@pytest.mark.parametrize(
    ("deed", "options", "message"),
    [
        ("hang", {"hang_after": 0.3}, "no answer within 0.3 s"),
        ("hold_gil", {"beat_within": 0.6}, "no sign of life for 0.6 s"),
    ],
)
def test_a_hang_is_ended_and_named(
    deed: str, options: Any, message: str, check_outputs: Callable[..., None]
) -> None:
    result = run(isolated(deed, **options), queries=10)
    assert (result.completed, result.errors) == (9, 1)
    first = result.error_types["BackendHung"].first
    assert message in first
    assert f"in {deed}" in first  # the stack of the call
    check_outputs(result)


@pytest.mark.parametrize("kind", [planted.Planted, planted.Pooled])
def test_a_hang_is_ended_by_the_timeout_of_its_query(kind: type) -> None:
    x = np.array([[planted.BAD], *([[0.0]] * 99)], np.float32)
    backend = bmp.Isolated(partial(kind, "hang"), restarts=1)
    clients = 1 if kind is planted.Planted else 4
    result = run(backend, 60, {"x": x}, clients=clients, timeout=0.3)
    assert result.completed + result.timeouts + result.errors == 60
    assert result.timeouts >= 1
    if kind is planted.Planted:
        deaths = result.environment["isolation"]["deaths"]
        assert "no answer within the timeout" in deaths[0]
        # Queries that wait for the new child may time out as well; those after it are answered.
        assert result.outputs is not None
        assert result.outputs[-1] is not None


def test_restarts_are_counted_and_end() -> None:
    result = run(isolated("leave", restarts=1), queries=40)
    assert result.environment["isolation"]["restarts"] == 1
    # 3 answers, the first death; 9 answers of the new child, its death; then nothing.
    assert (result.completed, result.errors) == (12, 28)
    with bmp.LoadGenerator(isolated("leave", restarts=0), {"x": X}) as generator:
        assert generator.run(bmp.ClosedLoop(), queries=3).completed == 3
        assert generator.run(bmp.ClosedLoop(), queries=5).completed == 3


@pytest.mark.parametrize(
    ("deed", "message"), [("fail to load", "no device"), ("die in load", "SIGBUS")]
)
def test_a_backend_that_cannot_be_loaded(deed: str, message: str) -> None:
    with pytest.raises(bmp.BackendError, match=message):
        run(isolated(deed))


def test_a_second_completion_is_refused_and_counted(check_outputs: Callable[..., None]) -> None:
    result = run(bmp.Isolated(planted.Twice), queries=5)
    assert (result.completed, result.errors, result.late) == (5, 0, 0)
    (answers,) = (verdict for verdict in result.verdicts if verdict.name == "answers")
    assert not answers.ok
    check_outputs(result)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: run(bmp.Isolated(lambda feeds: None)), "top level"),
        (lambda: run(bmp.Isolated(planted.double, python="/no/such/python")), "no such Python"),
        (lambda: run(bmp.Isolated(planted.double), samples=["text"]), "takes arrays"),
        (
            lambda: run(bmp.Isolated(planted.double), samples={"x": np.array([None])}),
            "dtype object",
        ),
        (lambda: bmp.Isolated(planted.double, restarts=-1), "restarts"),
        (lambda: bmp.Isolated(planted.double, hang_after=0), "hang_after"),
    ],
)
def test_what_cannot_be_isolated_is_refused(make: Any, message: str) -> None:
    with pytest.raises(bmp.UsageError, match=message):
        make()


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def gone(pid: int) -> bool:
    """True when the process has ended within two seconds."""
    for _ in range(200):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


SCRIPT = textwrap.dedent("""
    import sys, time
    import bytemlperf as bmp

    class Slow:
        def load(self, n): print("loaded", flush=True)
        def predict(self, feeds): time.sleep(0.05)

    if __name__ == "__main__":
        backend = bmp.Isolated(Slow, log_dir=sys.argv[1])
        generator = bmp.LoadGenerator(backend)
        try:
            generator.run(bmp.ClosedLoop(), duration=60)
        except bmp.RunInterrupted as stop:
            print("kept", stop.result and stop.result.errors, flush=True)
            raise SystemExit(130)
""")


@pytest.fixture
def running(tmp_path: Path) -> Any:
    """A script in whose child a call is going on: (process, the child's pid)."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    log = tmp_path / "instance-0.log"
    for _ in range(1000):
        if log.exists() and "loaded" in log.read_text():
            break
        time.sleep(0.01)
    (child,) = children_of(process.pid)
    with process:
        yield process, child
        process.kill()


def test_ctrl_c_ends_the_run_and_the_child(running: Any) -> None:
    process, child = running
    # As from a terminal: to the whole foreground group, of which the child is no part.
    assert os.getpgid(child) != os.getpgid(process.pid)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert out.startswith("kept 0")
    assert gone(child)


def test_no_child_outlives_its_parent(running: Any) -> None:
    process, child = running
    process.kill()
    process.wait()
    assert gone(child)


def test_another_run_finds_no_child_of_the_one_before() -> None:
    before = set(children_of(os.getpid()))
    run(isolated("read_null"))
    assert set(children_of(os.getpid())) == before


RUNTIME = """
import os, pathlib, signal, time
from bytemlperf.backends.CPU.runtime import Runtime as Cpu

class Runtime(Cpu):
    calls = 0

    def predict(self, feeds):
        self.calls += 1
        died = pathlib.Path("died")
        # The honesty checks of a noisy host ask up to 78 times.
        if self.calls == 90 and len(next(iter(feeds.values()))) == 64 and not died.exists():
            died.touch()
            DEED
        return super().predict(feeds)
"""


@pytest.mark.parametrize(
    ("deed", "flags", "death"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", ["--isolate"], "BackendCrashed: SIGSEGV"),
        ("time.sleep(1000)", ["--hang_after", "0.5"], "BackendHung: no answer within 0.5 s"),
    ],
)
def test_a_task_survives_a_backend_that_dies(
    deed: str, flags: list[str], death: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backends" / "FRAIL"
    folder.mkdir(parents=True)
    (folder / "compile.py").write_text(
        "from bytemlperf.backends.CPU.compile import Compile as Cpu\n\n"
        "class Compile(Cpu):\n    pass\n"
    )
    (folder / "runtime.py").write_text(RUNTIME.replace("DEED", deed))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("bytemlperf"),
            *("--task", "digits-onnx-fp32", "--hardware_type", "FRAIL", "--clients", "1"),
            *("--backend_dir", str(tmp_path / "backends"), "--batch_sizes", "1,64"),
            *("--iterations", "100", "--quick", *flags),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads((tmp_path / "reports/FRAIL/digits-onnx-fp32/result-fp32.json").read_text())
    details = report["Details"]
    assert details["status"] == "complete", done.stdout + done.stderr
    assert details["isolated"]
    whole, broken = details["performance"]
    assert (whole["errors"], whole["isolation"]["restarts"]) == (0, 0)
    assert whole["isolation"]["hop_p50_us"] > 0
    assert broken["isolation"]["restarts"] == 1
    assert broken["isolation"]["deaths"][0].startswith(death)
    assert broken["completed"] + broken["errors"] == 100
    assert broken["errors"] <= 1  # none where it died in the warm-up


@pytest.mark.parametrize("batching", [None, bmp.Dynamic(5, 0.001)])
def test_queries_of_a_mix_get_their_own_rows(batching: Any) -> None:
    mix = bmp.mix_queries({"x": X}, {1: 0.5, 2: 0.3, 5: 0.2}, count=10)
    with bmp.LoadGenerator(bmp.Isolated(planted.double), mix, batching=batching) as gen:
        result = gen.run(bmp.ClosedLoop(4), queries=40, keep_outputs=True)
    assert result.errors == 0, result.error_types
    assert isinstance(result.outputs, list)
    for query, outputs in enumerate(result.outputs):
        np.testing.assert_array_equal(outputs["y"], 2 * mix[query % 10]["x"])
