"""Reduced precision in an ONNX graph: rounding operators around its products."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.segments import Segmented
from bytemlperf.simulate.partition import partition_model
from bytemlperf.simulate.precisions import Precision
from bytemlperf.simulate.rounding import prune
from bytemlperf.zoo import Model


def emulate_onnx(
    model: Model, precision: Precision, sparsity: int, host_operators: Collection[str]
) -> Predict:
    """Rewrite the device's segments and run all of them on the CPU, in order.

    Raises:
        BytemlperfError: for FP8, for which the graph's version of ONNX has no operators.
    """
    parts = partition_model(model, host_operators)
    runners = []
    for segment, proto in parts:
        if not segment.is_fallback:
            round_graph(proto.graph, precision, sparsity, model.card.name)
        runners.append(session_predict(proto, segment.outputs))
    inputs = [tensor.name for tensor in model.card.inputs]
    return Segmented([segment for segment, _ in parts], runners, inputs, model.card.outputs)


def session_predict(proto: Any, outputs: tuple[str, ...]) -> Predict:
    """Return a predict function of a model in memory, on the CPU."""
    ort = require("onnxruntime", extra="onnx", purpose="emulating a device on an ONNX model")
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = list(outputs)
    taken = {tensor.name for tensor in session.get_inputs()}

    def predict(feeds: Feeds) -> Outputs:
        given = {name: value for name, value in feeds.items() if name in taken}
        return dict(zip(names, session.run(names, given), strict=True))

    return predict


def round_graph(graph: Any, precision: Precision, sparsity: int, name: str) -> None:
    """Round weights in place; put the rounding of inputs before each product, results after it."""
    if precision.product == "fp8":
        raise BytemlperfError(
            f"{name}: FP8 is emulated for torch models only; take fp16 for this one"
        )
    import onnx

    weights = {initializer.name: initializer for initializer in graph.initializer}
    types = onnx.TensorProto
    half = types.FLOAT16 if precision.result == "fp16" else types.BFLOAT16
    done: set[str] = set()
    nodes: list[Any] = []
    for i, operator in enumerate(graph.node):
        if operator.op_type not in {"Conv", "Gemm", "MatMul"}:
            nodes.append(operator)
            continue
        weight = operator.input[1]
        if weight in weights and weight not in done:
            done.add(weight)
            value = onnx.numpy_helper.to_array(weights[weight])
            rounded = precision.round_weight(prune(value, sparsity), _output_axis(operator))
            weights[weight].CopyFrom(
                onnx.numpy_helper.from_array(np.ascontiguousarray(rounded), weight)
            )
        rounding, operator.input[0] = _rounded_input(onnx, operator.input[0], i, precision, half)
        result, operator.output[0] = operator.output[0], f"fp32_{i}"
        nodes += [*rounding, operator, *_cast(onnx, f"fp32_{i}", f"half_{i}", result, half)]
    del graph.node[:]
    graph.node.extend(nodes)


def _output_axis(operator: Any) -> int:
    """Axis of a weight's output channels: the last of a product, the first elsewhere."""
    if operator.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in operator.attribute)
        return 0 if transposed else 1
    return 1 if operator.op_type == "MatMul" else 0


def _rounded_input(
    onnx: Any, name: str, i: int, precision: Precision, half: int
) -> tuple[list[Any], str]:
    rounded = f"rounded_{i}"
    if precision.product != "int8":
        return _cast(onnx, name, f"half_input_{i}", rounded, half), rounded
    node, parts = onnx.helper.make_node, [f"q{i}", f"s{i}", f"z{i}"]
    return [
        node("DynamicQuantizeLinear", [name], parts),
        node("DequantizeLinear", parts, [rounded]),
    ], rounded


def _cast(onnx: Any, source: str, between: str, result: str, half: int) -> list[Any]:
    node = onnx.helper.make_node
    return [
        node("Cast", [source], [between], to=half),
        node("Cast", [between], [result], to=onnx.TensorProto.FLOAT),
    ]
