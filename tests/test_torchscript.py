"""TorchScript for a device: lower precisions of every kind of network, and what names a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bytemlperf import zoo

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from bytemlperf.zoo.torch_build import named_outputs, tensors, torchscript_is_deprecated
from bytemlperf.zoo.torchscript import device_constants, export_lower, load_on_device


# Networks whose trace in fp32 makes fp32 states, masks or embeddings among half-precision weights.
@pytest.mark.parametrize(
    "name", ["deberta-torch-fp32", "gpt2-torch-fp32", "gru-torch-fp32", "roberta-torch-fp32"]
)
@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_a_lower_precision_is_traced_anew(
    name: str, precision: str, dtype: str, tmp_path: Path
) -> None:
    model = zoo.open_model(name, preset="tiny")
    card, kind = model.card, getattr(torch, dtype)
    export_lower(model, kind, tmp_path / "lower.pt")
    module = load_on_device(tmp_path / "lower.pt", "cpu")
    assert {p.dtype for p in module.parameters() if p.is_floating_point()} == {kind}
    feeds = zoo.synthetic_feeds(card, range(3), seed=0)
    with torch.inference_mode():
        given = [x.to(kind) if x.is_floating_point() else x for x in tensors(feeds, card)]
        found = named_outputs(module(*given), card)
    expected = model.load_source()(feeds)
    for output in card.outputs:
        worst = np.abs(found[output].astype(np.float32) - expected[output]).max()
        assert 0 < worst <= card.tolerance_at(precision)


def test_a_device_that_a_trace_names_is_changed(tmp_path: Path) -> None:
    class Counting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(x.shape[1], device=x.device)

    class Twice(torch.nn.Module):
        """Its part has two methods in the trace."""

        def __init__(self) -> None:
            super().__init__()
            self.part = Counting()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.part(self.part(x))

    with torchscript_is_deprecated():
        torch.jit.save(torch.jit.trace(Twice(), torch.zeros(2, 3)), str(tmp_path / "m.pt"))
    module = load_on_device(tmp_path / "m.pt", "cpu")
    assert [node.s("value") for node in device_constants(module)] == ["cpu", "cpu"]
    for node in device_constants(module):
        node.s_("value", "meta")
    # What it makes lies elsewhere now, so the two do not add up.
    with pytest.raises(RuntimeError, match="meta"):
        module(torch.zeros(2, 3))
