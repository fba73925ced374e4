"""Compile for ACME: lay the weights of the digits network out as acme.c reads them."""

from __future__ import annotations

import numpy as np
import onnx

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError

LAYERS = ("conv1", "conv2", "dense1", "dense2")


class Compile(CompileBackend):
    """Writes one file of float32: weight and bias of each layer in turn."""

    def version(self) -> str:
        return "acme 0.1.0"

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        card = config.model.card
        if card.name != "digits-onnx-fp32":
            raise BytemlperfError(f"ACME computes digits-onnx-fp32 only, not {card.name}")
        graph = onnx.load(str(config.model.path)).graph
        state = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        names = [f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
        config.cache_dir.mkdir(parents=True, exist_ok=True)
        artifact = config.cache_dir / "weights.bin"
        np.concatenate([state[name].reshape(-1) for name in names]).tofile(artifact)
        operators = sum(config.model.operators.values())
        segments = (Segment(0, is_fallback=False, operators=operators),)
        return CompileInfo(precision="fp32", segments=segments, artifact=artifact)
