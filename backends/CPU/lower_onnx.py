"""An ONNX graph at a lower precision, by ONNX Runtime's own tools; inputs and outputs stay."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from bytemlperf.backend import CompileConfig, Feeds
from bytemlperf.datasets import Dataset
from bytemlperf.extras import require

from .calibration import calibration_feeds

_PURPOSE = "an ONNX model at a lower precision"


def _fp16(config: CompileConfig, dataset: Dataset | None) -> Path:
    """Weights and activations in fp16; what the host has no kernel for is cast up around it."""
    onnx = require("onnx", extra="onnx", purpose=_PURPOSE)
    float16 = require("onnxruntime.transformers.float16", extra="onnx", purpose=_PURPOSE)
    lower = config.cache_dir / "fp16.onnx"
    graph = onnx.load(str(config.model.path))
    onnx.save(float16.convert_float_to_float16(graph, keep_io_types=True), str(lower))
    return lower


def _int8(config: CompileConfig, dataset: Dataset | None) -> Path:
    """Signed 8-bit weights a channel and 8-bit activations.

    Convolutions get calibrated ranges. A graph of matrix products alone, a transformer, takes the range of each call.
    """
    onnx = require("onnx", extra="onnx", purpose=_PURPOSE)
    tools = require("onnxruntime.quantization", extra="onnx", purpose=_PURPOSE)
    source, lower = str(config.model.path), config.cache_dir / "int8.onnx"
    nodes = onnx.load(source, load_external_data=False).graph.node
    logging.disable(logging.WARNING)  # its advice to optimise the graph first: that comes after
    try:
        if any(node.op_type == "Conv" for node in nodes):
            calibration = _Calibration(config, dataset)
            tools.quantize_static(source, str(lower), calibration, per_channel=True)
        else:
            tools.quantize_dynamic(source, str(lower), per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    return lower


class _Calibration:
    """What ONNX Runtime asks for batch after batch: feeds, then None."""

    def __init__(self, config: CompileConfig, dataset: Dataset | None) -> None:
        self._feeds = calibration_feeds(config, dataset)

    def get_next(self) -> Feeds | None:
        found = next(self._feeds, None)
        return None if found is None else dict(found)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Everything is read in one go."""


LOWER: dict[str, Callable[[CompileConfig, Dataset | None], Path]] = {"fp16": _fp16, "int8": _int8}
