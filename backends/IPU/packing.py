"""Packed samples: several share one row of the graph, without their padding.

PopRT's pack runner puts samples into rows and takes the outputs apart again. Its converter keeps
attention within each sample; where a sample's positions begin anew it has to be told, so they
become an input of the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card, Tensor, synthetic_feeds

POSITIONS = "position_ids"
#: the converter's pass that keeps the samples of a row apart
PASS = "insert_attention_mask"
_TABLE = "position_embeddings"


def mask_of(card: Card) -> Tensor:
    """Return the input that marks what is no padding.

    Raises:
        UsageError: where the model has no such input, or several.
    """
    return _only(card, "mask")


def tokens_of(card: Card) -> Tensor:
    """Return the input whose length differs from sample to sample."""
    return _only(card, "token_ids")


def positions_of(card: Card) -> Array:
    """Return what one sample gives as its positions, [1, length] int32: they count from 0."""
    return np.arange(mask_of(card).shape[0], dtype=np.int32)[None]


def with_positions(proto: Any, card: Card) -> Any:
    """Return the model with the input ``position_ids`` in place of the positions that it computes.

    Args:
        proto: an ONNX model whose table of positions bears its name; left as it is.
        card: its card.

    Raises:
        UsageError: where the model has no table of positions, or they do not count up.
    """
    onnx = require("onnx", extra="onnx", purpose="packing samples")
    length = mask_of(card).shape[0]
    packed = onnx.ModelProto()
    packed.CopyFrom(proto)
    graph, make = packed.graph, onnx.helper
    tables = {w.name for w in graph.initializer if _TABLE in w.name}
    lookups = [n for n in graph.node if n.op_type == "Gather" and n.input[0] in tables]
    if len(lookups) != 1:
        raise UsageError(
            f"--set pack=true: {card.name} has {len(lookups)} lookups in a table of positions, and "
            "one is needed: BERT, ALBERT and RoBERTa have it"
        )
    first = _first_position(onnx, packed, lookups[0].input[1], card)
    kind = onnx.TensorProto.INT64
    graph.input.append(make.make_tensor_value_info(POSITIONS, kind, ["batch", length]))
    graph.initializer.append(make.make_tensor("first_position", kind, [1], [first]))
    at = list(graph.node).index(lookups[0])
    lookups[0].input[1] = "positions"
    graph.node.insert(at, make.make_node("Add", [POSITIONS, "first_position"], ["positions"]))
    _drop_unread(graph, [output.name for output in graph.output])
    return packed


def _only(card: Card, content: str) -> Tensor:
    found = [tensor for tensor in card.inputs if tensor.content == content]
    if len(found) != 1:
        raise UsageError(
            f"--set pack=true: {card.name} has {len(found)} inputs of {content}, and packing "
            "needs one"
        )
    return found[0]


def _first_position(onnx: Any, proto: Any, positions: str, card: Card) -> int:
    """Return the position of a sample's first token, as the model itself computes it."""
    from onnx.reference import ReferenceEvaluator

    part = onnx.ModelProto()
    part.CopyFrom(proto)
    del part.graph.output[:]
    part.graph.output.append(onnx.helper.make_empty_tensor_value_info(positions))
    _drop_unread(part.graph, [positions])
    feeds = synthetic_feeds(card, [0], seed=0)
    (found,) = ReferenceEvaluator(part).run(None, dict(feeds))
    length = int(np.count_nonzero(feeds[mask_of(card).name]))
    counted = np.asarray(found).reshape(-1)[:length]
    first = int(counted[0])
    if not np.array_equal(counted, first + np.arange(length)):
        raise UsageError(f"--set pack=true: the positions of {card.name} do not count up by one")
    return first


def _drop_unread(graph: Any, outputs: Iterable[str]) -> None:
    """Remove nodes and weights from which no output is computed."""
    wanted = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    _replace(graph.node, reversed(kept))
    _replace(graph.initializer, _named(graph.initializer, wanted))


def _named(values: Iterable[Any], names: Collection[str]) -> list[Any]:
    return [value for value in values if value.name in names]


def _replace(field: Any, values: Iterable[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)
