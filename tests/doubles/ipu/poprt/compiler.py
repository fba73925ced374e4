from __future__ import annotations

from pathlib import Path

import onnx

DEFAULTS = {
    "num_io_tiles": 0,
    "batches_per_step": 1,
    "enable_prefetch_datastreams": False,
    "stream_buffering_depth": 1,
    "available_memory_proportion": 0.6,
    "partials_type": "half",
    "use_128bit_conv_unit_load": False,
    "enable_fast_reduce": False,
    "group_host_sync": False,
    "rearrange_anchors_on_host": False,
    "enable_outlining": True,
    "outline_threshold": 1.0,
}


class CompilerOptions:
    def __init__(self) -> None:
        for name, value in DEFAULTS.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        assert name in DEFAULTS, f"CompilerOptions has no {name}"
        assert type(value) is type(DEFAULTS[name]), f"{name}: {value!r}"
        object.__setattr__(self, name, value)


class Compiler:
    @staticmethod
    def compile_and_export(
        model: bytes, outputs: list[str], path: str, options: CompilerOptions
    ) -> None:
        assert isinstance(model, bytes), "the model is given serialised"
        assert isinstance(options, CompilerOptions)
        proto = onnx.ModelProto.FromString(model)
        assert {p.key for p in proto.metadata_props} >= {"precision"}, "not converted before"
        assert {o.name for o in proto.graph.output} == set(outputs), outputs
        Path(path).write_bytes(model)
