from __future__ import annotations

from typing import Any

import onnx


class Converter:
    KNOWN = frozenset(
        ("input_shape", "precision", "fp8_params", "used_passes", "disable_fast_norm")
    )

    def __init__(self, **options: Any) -> None:
        unknown = options.keys() - self.KNOWN
        assert not unknown, f"Converter has no option {unknown}"
        assert options.get("precision", "fp32") in ("fp32", "fp16", "fp8"), options["precision"]
        assert ("fp8_params" in options) == (options.get("precision") == "fp8"), "fp8_params"
        for name in options.get("used_passes", ()):
            assert name, "a pass without a name"
        self._options = options

    def convert(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Fix the shapes; note the precision in the model."""
        assert isinstance(model, onnx.ModelProto), type(model)
        fixed = onnx.ModelProto()
        fixed.CopyFrom(model)
        shapes = self._options["input_shape"]
        assert {i.name for i in fixed.graph.input} == set(shapes), "input_shape names other inputs"
        for tensor in fixed.graph.input:
            shape = shapes[tensor.name]
            old = tensor.type.tensor_type.shape.dim
            assert len(old) == len(shape), f"{tensor.name}: rank {len(old)}, shape {shape}"
            for dim, size in zip(old, shape, strict=True):
                assert dim.dim_param or dim.dim_value == size, f"{tensor.name}: {dim} is not {size}"
                dim.ClearField("dim_param")
                dim.dim_value = size
        passes = ",".join(self._options.get("used_passes", ()))
        fixed.metadata_props.add(key="passes", value=passes)
        fixed.metadata_props.add(key="precision", value=self._options.get("precision", "fp32"))
        fixed.metadata_props.add(key="batch", value=str(next(iter(shapes.values()))[0]))
        return fixed
