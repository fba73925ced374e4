"""What a wrong answer does to a run: without load, at another batch size, at any precision."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bytemlperf.engine import Request, StepFailed, run_task
from bytemlperf.registry import find_backend
from bytemlperf.report.schema import Report, RunDetail
from bytemlperf.report.terminal import show
from bytemlperf.result import Verdict
from bytemlperf.screen import Screen
from bytemlperf.workload import Workload
from bytemlperf.zoo import opening

pytest.importorskip("onnxruntime")
pytest.importorskip("sklearn")

COMPILE = """
from bytemlperf.backend import CompileBackend, CompileInfo, Segment

class Compile(CompileBackend):
    def version(self): return 'acme 1'
    def compile(self, config, dataset):
        return CompileInfo('{precision}', (Segment(0, True, 9),), None)
"""
RUNTIME = """
import numpy as np
import onnxruntime
from bytemlperf.backend import RuntimeBackend

class Runtime(RuntimeBackend):
    def version(self): return 'acme 1'
    def get_loaded_batch_size(self): return 8
    def load(self, batch_size):
        self.session = onnxruntime.InferenceSession(
            str(self.model.path), providers=['CPUExecutionProvider'])
    def predict(self, feeds):
        logits = self.session.run(['logits'], dict(feeds))[0]
        rows = len(logits)
        return {{'logits': logits + np.float32({error})}}
"""


def run(folder: Path, precision: str, error: str) -> Report:
    """Digits on a backend that adds ``error`` to its logits and says what precision it has."""
    home = folder / "own" / "ACME"
    home.mkdir(parents=True, exist_ok=True)
    (home / "compile.py").write_text(COMPILE.format(precision=precision))
    (home / "runtime.py").write_text(RUNTIME.format(error=error))
    workload = Workload.load("digits-onnx-fp32").quick()
    changes = {"batch_sizes": [1, 8], "iterations": 20, "clients": 2, "warmup_s": 0.0}
    request = Request(
        workload=workload.with_changes(**changes),
        backend=find_backend("ACME", folder / "own"),
        output_dir=folder,
    )
    return run_task(request, Screen(Console(file=io.StringIO())), "0").report


def replies(found: RunDetail) -> Verdict:
    (verdict,) = (v for v in found.verdicts if v.name == "replies under load")
    return verdict


def shown(report: Report) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=200), report, Path("report.json"))
    return stream.getvalue()


def test_replies_are_held_against_the_reference(tmp_path: Path) -> None:
    report = run(tmp_path, "fp32", "0.0")
    for found in report.details.performance:
        assert replies(found).ok
        assert "held against the reference: 0 differ" in replies(found).detail
    assert not any(verdict.fatal for verdict in report.details.verdicts)


def test_a_batch_size_that_is_wrong_without_load_too_is_caught(tmp_path: Path) -> None:
    """The numeric check runs at the first batch size; the replies of the others are held too."""
    report = run(tmp_path, "fp32", "0.01 * (rows == 8)")
    assert not any(verdict.fatal for verdict in report.details.verdicts)
    one, eight = report.details.performance
    assert replies(one).ok
    assert not replies(eight).ok
    assert "by 0.01)" in replies(eight).detail
    assert not report.valid


def test_a_difference_that_the_card_does_not_accept_makes_the_run_invalid(tmp_path: Path) -> None:
    report = run(tmp_path, "fp32", "0.01")
    numeric = report.details.numeric
    assert numeric is not None
    assert numeric.verdict is not None
    assert numeric.verdict.fatal
    assert not report.valid
    assert all(verdict.ok for verdict in report.details.honesty)
    assert "invalid numeric: largest difference 0.01" in shown(report)
    # Against the reference each reply would be wrong: what load changes is asked apart.
    for found in report.details.performance:
        assert replies(found).ok
        assert "what the backend answers without load: 0 differ" in replies(found).detail


def test_a_precision_that_the_card_does_not_know_is_an_advice(tmp_path: Path) -> None:
    report = run(tmp_path, "int4", "0.01")
    assert report.details.numeric is not None
    verdict = report.details.numeric.verdict
    assert verdict is not None
    assert not verdict.ok
    assert not verdict.fatal
    assert "the card has none at int4" in verdict.detail
    assert "note numeric: " in shown(report)


def test_what_is_not_a_number_is_wrong_at_any_precision(tmp_path: Path) -> None:
    error = "np.where(np.arange(10) == 3, np.nan, 0.0)"
    numeric = run(tmp_path, "int4", error).details.numeric
    assert numeric is not None
    assert numeric.verdict is not None
    assert numeric.verdict.fatal
    assert "NaN and 0 infinite" in numeric.verdict.detail


def test_a_missing_reference_comes_with_the_command_that_makes_it(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the source model does not fit in memory beside what else runs."""

    def too_large(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(opening, "_source", too_large)
    with pytest.raises(StepFailed, match="no reference to compare with: MemoryError") as failed:
        run(tmp_path, "fp32", "0.0")
    said = re.search(r"'bytemlperf (.*)' makes it; copy it to (.*)$", str(failed.value))
    assert said is not None
    elsewhere = tmp_path / "another-host"
    done = subprocess.run(
        [sys.executable, "-m", "bytemlperf", *shlex.split(said[1])],
        env=os.environ | {"BYTEMLPERF_CACHE": str(elsewhere)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr  # a busy host makes a run invalid too
    (made,) = (elsewhere / "references").iterdir()
    target = Path(said[2])
    target.parent.mkdir(parents=True)
    shutil.copy(made, target)
    assert made.name == target.name
    report = run(tmp_path, "fp32", "0.0")
    assert "from the cache" in next(
        s.outcome for s in report.details.steps if s.name == "reference"
    )
    assert report.details.numeric is not None
    assert report.details.numeric.within_tolerance
