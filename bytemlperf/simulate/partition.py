"""An ONNX model cut where the device lacks an operator."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

from bytemlperf.backend import Segment
from bytemlperf.extras import require
from bytemlperf.zoo import Model


def partition_model(model: Model, host_operators: Collection[str]) -> list[tuple[Segment, Any]]:
    """Partition a built ONNX model."""
    onnx = require("onnx", extra="onnx", purpose="splitting a model into segments")
    return partition(onnx.load(str(model.path)), host_operators)


def partition(proto: Any, host_operators: Collection[str]) -> list[tuple[Segment, Any]]:
    """Return the segments in execution order, each with a model of its own.

    The graph's nodes stand in an order in which they can run; neighbours of the same kind make
    one segment.

    Args:
        proto: the whole model; left as it is.
        host_operators: kinds of operator that the host runs.
    """
    onnx = require("onnx", extra="onnx", purpose="splitting a model into segments")
    graph = onnx.shape_inference.infer_shapes(proto).graph
    types = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    weights = {w.name: w for w in graph.initializer}
    runs = [
        (on_host, list(nodes))
        for on_host, nodes in itertools.groupby(
            graph.node, key=lambda node: node.op_type in host_operators
        )
    ]
    wanted_later: list[set[str]] = [set() for _ in runs]
    wanted = {output.name for output in graph.output}
    for i in reversed(range(len(runs))):
        wanted_later[i] = set(wanted)
        wanted |= {name for node in runs[i][1] for name in node.input}
    found = []
    for i, (on_host, nodes) in enumerate(runs):
        made = {name for node in nodes for name in node.output}
        taken = dict.fromkeys(name for node in nodes for name in node.input if name)
        inputs = [name for name in taken if name not in made and name not in weights]
        outputs = [name for node in nodes for name in node.output if name in wanted_later[i]]
        part = onnx.helper.make_graph(
            nodes,
            f"segment_{i}",
            [types[name] for name in inputs],
            [types[name] for name in outputs],
            [weights[name] for name in taken if name in weights],
        )
        model = onnx.helper.make_model(part, opset_imports=proto.opset_import)
        model.ir_version = proto.ir_version
        operators = sum(node.op_type != "Constant" for node in nodes)
        segment = Segment(i, on_host, operators, tuple(inputs), tuple(outputs))
        found.append((segment, model))
    return found
