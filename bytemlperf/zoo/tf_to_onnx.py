"""A SavedModel as ONNX, for compilers that do not read TensorFlow's own format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.zoo.card import Card
from bytemlperf.zoo.tf_build import import_tensorflow


def export_saved_model_to_onnx(card: Card, saved_model: Path, path: Path, opset: int) -> None:
    """Convert with tf2onnx; inputs and outputs get the card's names, the batch stays free.

    Raises:
        BytemlperfError: naming the operators that have no counterpart in ONNX.
    """
    tf = import_tensorflow()
    tf2onnx = require("tf2onnx", extra="tf", purpose="a SavedModel as ONNX")
    onnx = require("onnx", extra="onnx", purpose="a SavedModel as ONNX")
    module = tf.saved_model.load(str(saved_model))  # holds the variables until they are frozen
    signature = module.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    names = [tensor.name for tensor in card.inputs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def named(*arrays: Any) -> dict[str, Any]:
        found = signature(**dict(zip(names, arrays, strict=True)))
        return {name: found[name] for name in card.outputs}

    try:
        proto, _ = tf2onnx.convert.from_function(
            named,
            [tf.TensorSpec(specs[name].shape, specs[name].dtype, name) for name in names],
            opset=opset,
            custom_op_handlers={"Erfc": (_one_minus_erf, [])},
        )
        # What it cannot convert it leaves as it was.
        onnx.checker.check_model(proto)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise BytemlperfError(
            f"{card.name}: conversion to ONNX {opset} failed: {reason}; take the same model as "
            "torch or onnx"
        ) from error
    free = {tensor.name for tensor in card.inputs if tensor.batched} | set(card.outputs)
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name in free:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(proto, str(path))


def _one_minus_erf(graph: Any, node: Any, _name: str, _arguments: Any) -> None:
    """``Erfc``, as TensorFlow writes GELU, is missing in ONNX and in tf2onnx."""
    from tf2onnx import utils

    shapes, types, outputs = node.output_shapes, node.output_dtypes, list(node.output)
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", list(node.input), shapes=shapes, dtypes=types)
    kind = utils.map_onnx_to_numpy_type(types[0])
    one = graph.make_const(utils.make_name("one"), np.array(1, kind))
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=outputs, shapes=shapes, dtypes=types
    )
