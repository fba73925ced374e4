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
        if isinstance(output, tuple):  # a recurrent layer's steps and its last state
            return tuple(round_output(_module, _inputs, part) for part in output)
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            return output.to(half).float()
        return output

    layers: Any = source.module.modules()
    for layer in layers:
        if weights := _weights(torch, layer):
            for weight, axis in weights:
                pruned = prune(weight.detach().numpy(), sparsity)
                weight.data = torch.from_numpy(precision.round_weight(pruned, axis))
            layer.register_forward_pre_hook(round_inputs)
        if not any(layer.children()):
            layer.register_forward_hook(round_output)
    return source


def _weights(torch: Any, layer: Any) -> list[tuple[Any, int]]:
    """Return what a layer multiplies by, each with the axis of its output channels.

    Of a recurrent layer that is all: between its steps, inside one call, the state stays fp32.
    """
    if isinstance(layer, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)):
        return [(layer.weight, 0)]
    if isinstance(layer, torch.nn.RNNBase):
        return [(p, 0) for name, p in layer.named_parameters() if name.startswith("weight")]
    # GPT-2's dense layer, which stores its weight the other way around.
    return [(layer.weight, 1)] if type(layer).__name__ == "Conv1D" else []
