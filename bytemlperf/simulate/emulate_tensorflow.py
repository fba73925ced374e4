"""Reduced precision in a TensorFlow graph: rounding operators around its products."""

from __future__ import annotations

from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require_tensorflow
from bytemlperf.simulate.precisions import Precision
from bytemlperf.simulate.rounding import prune
from bytemlperf.zoo import Model

_PRODUCTS = {"BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "MatMul"}


def emulate_tensorflow(model: Model, precision: Precision, sparsity: int) -> Predict:
    """Freeze the SavedModel, rewrite its graph and run it on the CPU.

    Raises:
        BytemlperfError: for FP8, for which TensorFlow's graph has no rounding operator.
    """
    if precision.product == "fp8":
        raise BytemlperfError(
            f"{model.card.name}: FP8 is emulated for torch models only; take fp16 for this one"
        )
    tf = require_tensorflow("emulating a device on a SavedModel")
    from tensorflow.python.framework.convert_to_constants import (  # type: ignore[import-untyped]
        convert_variables_to_constants_v2,
    )

    module = tf.saved_model.load(str(model.path))  # holds the variables until they are frozen
    signature = module.signatures["serving_default"]
    names = [tensor.name for tensor in model.card.inputs]

    # A signature keeps its inputs in another order than it names them: this one has the card's.
    def ordered(*arrays: Any) -> list[Any]:
        found = signature(**dict(zip(names, arrays, strict=True)))
        return [found[name] for name in model.card.outputs]

    specs = signature.structured_input_signature[1]
    frozen = convert_variables_to_constants_v2(
        tf.function(ordered).get_concrete_function(*(specs[name] for name in names))
    )
    graph = _rounded(tf, frozen.graph.as_graph_def(), precision, sparsity)
    function = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), []).prune(
        [t.name for t in frozen.inputs if t.dtype != tf.resource],
        [t.name for t in frozen.outputs],
    )

    def predict(feeds: Feeds) -> Outputs:
        found = function(*(tf.constant(feeds[name]) for name in names))
        return {name: value.numpy() for name, value in zip(model.card.outputs, found, strict=True)}

    return predict


def _rounded(tf: Any, graph: Any, precision: Precision, sparsity: int) -> Any:
    """Return the graph with rounded weights and roundings before and after each product."""
    constants = {node.name: node for node in graph.node if node.op == "Const"}
    alias = {n.name: n.input[0] for n in graph.node if n.op in {"Identity", "ReadVariableOp"}}
    done: set[str] = set()
    for node in [n for n in graph.node if n.op in _PRODUCTS]:
        weight = node.input[1]
        while weight in alias:
            weight = alias[weight]
        if weight in constants and weight not in done:
            done.add(weight)
            _round_constant(tf, constants[weight], node.op, precision, sparsity)
        node.input[0] = _round_tensor(tf, graph, node.input[0], f"{node.name}/in", precision)
        # What read the product now reads its rounding.
        product = node.name
        node.name = f"{product}/fp32"
        half = tf.float16 if precision.result == "fp16" else tf.bfloat16
        _cast(tf, graph, node.name, product, half)
    return graph


def _round_constant(tf: Any, node: Any, product: str, precision: Precision, sparsity: int) -> None:
    value = tf.make_ndarray(node.attr["value"].tensor)
    if value.dtype != np.float32 or value.ndim < 2:
        return
    axis = 2 if product == "DepthwiseConv2dNative" else value.ndim - 1
    rounded = precision.round_weight(prune(value, sparsity), axis)
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.ascontiguousarray(rounded)))


def _round_tensor(tf: Any, graph: Any, source: str, name: str, precision: Precision) -> str:
    if precision.product != "int8":
        return _cast(
            tf, graph, source, name, tf.float16 if precision.product == "fp16" else tf.bfloat16
        )
    lowest = _constant(tf, graph, f"{name}/low", np.float32(0))
    node = graph.node.add(op="QuantizeAndDequantizeV2", name=name)
    node.input.extend([source, lowest, lowest])
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["signed_input"].b = True
    node.attr["num_bits"].i = 8
    node.attr["range_given"].b = False
    return name


def _constant(tf: Any, graph: Any, name: str, value: Any) -> str:
    node = graph.node.add(op="Const", name=name)
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return name


def _cast(tf: Any, graph: Any, source: str, name: str, half: Any) -> str:
    """Add source -> half -> float32; the second has the given name."""
    for op_name, given, kinds in (
        (f"{name}/half", source, (tf.float32, half)),
        (name, f"{name}/half", (half, tf.float32)),
    ):
        node = graph.node.add(op="Cast", name=op_name)
        node.input.append(given)
        node.attr["SrcT"].type = kinds[0].as_datatype_enum
        node.attr["DstT"].type = kinds[1].as_datatype_enum
    return name
