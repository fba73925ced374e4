"""The operators of an exported model, counted in its graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from bytemlperf.extras import require, require_tensorflow
from bytemlperf.zoo.card import Format
from bytemlperf.zoo.recipe import layer_kinds
from bytemlperf.zoo.stablehlo import operator_kinds
from bytemlperf.zoo.torch_build import torchscript_is_deprecated

# Nodes of a TensorFlow graph that compute nothing.
_TF_PLUMBING = {
    "Const",
    "Identity",
    "NoOp",
    "PartitionedCall",
    "Placeholder",
    "ReadVariableOp",
    "StatefulPartitionedCall",
}


def count_operators(path: Path, format: Format) -> dict[str, int]:
    """Return kind of operator -> count, sorted by kind. Constants are not operators."""
    readers: dict[Format, Callable[[Path], Iterable[str]]] = {
        "torchscript": _torchscript,
        "onnx": _onnx,
        "saved_model": _saved_model,
        "stablehlo": operator_kinds,
        "eager": layer_kinds,
    }
    kinds = readers[format](path)
    return dict(sorted(Counter(kinds).items()))


def _torchscript(path: Path) -> Iterable[str]:
    torch = require("torch", extra="torch", purpose="a torch model")
    with torchscript_is_deprecated():
        module = torch.jit.load(str(path), map_location="cpu")
    graph = module.inlined_graph
    return [n.kind() for n in graph.nodes() if n.kind().startswith("aten::")]


def _onnx(path: Path) -> Iterable[str]:
    onnx = require("onnx", extra="onnx", purpose="an ONNX model")
    graph = onnx.load(str(path), load_external_data=False).graph
    return [n.op_type for n in graph.node if n.op_type != "Constant"]


def _saved_model(path: Path) -> Iterable[str]:
    tf = require_tensorflow("a TensorFlow model")
    graph = tf.saved_model.load(str(path)).signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return [node.op for node in nodes if node.op not in _TF_PLUMBING]
