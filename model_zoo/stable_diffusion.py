"""The U-Net and the autoencoder's halves of Stable Diffusion, from the diffusers library.

A card's ``config`` is the library's. Which part a card is, its inputs and outputs say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import Pretrained, seed_or_load
from bytemlperf.zoo.torch_build import from_torch


class _UNet(nn.Module):
    """Latents [B, 4, H, W], steps [B], text states [B, L, C] -> noise [B, 4, H, W]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        return self.model(sample, timestep, encoder_hidden_states, return_dict=False)[0]


class _Encoder(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] -> the mean of their latents [B, 4, H / 8, W / 8].

    The mean, not a draw from the posterior: outputs have to be comparable.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.quant_conv = model.encoder, model.quant_conv

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        return self.quant_conv(self.encoder(sample)).chunk(2, dim=1)[0]


class _Decoder(nn.Module):
    """Latents [B, 4, H, W] -> images [B, 3, 8 H, 8 W]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = model.post_quant_conv, model.decoder

    def forward(self, latent_sample: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.post_quant_conv(latent_sample))


@dataclass(frozen=True)
class _Part:
    """A part of the pipeline: its folder there, the library's class, and what a card runs of it."""

    folder: str
    library: Any
    contract: Callable[[Any], nn.Module]


_PARTS = {
    "unet-onnx-fp32": _Part("unet", diffusers.UNet2DConditionModel, _UNet),
    "vae-encoder-onnx-fp32": _Part("vae", diffusers.AutoencoderKL, _Encoder),
    "vae-decoder-onnx-fp32": _Part("vae", diffusers.AutoencoderKL, _Decoder),
}


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The part that the card runs."""
    part = _PARTS[card.name]
    return part.contract(part.library(**config))


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a diffusers folder: of the pipeline, or of the part."""
    part = _PARTS[card.name]
    if weights is not None and (weights / "model_index.json").exists():
        weights = weights / part.folder
    model, origin = seed_or_load(
        card, seed, weights, lambda: part.library(**config), _folder(part.library)
    )
    return from_torch(part.contract(model), card, kind=origin.kind, source=origin.source)


def _folder(library: Any) -> Pretrained:
    def load(folder: Path) -> tuple[Any, Mapping[str, Any]]:
        return library.from_pretrained(
            folder,
            local_files_only=True,
            output_loading_info=True,
            low_cpu_mem_usage=False,
            torch_dtype=torch.float32,
        )

    return load
