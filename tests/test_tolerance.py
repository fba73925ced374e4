"""Tolerances relative to the scale of a user's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytemlperf import zoo
from bytemlperf.numeric import compare
from bytemlperf.report.schema import Report
from bytemlperf.tolerance import Tolerance, relative_tolerance, scales_of


def outputs(scale: float) -> dict[int, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return {
        s: {"logits": scale * rng.normal(size=50), "small": 1e-3 * rng.normal(size=7)}
        for s in range(20)
    }


def off_by(share: float, reference: dict[int, dict[str, np.ndarray]]) -> Any:
    """One element of one output is wrong, by this share of the output's RMS."""
    rms = np.sqrt(np.mean(np.square([row["logits"] for row in reference.values()])))
    changed = {s: {n: a.copy() for n, a in row.items()} for s, row in reference.items()}
    changed[3]["logits"][7] += share * rms
    return changed


@given(st.floats(1e-6, 1e6))
def test_the_verdict_does_not_change_with_the_unit_of_the_outputs(scale: float) -> None:
    reference = outputs(scale)
    tolerance = Tolerance(1e-3, scales_of(reference))
    assert compare(reference, off_by(0.9e-3, reference)).within(tolerance)
    assert not compare(reference, off_by(1.1e-3, reference)).within(tolerance)


def test_each_output_has_its_own_scale() -> None:
    reference = outputs(1000.0)
    changed = off_by(0.0, reference)
    changed[0]["small"][0] += 1e-4  # a tenth of its RMS, a ten-millionth of the other's
    report = compare(reference, changed)
    assert not report.within(Tolerance(1e-3, scales_of(reference)))
    assert report.within(1e-3)


def test_scales_are_the_root_mean_square_of_finite_elements() -> None:
    reference = {
        0: {"y": np.array([3.0, np.nan]), "z": np.zeros(2)},
        1: {"y": np.array([-4.0, np.inf]), "z": np.zeros(2)},
    }
    assert scales_of(reference) == {"y": pytest.approx(np.sqrt(12.5)), "z": 1.0}
    tolerance = Tolerance(0.01, scales_of(reference))
    assert tolerance.of("y") == tolerance.largest == pytest.approx(0.01 * np.sqrt(12.5))
    assert str(tolerance) == "0.01 of each output's RMS"
    assert str(Tolerance(0.01)) == "0.01"


@pytest.mark.parametrize(
    ("precision", "value"),
    [("fp32", 1e-3), ("FP16", 0.03), ("int8/bf16", 0.5), ("fp16/fp32", 0.03), ("int4", None)],
)
def test_the_coarsest_format_decides(precision: str, value: float | None) -> None:
    assert relative_tolerance(precision) == value


def scaled_model(folder: Path, factor: float) -> Path:
    """The trained digits network as a user's own model, its logits this many times as large."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(zoo.open_model("digits-onnx-fp32").path))
    last = [t for t in model.graph.initializer if 10 in t.dims]
    assert len(last) == 2  # weight and bias
    for tensor in last:
        array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    file = folder / "scaled.onnx"
    onnx.save(model, str(file))
    return file


def test_a_model_of_another_scale_is_judged_by_its_own(tmp_path: Path, command_line: Any) -> None:
    pytest.importorskip("onnxruntime")
    file = scaled_model(tmp_path, 100.0)
    done = command_line(
        "--task", "digits-onnx-fp32", "--hardware_type", "CPU", "--quick", "--batch_sizes", "8",
        "--weights", str(file), "--precision", "fp16",
    )  # fmt: skip
    report = Report.load(tmp_path / "reports/CPU/digits-onnx-fp32/result-fp16.json")
    numeric = report.details.numeric
    assert numeric is not None
    assert report.accuracy is not None
    assert report.accuracy.max_diff is not None
    absolute = zoo.load_card("digits-onnx-fp32").tolerance_at("fp16")
    assert report.accuracy.max_diff > absolute  # which would call it wrong
    assert numeric.within_tolerance, done.stdout
    assert numeric.tolerance == 0.03
    assert numeric.tolerance_definition.startswith("|d| <= tolerance x sqrt(mean(r**2))")
    (limit,) = numeric.tolerance_by_output.values()
    assert report.accuracy.max_diff < limit < 1e3
    assert "within tolerance 0.03 of each output's RMS" in " ".join(done.stdout.split())
    assert "differ by more than 0.03 of each output's RMS" in Path(
        tmp_path / "reports/CPU/digits-onnx-fp32/result-fp16.json"
    ).read_text(encoding="utf-8")
