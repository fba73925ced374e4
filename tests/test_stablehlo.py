"""StableHLO models: exported, given by the user, compiled by XLA, by ByteIR's double."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.errors import BytemlperfError
from bytemlperf.report.schema import Report
from bytemlperf.workload import Workload
from bytemlperf.zoo import stablehlo, xla

jax = pytest.importorskip("jax")
pytest.importorskip("sklearn")

TASK = ("--task", "digits-mhlo-fp32", "--quick")


@pytest.fixture(scope="module")
def digits() -> zoo.Model:
    return zoo.open_model("digits-mhlo-fp32")


def test_modules_are_static_and_compute_what_the_source_does(digits: zoo.Model) -> None:
    modules = stablehlo.Modules.read(digits.path)
    assert list(modules.files) == [1, 4, 8, 16, 32, 64]
    found = stablehlo.signature(modules.path(4).read_bytes())
    assert found.inputs[0] == ((4, 1, 8, 8), np.dtype("float32"))
    assert found.outputs == (((4, 10), np.dtype("float32")),)
    assert digits.operators["stablehlo.convolution"] == 2
    source = digits.load_source()
    executable = xla.Executable(digits.card, digits.path)
    for rows in (1, 3, 8):  # 3 is filled up to 4
        feeds = zoo.synthetic_feeds(digits.card, range(rows), seed=rows)
        expected = source(feeds)["logits"]
        np.testing.assert_allclose(executable(feeds)["logits"], expected, atol=1e-4)
    with pytest.raises(BytemlperfError, match="batch sizes 1, 4, 8, 16, 32, 64: choose"):
        executable.prepare(5)


def test_a_second_compilation_comes_from_the_cache(digits: zoo.Model, tmp_path: Path) -> None:
    module = stablehlo.Modules.read(digits.path).path(1)
    xla.compile_module(module, tmp_path / "xla")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "xla").iterdir()}
    assert files
    assert jax.config.jax_compilation_cache_dir is None
    xla.compile_module(module, tmp_path / "xla")
    assert {p for p in (tmp_path / "xla").iterdir() if p.name.endswith("-cache")} <= set(files)


@pytest.mark.parametrize(("hardware", "says"), [("BYTEIR", "in place of ByteIR"), ("CPU", "")])
def test_the_task_runs_on_xla_and_says_so(
    tmp_path: Path, command_line: Any, hardware: str, says: str
) -> None:
    done = command_line(*TASK, "--hardware_type", hardware)
    assert done.returncode == 0, done.stderr
    found = Report.load(tmp_path / "reports" / hardware / "digits-mhlo-fp32" / "result-fp32.json")
    assert not found.simulated
    assert found.details.accuracy is not None
    assert found.details.accuracy.metrics["Top-1"]["value"] >= 0.95
    assert found.details.compile is not None
    assert "XLA (jaxlib" in json.dumps(found.details.compile.notes)
    assert says in done.stdout
    assert ("in place of" in done.stdout) is bool(says)


@pytest.fixture
def byteir(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the double of ByteIR's packages."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "doubles" / "byteir"))
    yield
    for name in ("byteir", "brt"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("byteir")
def test_byteirs_own_packages_are_used_where_they_are(tmp_path: Path, command_line: Any) -> None:
    done = command_line(*TASK, "--hardware_type", "BYTEIR")
    assert done.returncode == 0, done.stderr
    found = Report.load(tmp_path / "reports/BYTEIR/digits-mhlo-fp32/result-fp32.json")
    assert found.details.compile is not None
    assert found.details.compile.notes == {"compiler": "ByteIR", "target": "cpu"}
    assert found.details.numeric is not None
    assert found.details.numeric.within_tolerance
    assert "in place of" not in done.stdout


def test_byteir_refuses_other_formats(command_line: Any) -> None:
    done = command_line("--task", "digits-onnx-fp32", "--hardware_type", "BYTEIR")
    assert done.returncode == 2
    assert "ByteIR takes StableHLO" in done.stderr


MHLO = """
func.func @main(%arg0: tensor<2x1x8x8xf32>) -> tensor<2x10xf32> {
  %0 = "mhlo.reshape"(%arg0) : (tensor<2x1x8x8xf32>) -> tensor<2x64xf32>
  %1 = mhlo.constant dense<0.5> : tensor<64x10xf32>
  %2 = "mhlo.dot"(%0, %1) : (tensor<2x64xf32>, tensor<64x10xf32>) -> tensor<2x10xf32>
  return %2 : tensor<2x10xf32>
}
"""


def given(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.mlir"
    file.write_text(text)
    return file


def test_a_module_of_the_user_is_taken_over_from_mhlo_text(
    digits: zoo.Model, tmp_path: Path
) -> None:
    folder = tmp_path / "modules"
    stablehlo.import_given(digits.card, given(tmp_path, MHLO), folder)
    executable = xla.Executable(digits.card, folder)
    feeds = zoo.synthetic_feeds(digits.card, range(2), seed=0)
    expected = feeds["image"].reshape(2, 64) @ np.full((64, 10), 0.5, np.float32)
    np.testing.assert_allclose(executable(feeds)["logits"], expected, rtol=1e-5)
    assert stablehlo.operator_kinds(folder) == ["stablehlo.reshape", "stablehlo.dot"]


def test_a_module_of_the_user_is_a_models_weights(tmp_path: Path) -> None:
    file = given(tmp_path, MHLO)
    model = zoo.open_model("digits-mhlo-fp32", weights=file, cache_dir=tmp_path / "cache")
    assert model.weights.kind == "artifact"
    assert model.parameters == 640
    assert list(stablehlo.Modules.read(model.path).files) == [2]


@pytest.mark.parametrize("name", ["bert-mhlo-fp32", "resnet50-mhlo-fp32"])
def test_the_rows_of_the_field_are_the_torch_networks(name: str) -> None:
    pytest.importorskip("transformers")
    card, twin = zoo.load_card(name), zoo.load_card(name.replace("mhlo", "torch"))
    assert (card.parameters, card.inputs, card.outputs) == (
        twin.parameters,
        twin.inputs,
        twin.outputs,
    )
    model = zoo.open_model(name, preset="tiny")  # verified against the torch source
    assert 0 < model.export_difference < 1e-4
    task = Workload.load(name)
    assert set(task.batch_sizes) <= set(card.config["batch_sizes"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("1x8x8", "1x4x16"), "the card says 2x1x8x8 float32 and 1"),
        (("mhlo.dot", "mhlo.nonsense"), "no StableHLO or MHLO module"),
        (("@main", "@forward"), "without a function 'main'"),
        (("2x1x8x8", "?x1x8x8"), "static shape"),
    ],
)
def test_a_module_that_does_not_fit_is_refused(
    digits: zoo.Model, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    file = given(tmp_path, MHLO.replace(*change))
    with pytest.raises(BytemlperfError, match=message):
        stablehlo.import_given(digits.card, file, tmp_path / "modules")


def test_operators_that_only_byteir_knows_are_named(digits: zoo.Model, tmp_path: Path) -> None:
    call = """
func.func @main(%arg0: tensor<2x1x8x8xf32>) -> tensor<2x10xf32> {
  %0 = stablehlo.custom_call @byteir.softmax(%arg0) : (tensor<2x1x8x8xf32>) -> tensor<2x10xf32>
  return %0 : tensor<2x10xf32>
}
"""
    with pytest.raises(BytemlperfError, match=r"calls byteir\.softmax"):
        stablehlo.import_given(digits.card, given(tmp_path, call), tmp_path / "modules")


@pytest.mark.parametrize("version", ["0.16.2", "1.0.0"])
def test_older_readers_get_their_version(digits: zoo.Model, version: str) -> None:
    module = stablehlo.Modules.read(digits.path).path(1)
    assert f"StableHLO_v{version}".encode() in stablehlo.portable(module, version)[:64]
