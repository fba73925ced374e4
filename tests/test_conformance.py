"""Backends with planted faults: each is caught by the check that has its name."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import bytemlperf
from bytemlperf.conformance import CHECKS, Limits, check_backend
from bytemlperf.conformance.bench import Bench, CheckFailed
from bytemlperf.conformance.child import row_of
from bytemlperf.conformance.lifetime import leak
from bytemlperf.engine import Request
from bytemlperf.engine.runner import prepare
from bytemlperf.registry import find_backend
from bytemlperf.report.schema import Conformance, ConformanceCheck
from bytemlperf.screen import Screen
from bytemlperf.stamp import read_stamp
from bytemlperf.workload import Workload

pytest.importorskip("onnx")

SKELETONS = Path(bytemlperf.__file__).parent / "skeletons"
LIMITS = Limits(check_s=20.0, leak_s=10.0, leak_calls=2000)

COMPILE = """
from __future__ import annotations
import ctypes
from bytemlperf.backend import CompileBackend, CompileInfo, Segment
class Compile(CompileBackend):
    def version(self):
        return "planted 1.0"
    def compile(self, config, dataset):
        {fault}
        return CompileInfo("fp32", (Segment(0, False, 9),), None)
"""
RUNTIME = """
from __future__ import annotations
import ctypes, os, threading, time
import numpy as np
from bytemlperf.backend import RuntimeBackend
from bytemlperf.model_zoo.digits import embedded_state, forward
class Good(RuntimeBackend):
    loads = 0
    def version(self):
        return "planted 1.0"
    def load(self, batch_size):
        self.batch_size, self.state = batch_size, embedded_state()
    def get_loaded_batch_size(self):
        return self.batch_size
    def predict(self, feeds):
        return forward(self.state, feeds)
class Runtime(Good):
    before, kept, asked = None, [], {{}}
{fault}
"""


def planted(folder: Path, runtime: str = "pass", compile: str = "pass") -> Request:
    """A backend that is the reference itself, with a fault."""
    backend = folder / "PLANTED"
    backend.mkdir(parents=True)
    indented = "\n".join(f"    {line}" for line in runtime.strip("\n").splitlines())
    (backend / "runtime.py").write_text(RUNTIME.format(fault=indented))
    (backend / "compile.py").write_text(COMPILE.format(fault=compile))
    return Request(
        Workload.load("digits-onnx-fp32").with_changes(batch_sizes=[1, 4]),
        find_backend("PLANTED", folder),
    )


def first_broken(request: Request) -> ConformanceCheck:
    """The first check that does not pass, in this process."""
    bench = Bench(prepare(request, Screen(), "test"))
    for check in CHECKS:
        row = row_of(check.name, lambda run=check.run: run(bench, LIMITS))  # type: ignore[misc]
        if row.outcome not in ("passed", "not applicable"):
            return row
    raise AssertionError("every check passed")


FAULTS = {
    "completion": ("""
def submit(self, feeds, done):
    done(self.predict(feeds))
    try:
        done(self.predict(feeds))
    except RuntimeError:
        pass
""", "12 were completed twice"),
    "shapes": ("""
def predict(self, feeds):
    return {"logits": super().predict(feeds)["logits"][:, :9]}
""", r"output 'logits', batch of 4: expected shape \[4, 10\], got \[4, 9\]"),
    "dtypes": ("""
def predict(self, feeds):
    return {"logits": super().predict(feeds)["logits"].astype(np.float64)}
""", "output 'logits': expected dtype float32, got float64"),
    "host outputs": ("""
def predict(self, feeds):
    outputs = super().predict(feeds)
    threading.Timer(0.02, lambda: outputs["logits"].fill(0)).start()
    return outputs
""", "output 'logits' changed after the call had returned"),
    "batch sizes": ("""
def get_loaded_batch_size(self):
    return 1
""", r"after load\(4\): expected get_loaded_batch_size\(\) 4, got 1"),
    "tail batches": ("""
def predict(self, feeds):
    found = super().predict(feeds)["logits"]
    return {"logits": np.resize(found, (self.batch_size, 10))}
""", r"batch of 1: expected shape \[1, 10\], got \[4, 10\]"),
    "determinism": ("""
def predict(self, feeds):
    found = super().predict(feeds)["logits"]
    return {"logits": found + np.float32(0.01) * np.random.rand(*found.shape).astype(np.float32)}
""", "samples 0 to 3 again: expected the same outputs"),
    "depends on input": ("""
def predict(self, feeds):
    return super().predict({"image": np.zeros_like(feeds["image"])})
""", "the answers are the same whatever is asked"),
    "answers its own query": ("""
def predict(self, feeds):
    now = super().predict(feeds)
    if self.before is None or len(self.before["logits"]) != len(now["logits"]):
        self.before = now
    stale, self.before = self.before, now
    return stale
""", "the answer of an earlier query came back"),
    "order of the batch": ("""
def predict(self, feeds):
    found = super().predict(feeds)["logits"]
    return {"logits": found[np.argsort(found[:, 0])]}
""", "row i of an output must belong to row i of the inputs"),
    "no answers by input": ("""
def predict(self, feeds):
    key = feeds["image"].tobytes()
    if key not in self.asked:
        time.sleep(0.002)
        self.asked[key] = super().predict(feeds)
    return self.asked[key]
""", "answers are kept by input"),
    "agreement": ("""
def predict(self, feeds):
    found = super().predict(feeds)["logits"].copy()
    found[:, 7] += 0.25
    return {"logits": found}
""", r"sample 0, output 'logits', element \[7\]: expected -?[\d.]+, got -?[\d.]+ \(tolerance"),
    "reload": ("""
def load(self, batch_size):
    self.loads += 1
    assert self.loads == 1, "loaded before"
    super().load(batch_size)
""", "AssertionError: loaded before"),
    "instances": ("""
def predict(self, feeds):
    type(self).shared = feeds
    time.sleep(0.005)
    return super().predict(type(self).shared)
""", "sample [0-9]+, output 'logits', element"),
    "errors": ("""
def predict(self, feeds):
    return super().predict({"image": next(iter(feeds.values())).reshape(-1, 1, 8, 8)
                            if "image" in feeds else np.zeros((4, 1, 8, 8), np.float32)})
""", "expected an error, got an answer"),
    "leak": ("""
def predict(self, feeds):
    self.kept.append(bytearray(4000))
    return super().predict(feeds)
""", r"memory grew by \d+\.\d MiB over \d+ calls, about [\d,]+ bytes a call"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_name(name: str, tmp_path: Path) -> None:
    fault, message = FAULTS[name]
    row = first_broken(planted(tmp_path, fault))
    assert row.name == name, row.detail
    assert row.outcome == "failed"
    assert re.search(message, row.detail)


def test_open_files_are_counted(tmp_path: Path) -> None:
    fault = """
def predict(self, feeds):
    if len(self.kept) < 200:
        self.kept.append(os.open(os.devnull, os.O_RDONLY))
    return super().predict(feeds)
"""
    bench = Bench(prepare(planted(tmp_path, fault), Screen(), "test"))
    with pytest.raises(CheckFailed, match=r"open files: expected \d+, got \d+ after"):
        leak(bench, 120, 10.0)


SEGFAULT = "def predict(self, feeds):\n    ctypes.string_at(0)"
EXIT = "def load(self, batch_size):\n    os._exit(3)"
HANG = "def predict(self, feeds):\n    time.sleep(1000)"
DEATHS = [
    ("first call", "crashed", r"SIGSEGV in string_at\(\)", SEGFAULT, "pass"),
    ("first call", "crashed", "exit code 3", EXIT, "pass"),
    ("first call", "hung", r"no end after 2 s in predict\(\) at runtime\.py:", HANG, "pass"),
    ("compile", "crashed", "SIGSEGV", "pass", "ctypes.string_at(0)"),
    (
        "compile",
        "failed",
        "ValueError: no such operator",
        "pass",
        "raise ValueError('no such operator')",
    ),
]


@pytest.mark.parametrize(("name", "outcome", "message", "runtime", "compile"), DEATHS)
def test_a_death_is_a_row_and_the_rest_says_why_it_did_not_run(
    name: str, outcome: str, message: str, runtime: str, compile: str, tmp_path: Path
) -> None:
    limits = Limits(check_s=2.0 if outcome == "hung" else 20.0, leak_calls=40)
    found = check_backend(planted(tmp_path, runtime, compile), "test", limits)
    rows = {row.name: row for row in found.checks}
    assert found.failed == [name]
    assert rows[name].outcome == outcome
    assert re.search(message, rows[name].detail), rows[name].detail
    assert rows["leak"].outcome == "not run"
    assert "did not pass" in rows["leak"].detail
    assert read_stamp(find_backend("PLANTED", tmp_path)) == found


IN_C = "    outputs->count = 1;\n"
FILL = """
#include <unistd.h>
#include <pthread.h>
static void* fill(void* logits) { usleep(20000); ((float*)logits)[0] = 0; return NULL; }
"""
NATIVE_FAULTS = {
    "first call": ("*(volatile int*)(intptr_t)(batch->samples - 1) = 1;", "crashed", "SIGSEGV"),
    "host outputs": ("pthread_t t; pthread_create(&t, NULL, fill, self->logits); pthread_detach(t);",
                     "failed", "output 'logits' changed after the call had returned"),
    "host outputs, inputs": ("((float*)image->data)[0] = 7;", "failed",
                             "input 'image' was written to"),
    "shapes": ("self->shape[1] = 9;", "failed", r"expected shape \[4, 10\], got \[4, 9\]"),
    "tail batches": ("self->shape[0] = self->batch;", "failed", "4 rows for a batch of 1 samples"),
}  # fmt: skip


@pytest.mark.parametrize("name", NATIVE_FAULTS)
def test_a_fault_of_a_shared_library_is_caught_by_name(
    name: str, compiled: Callable[..., Path], tmp_path: Path
) -> None:
    fault, outcome, message = NATIVE_FAULTS[name]
    backend = tmp_path / "ACME"
    shutil.copytree(SKELETONS / "native", backend)
    source = backend / "acme.c"
    code = source.read_text().replace(IN_C, f"{IN_C}    {fault}\n")
    source.write_text(FILL + code)
    compiled(source, backend, "-D_DEFAULT_SOURCE", "-Wno-unused-function").rename(
        backend / "libacme.so"
    )
    request = Request(
        Workload.load("digits-onnx-fp32").with_changes(batch_sizes=[1, 4]),
        find_backend("ACME", tmp_path),
    )
    check = name.partition(",")[0]
    found = check_backend(request, "test", LIMITS, [check])
    row = found.checks[-1]
    assert (row.name, row.outcome) == (check, outcome), found.checks
    assert re.search(message, row.detail), row.detail


def test_after_a_crash_the_other_checks_still_run(tmp_path: Path) -> None:
    fault = """
def load(self, batch_size):
    if batch_size > 1 and self.compiled.precision == "fp32" and self.loads:
        ctypes.string_at(0)
    self.loads += 1
    super().load(batch_size)
"""
    found = check_backend(planted(tmp_path, fault), "test", LIMITS)
    outcomes = {row.name: row.outcome for row in found.checks}
    assert found.failed == ["reload"]
    assert outcomes["reload"] == "crashed"
    assert outcomes["instances"] == outcomes["leak"] == "passed"


def test_a_good_backend_is_stamped_until_a_file_changes(tmp_path: Path) -> None:
    request = planted(tmp_path / "b")
    command = (
        sys.executable, "-m", "bytemlperf", "check-backend", "planted", "--backend_dir", "b",
        "--leak-calls", "400", "--json", "found.json",
    )  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    found = Conformance.model_validate_json((tmp_path / "found.json").read_text())
    assert not found.failed
    assert [row.name for row in found.checks] == [check.name for check in CHECKS]
    assert found.backend_version == "planted 1.0"
    run = (
        sys.executable, "-m", "bytemlperf", "--task", "digits-onnx-fp32", "--hardware_type",
        "PLANTED", "--backend_dir", "b", "--compile_only",
    )  # fmt: skip
    for checked in (True, False):
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
        report = json.loads(next((tmp_path / "reports").rglob("result-fp32.json")).read_text())
        assert report["Details"]["conformance"] == (found.model_dump() if checked else None)
        assert ("18 of 18 checks" in done.stdout) == checked
        assert ("bytemlperf check-backend PLANTED" in done.stdout) != checked
        (request.backend.path / "note.txt").write_text("changed")


def test_checks_can_be_chosen_and_a_failure_is_the_exit_code(tmp_path: Path) -> None:
    planted(tmp_path / "b", FAULTS["dtypes"][0])
    command = (
        sys.executable, "-m", "bytemlperf", "check-backend", "PLANTED", "--backend_dir", "b",
    )  # fmt: skip
    chosen = subprocess.run(
        (*command, "--check", "dtypes"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert chosen.returncode == 1
    assert "error: PLANTED failed: dtypes" in chosen.stderr
    assert "leak" not in chosen.stdout
    unknown = subprocess.run(
        (*command, "--check", "dtype"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert unknown.returncode == 2
    assert "did you mean 'dtypes'" in unknown.stderr


def test_ctrl_c_shows_what_was_checked_and_ends_the_child(tmp_path: Path) -> None:
    fault = """
def get_loaded_batch_size(self):
    with open("pid", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)
"""
    planted(tmp_path / "b", fault)
    command = (
        sys.executable, "-m", "bytemlperf", "check-backend", "PLANTED", "--backend_dir", "b",
    )  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        pid = tmp_path / "pid"
        for _ in range(600):
            if pid.exists() and pid.read_text():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.search(r"host outputs +passed", shown)
    assert "batch sizes" not in shown
    assert not Path(f"/proc/{pid.read_text()}").exists()
