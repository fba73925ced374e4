"""The command line as a user types it, end to end, on the embedded task."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bytemlperf.report.schema import Report

pytest.importorskip("onnxruntime")
pytest.importorskip("sklearn")

FAST = ("--iterations", "30", "--batch_sizes", "1,8")


def bytemlperf(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bytemlperf", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def report(cwd: Path, hardware: str, name: str = "result-fp32.json", task: str = "") -> Report:
    return Report.load(cwd / "reports" / hardware / (task or "digits-onnx-fp32") / name)


def test_the_main_job_ends_in_a_report_with_true_accuracy(tmp_path: Path) -> None:
    done = bytemlperf("--task", "digits-onnx-fp32", "--hardware_type", "CPU", *FAST, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = report(tmp_path, "CPU")
    details = found.details
    assert details.status == "complete"
    assert found.simulated is False
    assert details.accuracy is not None
    top1 = details.accuracy.metrics["Top-1"]
    assert top1["value"] >= 0.97
    assert top1["low"] < top1["value"] < top1["high"]
    assert top1["n"] == 539
    assert details.accuracy.meaning == ""
    assert details.numeric is not None
    assert details.numeric.within_tolerance
    assert [row.bs for row in found.performance] == [1, 8]
    for row, run in zip(found.performance, details.performance, strict=True):
        assert run.completed == run.planned == 90
        assert run.iterations_asked == run.iterations_done == 30
        assert run.instances == 3
        assert row.qps == run.samples_per_second > 0
        assert row.p99_latency >= row.avg_latency * 0.5
        assert run.result_file is not None
        saved = json.loads(
            (tmp_path / "reports/CPU/digits-onnx-fp32" / run.result_file).read_text()
        )
        assert saved["completed"] == 90
    assert found.instance_count == 3
    assert [step.name for step in details.steps] == [
        "model", "data", "compile", "reference", "outputs", "accuracy", "numeric", "honesty",
        "performance",
    ]  # fmt: skip
    raw = json.loads((tmp_path / "reports/CPU/digits-onnx-fp32/result-fp32.json").read_text())
    for key in (
        "Model", "Backend", "Host Info", "Dataset", "Graph Compile", "Accuracy", "Performance",
        "Instance Count", "Device Count", "Version", "Execution Date", "Simulated", "Weights",
    ):  # fmt: skip
        assert key in raw
    assert {"BS", "QPS", "AVG Latency", "P99 Latency"} == set(raw["Performance"][0])
    assert raw["Accuracy"]["Top-1"] == top1["value"]
    assert "Mean Diff" in raw["Accuracy"]
    assert "Top-1" in done.stdout
    assert "result-fp32.json" in done.stdout.replace("\n", "")
    assert "performance" in done.stderr
    assert "performance" not in done.stdout


def test_both_spellings_launch_py_and_a_path(tmp_path: Path) -> None:
    task = tmp_path / "mine.json"
    task.write_text(
        """{ // my own task
        "model": "digits-onnx-fp32", "test_perf": true, "test_accuracy": false,
        "test_numeric": false, "clients": 1, "iterations": 5, "batch_sizes": [2],
        "data_percent": 50, "compile_only": false, }"""
    )
    done = bytemlperf(
        "--task", str(task), "--hardware-type", "cpu", "--output-dir", "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = Report.load(tmp_path / "out/CPU/digits-onnx-fp32/result-fp32.json")
    assert found.accuracy is None
    assert found.details.performance[0].completed == 5
    launch = Path(__file__).parent.parent / "launch.py"
    listed = subprocess.run(
        [sys.executable, "-P", str(launch), "--show_task_list"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert re.search("^roberta-torch-fp32 +RoBERTa base", listed.stdout, re.MULTILINE)


def test_simulated_hardware_is_never_silent(tmp_path: Path) -> None:
    done = bytemlperf("--task", "digits-onnx-fp32", "--hardware_type", "SPU", *FAST, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = report(tmp_path, "SPU-simulated", "result-int8-bf16.json")
    assert found.simulated is True
    assert done.stderr.splitlines()[0].count("SIMULATED") == 1
    assert "SIMULATED" in done.stdout.splitlines()[-1]
    assert found.details.numeric is not None
    assert found.accuracy is not None
    assert found.accuracy.max_diff is not None
    assert found.accuracy.max_diff > 0
    assert found.graph_compile is not None
    assert found.graph_compile.compile_precision == "int8/bf16"
    # One device serves three clients in turn, each in its modelled service time.
    notes = found.details.compile.notes if found.details.compile else {}
    assert "no published result" in notes["service_time"]
    assert "compile  of the device model" in done.stdout
    assert f"its errors, {notes['service_time_error']}\n" in done.stdout
    for run in found.details.performance:
        service = run.intervals["service_time"].p50_ms
        assert run.intervals["latency"].p50_ms == pytest.approx(3 * service, rel=0.35)
    refused = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "SPU", "--require_hardware", cwd=tmp_path
    )
    assert refused.returncode == 1
    assert "--require_hardware" in refused.stderr


def test_compile_only_writes_a_report(tmp_path: Path) -> None:
    done = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--compile_only", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = report(tmp_path, "CPU")
    assert found.performance == []
    assert found.graph_compile is not None
    assert found.graph_compile.subgraph_coverage == 100.0
    assert found.details.compile is not None
    assert found.details.compile.cold_s > 0


def test_open_loop_loads_stand_beside_the_closed_loop(tmp_path: Path) -> None:
    done = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--quick",
        "--load", "poisson:200/s:1s", "--load", "offline:50", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr  # a busy host may make the client late
    loads = report(tmp_path, "CPU").details.loads
    assert [load.load for load in loads] == [
        "open loop, Poisson 200/s",
        "offline, everything at once",
    ]
    assert loads[0].plan_hash is not None
    assert loads[0].completed == loads[0].planned > 150
    assert loads[1].completed == 50


def test_an_objective_that_is_missed_has_its_own_code(tmp_path: Path) -> None:
    done = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "CPU", *FAST, "--slo_ms", "0.0001",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 4
    assert "slo_ms" in done.stderr
    assert report(tmp_path, "CPU").details.status == "complete"


def test_a_dry_run_does_nothing(tmp_path: Path) -> None:
    done = bytemlperf("--task", "roberta-torch-fp32", "--hardware_type", "SPU", "--dry_run",
                      cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0
    assert "124,056,578 parameters" in done.stdout
    assert "5 min of measuring at most" in done.stdout
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "digits-onnx-fp23", "--hardware_type", "CPU"), "did you mean 'digits-onnx-fp"),
        (("--task", "digits-onnx-fp32", "--hardware_type", "CPUU"), "did you mean 'CPU'"),
        (("--task", "digits-onnx-fp32"), "--hardware_type is missing"),
        (("--hardware_type", "CPU"), "--task is missing"),
        (("--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--batch_sizes", "x"), "numbers"),
        (("--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--set", "x"), "KEY=VALUE"),
        (
            ("--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--set", "a=1"),
            "no such option",
        ),
        (("--task", "digits-onnx-fp32", "--hardware_type", "SPU", "--set", "sparsity=3"), "one of"),
        (("--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--load", "now"), "--load"),
        (
            ("--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--batch_sizes", "5000"),
            "max_b",
        ),
        (("--taks", "digits-onnx-fp32"), "No such option"),
    ],
)
def test_a_wrong_request_is_one_clear_message(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = bytemlperf(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_named_with_its_command(tmp_path: Path) -> None:
    """onnxruntime is hidden from the process, as on a host that lacks it."""
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'onnxruntime':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    done = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "CPU", cwd=tmp_path,
        PYTHONPATH=str(hide), BYTEMLPERF_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'bytemlperf[onnx]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert report(tmp_path, "CPU").details.status == "failed"


FAILING = {
    "compile": "raise RuntimeError('the compiler ran out of registers')",
    "load": "raise OSError('no device /dev/acc0')",
    "predict": "raise ValueError('shape mismatch in kernel 7')",
}


def failing_backend(folder: Path, where: str) -> Path:
    body = dict.fromkeys(FAILING, "pass") | {where: FAILING[where]}
    home = folder / "ACME"
    home.mkdir(parents=True)
    (home / "compile.py").write_text(
        "from bytemlperf.backend import CompileBackend, CompileInfo, Segment\n"
        "class Compile(CompileBackend):\n"
        "    def version(self): return 'acme 1'\n"
        "    def compile(self, config, dataset):\n"
        f"        {body['compile']}\n"
        "        return CompileInfo('fp32', (Segment(0, False, 1),), None)\n"
    )
    (home / "runtime.py").write_text(
        "import numpy as np\n"
        "from bytemlperf.backend import RuntimeBackend\n"
        "class Runtime(RuntimeBackend):\n"
        "    def version(self): return 'acme 1'\n"
        "    def get_loaded_batch_size(self): return 1\n"
        f"    def load(self, batch_size):\n        {body['load']}\n"
        f"    def predict(self, feeds):\n        {body['predict']}\n"
        "        return {'logits': np.zeros((len(feeds['image']), 10), np.float32)}\n"
    )
    return folder


@pytest.mark.parametrize(
    ("where", "step", "message"),
    [
        ("compile", "compile", "the compiler ran out of registers"),
        ("load", "outputs", "no device /dev/acc0"),
        ("predict", "outputs", "shape mismatch in kernel 7"),
    ],
)
def test_a_failed_step_names_its_cause_and_keeps_what_was_there(
    where: str, step: str, message: str, tmp_path: Path
) -> None:
    folder = failing_backend(tmp_path / "own", where)
    arguments = ("--task", "digits-onnx-fp32", "--hardware_type", "ACME", "--backend_dir")
    done = bytemlperf(*arguments, str(folder), *FAST, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {step}: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    details = report(tmp_path, "ACME").details
    assert details.status == "failed"
    assert message in (details.failure or "")
    assert [s.outcome for s in details.steps][-1] == "failed"
    assert details.parameters == 38282
    shown = bytemlperf(*arguments, str(folder), "--debug", cwd=tmp_path)
    assert "Traceback" in shown.stderr


def test_a_wrong_backend_is_seen_in_accuracy_and_numeric(tmp_path: Path) -> None:
    folder = failing_backend(tmp_path / "own", "predict")
    runtime = folder / "ACME" / "runtime.py"
    runtime.write_text(runtime.read_text().replace(FAILING["predict"], "pass"))
    done = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "ACME", "--backend_dir", str(folder),
        *FAST, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "depends on input" in done.stdout
    found = report(tmp_path, "ACME")
    assert not found.valid
    assert found.details.numeric is not None
    assert not found.details.numeric.within_tolerance
    assert found.details.accuracy is not None
    assert found.details.accuracy.metrics["Top-1"]["value"] < 0.2
    assert "outside" in done.stdout


def test_ctrl_c_saves_what_is_measured_and_says_where(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "bytemlperf", "--task", "digits-onnx-fp32",
            "--hardware_type", "CPU", "--batch_sizes", "1,8", "--iterations", "100000000",
            "--max_duration_s", "3",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    file = tmp_path / "reports/CPU/digits-onnx-fp32/result-fp32.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # until the first batch size is on disk
        if file.exists() and json.loads(file.read_text())["Performance"]:
            break
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert str(file.name) in errors
    assert "Traceback" not in errors
    found = Report.load(file)
    assert found.details.status == "interrupted"
    assert [run.batch_size for run in found.details.performance] == [1, 8]
    assert found.details.performance[1].bounded_by == "interrupted"
    assert found.details.performance[1].completed > 0


def test_a_time_bound_is_reported_beside_what_was_asked(tmp_path: Path) -> None:
    done = bytemlperf(
        "--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--batch_sizes", "64",
        "--iterations", "100000000", "--max_duration_s", "1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = report(tmp_path, "CPU").details.performance[0]
    assert run.iterations_asked == 100_000_000
    assert 1 <= run.iterations_done < 1_000_000
    assert run.bounded_by == "max_duration_s 1"
    assert run.unsent == run.planned - run.completed


def test_lists_and_models(tmp_path: Path) -> None:
    heading, *rows = bytemlperf("--show_task_list", cwd=tmp_path).stdout.splitlines()
    assert heading.split()[:4] == ["task", "model", "domain", "purpose"]
    tasks = [row.split()[0] for row in rows]
    assert {"digits-onnx-fp32", "roberta-torch-fp32"} <= set(tasks)
    assert tasks == sorted(tasks)
    assert any(re.search(r"^widedeep-tf.* rec +regular +tensorflow +criteo +fp32", r) for r in rows)
    hardware = bytemlperf("--show_hardware_list", cwd=tmp_path).stdout
    assert re.search(r"SPU +Moffett AI +S30 +simulated", hardware)
    assert "124,056,578" in bytemlperf("models", "list", cwd=tmp_path).stdout
    own = {"BYTEMLPERF_CACHE": str(tmp_path / "c")}
    built = bytemlperf("models", "build", "digits-onnx-fp32", cwd=tmp_path, **own)
    assert Path(built.stdout.strip()).exists()
    assert "removed" in bytemlperf("models", "clean", cwd=tmp_path, **own).stdout
    assert not Path(built.stdout.strip()).exists()


def test_help_is_fast_and_imports_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['bytemlperf', '--help']\n"
        "from bytemlperf.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'onnx', 'tensorflow', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Exit codes" in done.stdout


def test_seeded_weights_say_that_accuracy_means_nothing(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    done = bytemlperf(
        "--task", "roberta-torch-fp32", "--hardware_type", "CPU", "--preset", "tiny", "--quick",
        "--sample_data", "--batch_sizes", "4", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = report(tmp_path, "CPU", task="roberta-torch-fp32")
    assert found.weights == "seeded (seed 0): accuracy means nothing"
    assert found.details.accuracy is not None
    assert "means nothing" in found.details.accuracy.meaning
    assert "shipped sample" in (found.dataset or "")
    assert found.details.accuracy.sample_data
    without = bytemlperf(
        "--task", "roberta-torch-fp32", "--hardware_type", "CPU", "--preset", "tiny", "--quick",
        "--batch_sizes", "4", cwd=tmp_path,
    )  # fmt: skip
    assert without.returncode == 0, without.stderr
    skipped = report(tmp_path, "CPU", task="roberta-torch-fp32")
    assert skipped.details.accuracy is None
    assert "--sample_data" in (skipped.details.accuracy_skipped or "")
    assert skipped.details.numeric is not None


def schema() -> dict[str, Any]:
    return Report.model_json_schema(by_alias=True)


def test_the_documented_schema_is_the_codes(tmp_path: Path) -> None:
    """``python -m bytemlperf.report.schema > docs/report.schema.json`` renews it."""
    documented = Path(__file__).parent.parent / "docs" / "report.schema.json"
    assert json.loads(documented.read_text()) == schema()


SHARED_BUFFER = """
import threading, time
import numpy as np
from bytemlperf.backend import RuntimeBackend
buffer, busy = np.zeros((8, 10), np.float32), threading.Semaphore(1)

class Runtime(RuntimeBackend):
    def version(self): return 'acme 1'
    def get_loaded_batch_size(self): return 8
    def load(self, batch_size): pass
    def predict(self, feeds):
        rows = len(feeds['image'])
        alone = busy.acquire(blocking=False)
        out = buffer[:rows]
        out[:] = feeds['image'].reshape(rows, 64)[:, 20:30]
        time.sleep(0.002)
        if alone:
            busy.release()
        return {'logits': out}
"""


def own_backend(folder: Path, runtime: str) -> Path:
    failing_backend(folder, "predict")
    (folder / "ACME" / "runtime.py").write_text(runtime)
    return folder


def test_what_is_corrupt_only_under_load_is_caught(tmp_path: Path) -> None:
    """Instances share one output buffer: each alone is right."""
    folder = own_backend(tmp_path / "own", SHARED_BUFFER)
    arguments = ("--task", "digits-onnx-fp32", "--hardware_type", "ACME", "--backend_dir")
    done = bytemlperf(
        *arguments, str(folder), "--batch_sizes", "8", "--iterations", "300", cwd=tmp_path
    )
    assert done.returncode == 3, done.stderr
    assert "replies held against what the backend answers without load" in done.stdout
    details = report(tmp_path, "ACME").details
    assert all(verdict.ok for verdict in details.honesty)
    failed = [v for run in details.performance for v in run.verdicts if not v.ok]
    assert "replies under load" in [v.name for v in failed]
    alone = bytemlperf(
        *arguments, str(folder), "--batch_sizes", "8", "--clients", "1", cwd=tmp_path
    )
    assert alone.returncode in (0, 3), alone.stdout  # a busy host makes a run invalid too
    verdicts = [v for run in report(tmp_path, "ACME").details.performance for v in run.verdicts]
    assert all(v.ok for v in verdicts if v.name == "replies under load")
    assert any(v.name == "replies under load" for v in verdicts)
