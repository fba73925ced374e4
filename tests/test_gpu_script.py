"""benchmarks/gpu.py as far as it goes without a GPU: what it would run, what it would say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bytemlperf.report.schema import Details, Performance, Report


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    file = Path(__file__).parent.parent / "benchmarks" / "gpu.py"
    spec = importlib.util.spec_from_file_location("benchmark_gpu", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_refuses(gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--quick"]) == 2
    assert "no NVIDIA GPU that can be used here" in capsys.readouterr().err


def test_it_runs_each_model_in_every_way_that_there_is(gpu: ModuleType, tmp_path: Path) -> None:
    tasks = ["roberta-torch-fp32", "digits-onnx-fp32", "digits-tf-fp32"]
    found = list(gpu.variants(tasks, ("tensorrt", "cuda"), torch=True))
    assert [(v.task, v.name) for v in found] == [
        ("roberta-torch-fp32", "fp32"),
        ("roberta-torch-fp32", "tf32"),
        ("roberta-torch-fp32", "fp16"),
        ("digits-onnx-fp32", "tensorrt-fp32"),
        ("digits-onnx-fp32", "tensorrt-fp16"),
        ("digits-onnx-fp32", "cuda-fp32"),
    ]
    command = found[3].command(tmp_path, quick=True)
    assert "--require_hardware" in command
    assert "provider=tensorrt" in command
    assert "--quick" in command
    assert {"roberta-torch-fp32", "digits-onnx-fp32"} <= set(gpu.all_tasks())
    assert "digits-tf-fp32" not in gpu.all_tasks()


def test_what_did_not_come_as_expected_stands_in_the_row(gpu: ModuleType) -> None:
    report = Report(
        model="M",
        backend="GPU",
        host_info="h",
        simulated=False,
        version="0",
        execution_date="now",
        performance=[Performance(bs=8, qps=1234.5, avg_latency=6.5, p99_latency=7.0)],
        details=Details(status="complete"),
    )
    variant = next(gpu.variants(["roberta-torch-fp32"], (), torch=True))
    assert gpu.problems(report) == []
    good = gpu.row(variant, report, [])
    assert good.count("|") == len(gpu.HEADINGS) + 1
    assert "1,234.5 | 8 | 6.5 | 7" in good
    assert "as expected" in good
    report.details.status = "failed"
    report.details.failure = "performance: no answer"
    assert gpu.problems(report) == ["failed: performance: no answer"]
    assert "no report" in gpu.row(variant, None, ["no report"])
