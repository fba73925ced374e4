"""Parts that models are made of, each as a model of its own: what a compiler has to get right.

A card's ``config`` names the ``kind`` and its sizes. One layer where the part is a layer; the
sequence length is that of the card's inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bytemlperf.errors import UsageError
from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.torch_build import from_torch, import_torch, seeded

Config = Mapping[str, Any]


def network(card: Card, config: Config) -> Any:
    """The part itself."""
    return _PARTS[config["kind"]](config)


def build(card: Card, config: Config, seed: int, weights: Path | None) -> Built:
    """Build the part with torch's own initialisation from the seed."""
    if weights is not None:
        raise UsageError(f"{card.name} is a part of no checkpoint: --weights does not apply")
    with seeded(seed):
        module = network(card, config)
    built = from_torch(module, card, kind="seeded", source=f"seed {seed}")
    if config["kind"] in ("gru", "lstm"):  # torch does not count them: matrices, once a step
        matrices = sum(p.numel() for p in module.parameters() if p.dim() == 2)
        built = replace(built, flops_per_sample=2.0 * matrices * card.inputs[0].shape[0])
    return built


def _attention(heads: int) -> Callable[..., Any]:
    """softmax(q k^T / sqrt(head size)) v over [batch, length, hidden], head by head."""
    torch = import_torch()

    def split(x: Any) -> Any:
        return x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(1, 2)

    def attend(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
        mixed = torch.nn.functional.scaled_dot_product_attention(
            split(q), split(k), split(v), is_causal=causal
        )
        return mixed.transpose(1, 2).flatten(2)

    return attend


def _encoder(config: Config) -> Any:
    """A layer of the encoder of Vaswani et al. 2017, normalised after each residual as BERT's."""
    nn, attend = import_torch().nn, _attention(config["heads"])
    hidden, wide = config["hidden"], config["feed_forward"]

    class EncoderLayer(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.merge = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
            self.up, self.down = nn.Linear(hidden, wide), nn.Linear(wide, hidden)
            self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

        def forward(self, hidden_states: Any) -> Any:
            x = hidden_states
            x = self.norm1(x + self.merge(attend(*self.qkv(x).chunk(3, -1))))
            return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))

    return EncoderLayer()


def _decoder(config: Config) -> Any:
    """A layer of the decoder of Vaswani et al. 2017: causal, then over the encoder's memory."""
    nn, attend = import_torch().nn, _attention(config["heads"])
    hidden, wide = config["hidden"], config["feed_forward"]

    class DecoderLayer(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.merge = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
            self.query, self.memory = nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * hidden)
            self.merge_memory = nn.Linear(hidden, hidden)
            self.up, self.down = nn.Linear(hidden, wide), nn.Linear(wide, hidden)
            self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
            self.norm3 = nn.LayerNorm(hidden)

        def forward(self, hidden_states: Any, memory: Any) -> Any:
            x = hidden_states
            x = self.norm1(x + self.merge(attend(*self.qkv(x).chunk(3, -1), causal=True)))
            over = attend(self.query(x), *self.memory(memory).chunk(2, -1))
            x = self.norm2(x + self.merge_memory(over))
            return self.norm3(x + self.down(nn.functional.gelu(self.up(x))))

    return DecoderLayer()


def _convolution(config: Config) -> Any:
    """A convolution without bias, batch normalisation, rectifier: a network's usual block.

    Grouped, depthwise (as many groups as channels) and pointwise (kernel 1) ones by their sizes.
    """
    nn = import_torch().nn
    channels, kernel = config["channels"], config["kernel"]
    convolution = nn.Conv2d(
        channels,
        config.get("out_channels", channels),
        kernel,
        padding=kernel // 2,
        groups=config.get("groups", 1),
        bias=False,
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _recurrent(config: Config) -> Any:
    """Stacked GRU or LSTM layers, from zero, over [batch, length, features]; all their steps."""
    nn = import_torch().nn
    cell = {"gru": nn.GRU, "lstm": nn.LSTM}[config["kind"]]

    class Recurrent(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell(
                config["features"], config["hidden"], config["layers"], batch_first=True
            )

        def forward(self, sequence: Any) -> Any:
            return self.cell(sequence)[0]

    return Recurrent()


_PARTS: dict[str, Callable[[Config], Any]] = {
    "encoder": _encoder,
    "decoder": _decoder,
    "convolution": _convolution,
    "gru": _recurrent,
    "lstm": _recurrent,
}
