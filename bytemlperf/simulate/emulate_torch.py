"""Reduced precision in a torch module: hooks around its layers."""

from __future__ import annotations

from typing import Any

from bytemlperf.backend import Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate.precisions import Precision
from bytemlperf.simulate.rounding import float8_e4m3, prune
from bytemlperf.zoo import Model
from bytemlperf.zoo.torch_build import EagerModule, import_torch


def emulate_torch(model: Model, precision: Precision, sparsity: int) -> Predict:
    """Round weights in place, inputs of products before them, results of layers after them.

    Raises:
        BytemlperfError: where the model's source is not a torch module.
    """
    torch = import_torch()
    source = model.load_source()
    if not isinstance(source, EagerModule):
        raise BytemlperfError(f"{model.card.name}: its source is not a torch module")
    half = torch.float16 if precision.result == "fp16" else torch.bfloat16

    def rounded(x: Any) -> Any:
        if precision.product == "int8":
            scale = (x.abs().amax() / 127.0).clamp_min(1e-30)
            return torch.round(x / scale) * scale
        if precision.product == "fp8":
            return torch.from_numpy(float8_e4m3(x.numpy()))
        return x.to(half).float()

    def round_inputs(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (rounded(inputs[0]), *inputs[1:])

    def round_output(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            return output.to(half).float()
        return output

    layers: Any = source.module.modules()
    for layer in layers:
        if (axis := _output_axis(torch, layer)) is not None:
            weight = prune(layer.weight.detach().numpy(), sparsity)
            layer.weight.data = torch.from_numpy(precision.round_weight(weight, axis))
            layer.register_forward_pre_hook(round_inputs)
        if not any(layer.children()):
            layer.register_forward_hook(round_output)
    return source


def _output_axis(torch: Any, layer: Any) -> int | None:
    """Return the axis of a layer's output channels, None for one that multiplies no matrices."""
    if isinstance(layer, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)):
        return 0
    # GPT-2's dense layer, which stores its weight the other way around.
    return 1 if type(layer).__name__ == "Conv1D" else None
