"""A model's outputs as an INT8/BF16 device would give them, computed on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.simulate.rounding import int8_per_channel, prune
from bytemlperf.zoo import Model
from bytemlperf.zoo.torch_build import EagerModule, import_torch

#: said in the report
DESCRIPTION = (
    "weights of dense and convolution layers in INT8 (per channel), their inputs in INT8 "
    "(per tensor, dynamic), results in BF16; attention products on BF16 values in FP32"
)


def emulate(model: Model, sparsity: int) -> Predict:
    """Return a predict function with the device's rounding.

    Raises:
        BytemlperfError: for a format whose numerics cannot be emulated here.
    """
    if model.card.format == "torchscript":
        return _torch(model, sparsity)
    if model.card.format == "onnx":
        return _onnx(model, sparsity)
    raise BytemlperfError(
        f"{model.card.name}: the device's numerics are emulated for torch and ONNX models; "
        f"{model.card.format} is not supported: run the same model as torch or onnx"
    )


def _torch(model: Model, sparsity: int) -> Predict:
    torch = import_torch()
    source = model.load_source()
    if not isinstance(source, EagerModule):
        raise BytemlperfError(f"{model.card.name}: its source is not a torch module")
    multiplied = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)

    def round_inputs(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        scale = (x.abs().amax() / 127.0).clamp_min(1e-30)
        return (torch.round(x / scale) * scale, *inputs[1:])

    def round_output(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            return output.bfloat16().float()
        return output

    for layer in source.module.modules():
        if isinstance(layer, multiplied):
            weight = prune(layer.weight.detach().numpy(), sparsity)
            layer.weight.data = torch.from_numpy(int8_per_channel(weight))
            layer.register_forward_pre_hook(round_inputs)
        if not any(layer.children()):
            layer.register_forward_hook(round_output)
    return source


def _onnx(model: Model, sparsity: int) -> Predict:
    onnx = require("onnx", extra="onnx", purpose="emulating a device on an ONNX model")
    ort = require("onnxruntime", extra="onnx", purpose="emulating a device on an ONNX model")
    proto = onnx.load(str(model.path))
    _rewrite(onnx, proto.graph, sparsity)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = list(model.card.outputs)

    def predict(feeds: Feeds) -> Outputs:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return predict


def _rewrite(onnx: Any, graph: Any, sparsity: int) -> None:
    """Round weights in place; put a dynamic quantisation before each product, BF16 after it."""
    weights = {initializer.name: initializer for initializer in graph.initializer}
    node, types = onnx.helper.make_node, onnx.TensorProto
    nodes: list[Any] = []
    for i, operator in enumerate(graph.node):
        if operator.op_type not in {"Conv", "Gemm", "MatMul"}:
            nodes.append(operator)
            continue
        for name in operator.input[1:2]:
            if name in weights:
                axis = 1 if operator.op_type == "MatMul" else 0
                value = onnx.numpy_helper.to_array(weights[name])
                rounded = int8_per_channel(prune(value, sparsity), axis)
                weights[name].CopyFrom(
                    onnx.numpy_helper.from_array(np.ascontiguousarray(rounded), name)
                )
        result = operator.output[0]
        nodes.append(
            node("DynamicQuantizeLinear", [operator.input[0]], [f"q{i}", f"s{i}", f"z{i}"])
        )
        nodes.append(node("DequantizeLinear", [f"q{i}", f"s{i}", f"z{i}"], [f"d{i}"]))
        operator.input[0] = f"d{i}"
        operator.output[0] = f"fp32_{i}"
        nodes.append(operator)
        nodes.append(node("Cast", [f"fp32_{i}"], [f"bf16_{i}"], to=types.BFLOAT16))
        nodes.append(node("Cast", [f"bf16_{i}"], [result], to=types.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
