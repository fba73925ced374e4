"""Compile for ACME. ONNX Runtime stands in for your compiler: put yours in its place."""

from __future__ import annotations

import onnxruntime

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError


class Compile(CompileBackend):
    """Optimises the graph once; the next run finds it in the cache folder."""

    def version(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    def get_interact_profile(self, config: CompileConfig) -> tuple[Question, ...]:
        return (Question("threads", "threads that an instance computes with", default=1),)

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        card = config.model.card
        if card.format != "onnx":
            raise BytemlperfError(f"ACME compiles onnx models; {card.name} is {card.format}")
        artifact = config.cache_dir / "optimized.onnx"
        if not artifact.exists():
            config.cache_dir.mkdir(parents=True, exist_ok=True)
            unfinished = artifact.with_name("unfinished.onnx")
            options = onnxruntime.SessionOptions()
            # Higher levels are for the host that they are made on.
            level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.graph_optimization_level = level
            options.optimized_model_filepath = str(unfinished)
            onnxruntime.InferenceSession(str(config.model.path), options)
            unfinished.replace(artifact)
        operators = sum(config.model.operators.values())
        return CompileInfo(
            precision=card.precision,
            segments=(Segment(0, is_fallback=False, operators=operators),),
            artifact=artifact,
            notes={"threads_per_instance": config.options["threads"]},
        )
