"""Compile for an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Sequence

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError

from . import onnx_runtime, torch_cuda
from .sdk import providers, require_gpu

require_gpu()

_KINDS = {"torchscript": torch_cuda, "onnx": onnx_runtime}


class Compile(CompileBackend):
    """Torch or ONNX Runtime, by the model's format."""

    def version(self) -> str:
        return "CUDA"

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        questions = [
            Question("precision", "what the device computes in", "fp32", torch_cuda.PRECISIONS)
        ]
        if config.model.card.format == "onnx" and providers():
            names = providers()
            questions.append(Question("provider", "ONNX Runtime's way to the GPU", names[0], names))
        return questions

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        kind = _KINDS.get(config.model.card.format)
        if kind is None:
            raise BytemlperfError(
                f"{config.model.card.name}: the GPU backend runs torch and ONNX models, and this "
                f"one is {config.model.card.format}: take its torch or ONNX twin"
            )
        info: CompileInfo = kind.compile_model(config)
        return info
