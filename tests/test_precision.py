"""Lower precisions on the CPU backend: what they cost on a trained model, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bytemlperf.backends.CPU.runner import runner_for

from bytemlperf import zoo
from bytemlperf.backend import Array, CompileConfig
from bytemlperf.datasets import Dataset, Synthetic
from bytemlperf.numeric import compare
from bytemlperf.registry import find_backend
from bytemlperf.report.schema import Report
from bytemlperf.workload import Workload

pytest.importorskip("sklearn")


def compiled_logits(
    task: str, precision: str, folder: Path, images: Array, dataset: Dataset | None = None
) -> Array:
    """The CPU backend's logits at this precision."""
    workload = Workload.load(task)
    backend = find_backend("CPU")
    config = CompileConfig(zoo.open_model(task), workload, (1,), folder, {"precision": precision})
    compiler = backend.compile_class()(config.options)
    info = compiler.compile(config, dataset)
    assert info.precision == precision
    runtime = backend.runtime_class()(info, config.model, workload)
    runtime.load(1)
    logits = runtime.predict({"image": images})["logits"]
    runtime.unload()
    return logits


@pytest.mark.parametrize(
    ("task", "precision", "most"),
    [
        ("digits-torch-fp32", "bf16", 0.5),
        ("digits-torch-fp32", "fp16", 0.1),
        ("digits-torch-fp32", "int8", 5.0),
        ("digits-onnx-fp32", "fp16", 0.1),
        ("digits-onnx-fp32", "int8", 5.0),  # a sample beyond the calibrated range is clipped
    ],
)
def test_a_lower_precision_costs_digits_but_no_answers(
    task: str, precision: str, most: float, tmp_path: Path
) -> None:
    from bytemlperf.datasets.digits import Digits, split

    pytest.importorskip("onnxruntime" if "onnx" in task else "torch")
    images, labels = split()[1]
    exact = compiled_logits(task, "fp32", tmp_path / "fp32", images)
    lower = compiled_logits(task, precision, tmp_path / precision, images, Digits("image"))
    assert lower.dtype in (np.float32, np.float16)
    difference = np.abs(lower - exact).max()
    assert 1e-4 < difference < most  # it was really computed lower, and is close
    assert (lower.argmax(1) == labels).mean() >= (exact.argmax(1) == labels).mean() - 0.01


@pytest.mark.parametrize(
    ("task", "precision", "says"),
    [
        ("gru-torch-fp32", "bf16", "none of its layers in bf16"),
        ("deberta-torch-fp32", "bf16", "torch cannot run this network at bf16"),
        # transformers writes its layers out as Conv1D, and its one Linear is the embedding's.
        ("gpt2-torch-fp32", "int8", "torch has 0% of this network's weights in int8"),
    ],
)
def test_what_torch_does_not_compute_lower_is_refused(
    task: str, precision: str, says: str, command_line: Any
) -> None:
    pytest.importorskip("transformers")
    done = command_line(
        "--task", task, "--hardware_type", "CPU", "--precision", precision, "--preset", "tiny",
        "--quick",
    )  # fmt: skip
    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.parametrize("task", ["bert-torch-fp32", "lstm-torch-fp32"])
def test_layers_of_torch_are_int8_inside(task: str, tmp_path: Path) -> None:
    """Matrix products and recurrent layers take the range of each call; 8 bits are a quarter."""
    pytest.importorskip("transformers")
    model = zoo.open_model(task, preset="tiny")
    compiler = find_backend("CPU").compile_class()({"precision": "int8"})
    workload = Workload.load(task)
    config = CompileConfig(model, workload, (1,), tmp_path / "c", {"precision": "int8"})
    artifact = Path(compiler.compile(config, None).artifact)
    if task.startswith("lstm"):  # without an embedding, which stays as it is
        assert artifact.stat().st_size < 0.3 * model.path.stat().st_size
    feeds = zoo.synthetic_feeds(model.card, range(3), seed=1)
    exact, lower = model.load_source()(feeds), runner_for(model.card).load(model.card, artifact, 1)
    found = compare({0: exact}, {0: lower(feeds)})
    assert 1e-5 < found.overall.max_diff < model.card.tolerance_at("int8")


@pytest.mark.parametrize("task", ["digits-onnx-fp32", "digits-torch-fp32"])
def test_int8_is_calibrated_on_the_data_that_it_is_given(task: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if "onnx" in task else "torch")
    from bytemlperf.datasets.digits import Digits, split

    images = split()[1][0][:64]
    card = zoo.load_card(task)
    real = compiled_logits(task, "int8", tmp_path / "a", images, Digits("image"))
    drawn = compiled_logits(task, "int8", tmp_path / "b", images, Synthetic(card, 256, 0))
    none = compiled_logits(task, "int8", tmp_path / "c", images)
    assert not np.array_equal(real, drawn)
    assert np.array_equal(drawn, none)  # synthetic samples where no data set is open


def test_the_report_says_what_the_precision_cost(tmp_path: Path, command_line: Any) -> None:
    pytest.importorskip("onnxruntime")
    task = ("--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--quick", "--precision")
    done = command_line(*task, "int8", "--batch_sizes", "8")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "reports/CPU/digits-onnx-fp32/result-int8.json"
    found = Report.load(file)
    assert found.graph_compile is not None
    assert found.graph_compile.compile_precision == "int8"
    assert found.details.numeric is not None
    assert found.details.numeric.tolerance == 5.0
    assert 1e-3 < json.loads(file.read_text())["Accuracy"]["Max Diff"] < 5.0
    refused = command_line(*task, "bf16")
    assert refused.returncode == 2
    assert "precision=bf16: one of fp32, fp16, int8" in refused.stderr
