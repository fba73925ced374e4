"""ONNX Runtime on the host, its graph optimised ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytemlperf.backend import CompileConfig, Feeds, Outputs, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.extras import require
from bytemlperf.zoo import Card

from .lower_onnx import LOWER
from .runner import Runner


def _runtime() -> Any:
    return require("onnxruntime", extra="onnx", purpose="an ONNX model on the CPU")


def _version() -> str:
    return f"onnxruntime {_runtime().__version__}"


def _compile(config: CompileConfig, dataset: Dataset | None) -> Path:
    ort = _runtime()
    artifact, compiled = config.model.path, config.cache_dir / "optimized.onnx"
    if lower := LOWER.get(config.options["precision"]):
        artifact = lower(config, dataset)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors: of a graph in fp16 it says what it cannot fold
    # Layout changes belong to one processor; "extended" stays valid on every one.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(compiled)
    # Weights outside the model's file must not be looked for beside the compiled one.
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_file_name", f"{compiled.name}.data"
    )
    ort.InferenceSession(str(artifact), options, providers=["CPUExecutionProvider"])
    return compiled


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    ort = _runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that spins for work takes the core of another instance.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(compiled), options, providers=["CPUExecutionProvider"])
    names = list(card.outputs)

    def predict(feeds: Feeds) -> Outputs:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return predict


RUNNER = Runner(
    _version, _compile, _load, {"graph optimization": "extended"}, precisions=tuple(LOWER)
)
