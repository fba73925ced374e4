"""Several tasks in one call: processes of their own, a table, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bytemlperf.commands.many import is_many, task_names
from bytemlperf.errors import UsageError
from bytemlperf.report.matrix import Matrix
from bytemlperf.workload import list_workloads

pytest.importorskip("onnxruntime")
pytest.importorskip("sklearn")


def write_task(folder: Path, name: str, **changes: Any) -> None:
    task = {
        "model": "digits-onnx-fp32", "test_perf": True, "test_accuracy": True,
        "test_numeric": True, "clients": 1, "iterations": 5, "batch_sizes": [2],
        "data_percent": 10, "compile_only": False, "warmup_s": 0,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(task | changes))


def dying_backend(folder: Path) -> None:
    """Its compiler takes the process down, as a crash in an SDK does."""
    (folder / "DYING").mkdir(parents=True)
    (folder / "DYING" / "compile.py").write_text(
        "import os\n"
        "from bytemlperf.backend import CompileBackend\n"
        "class Compile(CompileBackend):\n"
        "    def version(self): return '1'\n"
        "    def compile(self, config, dataset): os.abort()\n"
    )
    (folder / "DYING" / "runtime.py").write_text(
        "from bytemlperf.backend import RuntimeBackend\nclass Runtime(RuntimeBackend): pass\n"
    )


def test_a_table_and_a_file_at_the_end_whatever_fails(tmp_path: Path, command_line: Any) -> None:
    write_task(tmp_path, "good")
    write_task(tmp_path, "too-large", batch_sizes=[5000])
    done = command_line(
        "--hardware_type", "CPU", "--task", "too-large,good", "--quick",
        "--workload_dir", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr  # that of the first failure
    path = tmp_path / "reports" / "CPU" / "matrix.json"
    matrix = Matrix.model_validate_json(path.read_text())
    assert [(row.task, row.status, row.exit_code) for row in matrix.rows] == [
        ("too-large", "failed", 2),
        ("good", "complete", 0),
    ]
    large, good = matrix.rows
    assert good.compiled
    assert good.coverage == 100.0
    assert good.accuracy["Top-1"] > 0.9
    assert good.best_qps is not None
    assert good.seconds > (good.compile_s or 0.0) > 0
    assert "max_batch_size" in large.reason
    assert "1 of 2 done; 1 compiled, 1 of them without an operator on the host" in done.stdout
    assert f"too-large: {large.reason}" in done.stdout


def test_compile_only_gives_the_matrix_and_a_crash_is_a_row(
    tmp_path: Path, command_line: Any
) -> None:
    dying_backend(tmp_path / "own")
    write_task(tmp_path, "mine")
    done = command_line(
        "--hardware_type", "DYING,CPU", "--backend_dir", str(tmp_path / "own"), "--compile_only",
        "--task", "digits-onnx-fp32,mine", "--workload_dir", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    for backend, compiled in (("DYING", False), ("CPU", True)):
        path = tmp_path / "reports" / backend / "matrix.json"
        matrix = Matrix.model_validate_json(path.read_text())
        assert matrix.compile_only
        assert [row.compiled for row in matrix.rows] == [compiled, compiled]
    assert done.stdout.count("the process died (signal SIGABRT)") == 2
    assert "fell back" in done.stdout


def signalled_while_measuring(folder: Path, number: signal.Signals) -> tuple[int, str, str]:
    """Signal a call of three tasks while the second measures -> exit code, stdout, stderr."""
    write_task(folder, "short")
    write_task(folder, "long", iterations=100_000_000, max_duration_s=600)
    process = subprocess.Popen(
        [sys.executable, "-m", "bytemlperf", "--hardware_type", "CPU",
         "--task", "short,long,digits-onnx-fp32", "--workload_dir", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        steps = steps_of_the_long_one(folder)
        if steps and steps[-1] == "honesty":
            break
        time.sleep(0.05)
    time.sleep(2.0)
    os.kill(process.pid, number)
    # The pipes' end: that of the task's own process too, which holds them.
    out, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, out, errors


def steps_of_the_long_one(folder: Path) -> list[str]:
    if not (folder / "reports" / "CPU" / "matrix.json").exists():
        return []
    report = folder / "reports" / "CPU" / "digits-onnx-fp32" / "result-fp32.json"
    found = json.loads(report.read_text())
    if found["Details"]["workload"]["iterations"] != 100_000_000:
        return []
    return [step["name"] for step in found["Details"]["steps"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_task_and_shows_what_is_done(
    tmp_path: Path, number: signal.Signals
) -> None:
    code, out, errors = signalled_while_measuring(tmp_path, number)
    assert code == 130, errors
    file = tmp_path / "reports" / "CPU" / "matrix.json"
    rows = Matrix.model_validate_json(file.read_text()).rows
    assert [(row.task, row.status) for row in rows] == [
        ("short", "complete"),
        ("long", "interrupted"),
    ]
    assert rows[1].best_qps is not None
    assert "1 of 2 done" in out


def test_a_task_ends_and_saves_when_its_parent_was_killed(tmp_path: Path) -> None:
    code, _, errors = signalled_while_measuring(tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert "interrupted: saved to" in errors
    assert steps_of_the_long_one(tmp_path)[-1] == "performance"


def test_tasks_are_named_by_all_or_with_commas(tmp_path: Path) -> None:
    write_task(tmp_path, "mine")
    flags = {"workload_dir": tmp_path, "task": "all"}
    names = task_names(flags)
    assert names == list_workloads(tmp_path)
    assert {"mine", "resnet50-mhlo-fp32", "llama2-7b-torch-fp16"} <= set(names)
    assert task_names(flags | {"task": "mine, digits-onnx-fp32,mine"}) == [
        "mine",
        "digits-onnx-fp32",
    ]
    with pytest.raises(UsageError, match="unknown task 'mime'; did you mean 'mine'"):
        task_names(flags | {"task": "mine,mime"})
    assert [is_many(task) for task in ("all", "a,b", "a")] == [True, True, False]
