"""Graphs of which samples can be packed: positions come in as an input and mean the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bytemlperf.backends.IPU.packing import POSITIONS, positions_of, with_positions

from bytemlperf import zoo
from bytemlperf.errors import UsageError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("transformers")


# RoBERTa's positions begin at 2, the others' at 0: the graph knows, who gives them counts from 0.
@pytest.mark.parametrize("name", ["bert-torch-fp32", "albert-torch-fp32", "roberta-torch-fp32"])
def test_positions_that_are_given_are_those_that_were_computed(name: str, tmp_path: Path) -> None:
    model = zoo.open_model(name, preset="tiny")
    card = model.card
    proto = onnx.load(str(zoo.to_onnx(model, tmp_path / "model.onnx")))
    packed = with_positions(proto, card)
    assert [i.name for i in packed.graph.input] == [i.name for i in proto.graph.input] + [POSITIONS]
    onnx.checker.check_model(packed)
    before, after = (
        ort.InferenceSession(p.SerializeToString(), providers=["CPUExecutionProvider"])
        for p in (proto, packed)
    )
    feeds = dict(zoo.synthetic_feeds(card, range(2), seed=0))
    positions = np.repeat(positions_of(card), 2, axis=0).astype(np.int64)
    expected = before.run(list(card.outputs), feeds)
    found = after.run(list(card.outputs), feeds | {POSITIONS: positions})
    other = after.run(list(card.outputs), feeds | {POSITIONS: positions[:, ::-1]})
    mask = next(feeds[t.name] for t in card.inputs if t.content == "mask") != 0
    for a, b, c in zip(expected, found, other, strict=True):
        np.testing.assert_allclose(b[mask], a[mask], atol=1e-5)
        assert np.abs(c[mask] - a[mask]).max() > 1e-3


def test_what_cannot_be_packed_is_refused() -> None:
    model = zoo.open_model("digits-onnx-fp32")
    proto = onnx.load(str(model.path))
    with pytest.raises(UsageError, match="digits-onnx-fp32 has 0 inputs of mask"):
        with_positions(proto, model.card)
    with pytest.raises(UsageError, match="0 lookups in a table of positions"):
        with_positions(proto, zoo.load_card("deberta-torch-fp32"))


def test_positions_that_do_not_count_up_are_refused(tmp_path: Path) -> None:
    model = zoo.open_model("bert-torch-fp32", preset="tiny")
    proto = onnx.load(str(zoo.to_onnx(model, tmp_path / "model.onnx")))
    (ids,) = (w for w in proto.graph.initializer if w.name.endswith("embeddings.position_ids"))
    flipped = np.ascontiguousarray(onnx.numpy_helper.to_array(ids)[:, ::-1])
    ids.CopyFrom(onnx.numpy_helper.from_array(flipped, ids.name))
    with pytest.raises(UsageError, match="do not count up by one"):
        with_positions(proto, model.card)
