"""The backend keeps its promises and comes as far as a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TASK = "digits-onnx-fp32"


def bytemlperf(folder: Path, *arguments: str) -> str:
    command = (sys.executable, "-m", "bytemlperf", *arguments, "--backend_dir", str(HERE))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_the_conformance_suite(tmp_path: Path) -> None:
    bytemlperf(tmp_path, "check-backend", "ACME", "--task", TASK, "--leak-calls", "1000")


def test_it_ends_in_a_report(tmp_path: Path) -> None:
    bytemlperf(tmp_path, "--task", TASK, "--hardware_type", "ACME", "--quick")
    file = tmp_path / "reports" / "ACME" / TASK / "result-fp32.json"
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["Details"]["numeric"]["within_tolerance"]
    assert all(row["QPS"] > 0 for row in report["Performance"])
