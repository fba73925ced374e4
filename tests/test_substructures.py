"""Parts of models as tasks of their own: each is what its name says, and runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.workload import Workload
from bytemlperf.zoo.verify import load_artifact

torch = pytest.importorskip("torch")

PARTS = [name for name in zoo.list_cards() if zoo.load_card(name).builder == "substructures"]


def source(name: str, **overrides: Any) -> Any:
    from bytemlperf.model_zoo import substructures

    card = zoo.load_card(name)
    return substructures.build(card, card.config | overrides, 0, None).source


def test_the_parts_that_a_compiler_is_asked_for_are_there() -> None:
    assert len(PARTS) == 12
    for kind in ("encoder", "decoder"):
        cards = [zoo.load_card(n) for n in PARTS if kind in n]
        assert {card.inputs[0].shape[0] for card in cards} == {128, 384, 1024}
        for card in cards:  # one layer at three lengths
            assert (card.config, card.parameters) == (cards[0].config, cards[0].parameters)


@pytest.mark.parametrize("name", [n for n in PARTS if "384" not in n and "1024" not in n])
def test_every_part_is_built_exported_and_has_a_task(name: str) -> None:
    model = zoo.open_model(name)  # at full size: a part is small; checks the parameter count
    assert model.parameters == model.card.parameters
    feeds = zoo.synthetic_feeds(model.card, range(2), seed=0)
    (output,) = load_artifact(model.card, model.path)(feeds).values()
    assert np.isfinite(output).all()
    assert output.std() > 0.02  # random, but not vacuous
    task = Workload.load(name)
    assert task.model == name
    assert max(task.batch_sizes) <= model.card.max_batch_size


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_layer_is_torchs_own(kind: str) -> None:
    """The same weights in torch.nn's layer give the same: an independent implementation."""
    ours = source(f"transformer-{kind}-128-torch-fp32").module
    layer = getattr(torch.nn, f"Transformer{kind.title()}Layer")
    theirs = layer(768, 12, 3072, activation="gelu", batch_first=True).eval()
    state = dict(ours.state_dict())
    for name, (projection, out) in {
        "self_attn": ("qkv", "merge"),
        **({"multihead_attn": ("", "merge_memory")} if kind == "decoder" else {}),
    }.items():
        for suffix in ("weight", "bias"):
            parts = [
                state[f"{p}.{suffix}"]
                for p in ([projection] if projection else ["query", "memory"])
            ]
            state[f"{name}.in_proj_{suffix}"] = torch.cat(parts)
            state[f"{name}.out_proj.{suffix}"] = state[f"{out}.{suffix}"]
    for old, new in (("up", "linear1"), ("down", "linear2")):
        for suffix in ("weight", "bias"):
            state[f"{new}.{suffix}"] = state[f"{old}.{suffix}"]
    theirs.load_state_dict({key: state[key] for key in theirs.state_dict()})
    x = torch.randn(2, 128, 768)
    with torch.no_grad():
        if kind == "encoder":
            found, expected = ours(x), theirs(x)
        else:
            memory = torch.randn(2, 128, 768)
            mask = torch.nn.Transformer.generate_square_subsequent_mask(128)
            found = ours(x, memory)
            expected = theirs(x, memory, tgt_mask=mask, tgt_is_causal=True)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "groups"), [("group-conv", 32), ("depthwise-conv", 256)])
def test_convolutions_are_grouped_as_named(name: str, groups: int) -> None:
    convolution = source(f"{name}-torch-fp32").module[0]
    assert convolution.groups == groups
    assert convolution.kernel_size == (3, 3)
    assert source("pointwise-conv-torch-fp32").module[0].kernel_size == (1, 1)
