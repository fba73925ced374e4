"""Isolated backends under another interpreter: a bare one, and one of another version."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import bytemlperf as bmp
from bytemlperf.isolation.moving import plain
from bytemlperf.zoo import load_card

VENDOR = """
import importlib.util, sys
import numpy as np
from bytemlperf.backend import RuntimeBackend

class Runtime(RuntimeBackend):
    def version(self): return "1"
    def load(self, batch_size): self.loaded = batch_size
    def get_loaded_batch_size(self): return self.loaded
    def predict(self, feeds):
        name = self.model.inputs[0].name
        has_core = "bytemlperf._core" in sys.modules
        # The first of them on CPython, and needed where a Python keeps its library there.
        whole = any(path.endswith(".zip") for path in sys.path)
        return {
            "name": np.array([name]),
            "has_core": np.array([has_core]),
            "whole_path": np.array([whole]),
        }
"""


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """An interpreter whose path has numpy and ONNX Runtime only: no site, so no installation of
    this package either."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent
            for found in (folder, *folder.parent.glob(f"{name}.libs")):
                (site / found.name).symlink_to(found)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    return python


def test_an_interpreter_without_this_package(bare_python: Path, tmp_path: Path) -> None:
    module = tmp_path / "vendors_runtime.py"
    module.write_text(VENDOR)
    spec = importlib.util.spec_from_file_location("vendors_runtime", module)
    assert spec is not None
    assert spec.loader is not None
    vendor = sys.modules["vendors_runtime"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(vendor)
    card = load_card("digits-onnx-fp32")
    backend = bmp.Isolated(partial(vendor.Runtime, None, plain(card), None), python=bare_python)
    with bmp.LoadGenerator(backend, {"x": np.zeros((4, 1), np.float32)}) as generator:
        result = generator.run(bmp.ClosedLoop(), queries=3, keep_outputs=True)
    assert (result.completed, result.errors) == (3, 0), result.error_types
    assert result.outputs is not None
    assert result.outputs[0]["name"][0] == card.inputs[0].name
    assert not result.outputs[0]["has_core"][0]
    assert result.outputs[0]["whole_path"][0], "a folder of the interpreter's own path is missing"


def run_the_skeleton(python: Path, folder: Path) -> dict[str, object]:
    """What a vendor types, to the report; returns its details."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("sklearn")
    made = (sys.executable, "-m", "bytemlperf", "new-backend", "NOVA")
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bytemlperf", "--task", "digits-onnx-fp32"),
            *("--hardware_type", "NOVA", "--backend_dir", ".", "--quick"),
            *("--backend_python", str(python), "--batch_sizes", "4"),
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # 3: on a busy host the figures of so short a run may not be trusted.
    assert done.returncode in (0, 3), done.stdout + done.stderr
    file = folder / "reports" / "NOVA" / "digits-onnx-fp32" / "result-fp32.json"
    details: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))["Details"]
    return details


def check_report(details: dict[str, object], python: Path) -> None:
    assert details["status"] == "complete"
    assert details["isolated"]
    assert details["numeric"]["within_tolerance"]  # type: ignore[index]
    (row,) = details["performance"]  # type: ignore[misc]
    assert row["isolation"]["python"] == str(python)
    assert (row["errors"], row["isolation"]["restarts"]) == (0, 0)
    assert row["completed"] > 0


def test_a_task_whose_backend_has_a_bare_interpreter(bare_python: Path, tmp_path: Path) -> None:
    check_report(run_the_skeleton(bare_python, tmp_path), bare_python)


def another_version() -> str | None:
    """The path of an installed Python of another supported version."""
    for minor in (9, 10, 12, 13):
        pyenv = Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3")
        for found in (shutil.which(f"python3.{minor}"), *map(str, pyenv)):
            if minor != sys.version_info.minor and found and _runs([found, "-c", "import venv"]):
                return found
    return None


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_a_task_whose_backend_has_another_version_of_python(tmp_path: Path) -> None:
    other = another_version()
    if other is None:
        pytest.skip("no other version of Python is installed")
    subprocess.run([other, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "numpy", "onnxruntime"]
    if not _runs(install):
        pytest.skip("numpy and onnxruntime cannot be installed for it")
    check_report(run_the_skeleton(python, tmp_path), python)
