"""Compile for Moffett's S30 with its sparse runtime, or for its device model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.simulate import device_model
from bytemlperf.zoo import Model, to_onnx

from .calibration import calibration_loader
from .sdk import missing

_DONE = "compiled.json"
_CNN_OPERATORS = {"Conv", "aten::conv2d", "aten::_convolution", "Conv2D"}


class SparsertCompile(CompileBackend):
    """ONNX -> calibrated, sparse program, one for each batch size."""

    def version(self) -> str:
        return "sparsert"

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        cnn = _is_cnn(config.model)
        return (
            Question(
                "model_precision",
                "INT8 throughout, or INT8 with BF16 where it matters",
                "INT8" if cnn else "MixInt8bf16",
                ("INT8", "MixInt8bf16"),
            ),
            Question("calib_batch", "batches of the data set to calibrate with", 8),
            Question("do_kl", "choose ranges by divergence, not by extremes", cnn),
            Question("opt_level", "how hard the compiler tries", 8 if cnn else 5),
            Question("total_cores", "cores that one model spans; 0 for the compiler's choice", 0),
            Question("verify", "let the compiler check its own result", False),
            Question("device_num", "devices that serve the model together", 1),
        )

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        source = to_onnx(config.model, config.cache_dir / "model.onnx")
        programs, sparsity = {}, {}
        for batch_size in config.batch_sizes:
            programs[batch_size] = folder = config.cache_dir / str(batch_size)
            found = _cached(folder)
            if found is None:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                found = _build(config, dataset, source, folder, batch_size)
                (folder / _DONE).write_text(json.dumps({"sparsity": found}), "utf-8")
            sparsity[batch_size] = found
        precision = config.options["model_precision"]
        return CompileInfo(
            precision="int8" if precision == "INT8" else "int8/bf16",
            segments=(Segment.whole(config.model),),
            artifact=programs,
            optimizations={**config.options, "sparsity_ratio": max(sparsity.values())},
            device_count=int(config.options["device_num"]),
        )


def _build(
    config: CompileConfig, dataset: Dataset | None, source: Path, folder: Path, batch_size: int
) -> float:
    """Run the vendor's builder; returns the share of weights that it found to be zero."""
    from common_compile import SparsertBaseBuilder

    options, card = config.options, config.model.card
    cnn = _is_cnn(config.model)
    loader = calibration_loader(card, dataset, batch_size, int(options["calib_batch"]))

    class Builder(SparsertBaseBuilder):  # type: ignore[misc]
        def set_dataset_config(self) -> None:
            self.config.dataloader = loader
            self.config.calib_batch = options["calib_batch"]
            self.config.input_dict = {tensor.name: tensor.name for tensor in card.inputs}
            self.config.do_kl = options["do_kl"]
            self.config.opt_level = options["opt_level"]
            if options["total_cores"]:
                self.config.total_cores = options["total_cores"]
            if not cnn:
                self.config.safe_exp = False
                self.config.quantized_patterns = _attention_patterns()
            self.input_shape_dict = {
                t.name: [batch_size, *t.shape] if t.batched else list(t.shape) for t in card.inputs
            }

    builder = Builder(
        str(source),
        str(folder),
        "",  # the calibration data comes from the loader, not from a folder
        {},
        options["model_precision"],
        batch_size,
        options["verify"],
    )
    return float(builder.builder()["sparsity_ratio"])


def _attention_patterns() -> list[list[Any]]:
    from nn_compiler.common.constants import OpType

    return [[OpType.BatchMatmul]]


def _is_cnn(model: Model) -> bool:
    return bool(_CNN_OPERATORS & model.operators.keys())


def _cached(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / _DONE).read_text(encoding="utf-8"))["sparsity"])
    except (OSError, ValueError, KeyError):
        return None


because = missing()
Compile = device_model(__package__, because) if because else SparsertCompile
