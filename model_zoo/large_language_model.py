"""LLaMA 2 and ChatGLM2 in half precision: in memory, never exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from bytemlperf.model_zoo.chatglm2 import ChatGLM2

from bytemlperf.zoo import Built, Card, Weights
from bytemlperf.zoo.artifact import weights_sha256
from bytemlperf.zoo.checkpoint import load_state, read_state, transformers_network
from bytemlperf.zoo.generation import Generator, Step
from bytemlperf.zoo.in_memory import (
    fill_seeded,
    require_memory,
    seeded_sha256,
    without_weights,
)
from bytemlperf.zoo.recipe import write_recipe

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def network(card: Card, config: Mapping[str, Any]) -> Any:
    """The whole network: ChatGLM2's is written out, LLaMA's is the library's."""
    if config["model_type"] == "chatglm":
        return ChatGLM2(config)
    return transformers_network("AutoModelForCausalLM", config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Describe the network; it is built, and its weights come into memory, when it is called."""
    empty = without_weights(lambda: network(card, config), _DTYPES[card.precision])
    parameters = sum(p.numel() for p in empty.parameters())
    layers = Counter(type(m).__name__ for m in empty.modules() if not list(m.children()))
    prompt = card.inputs[0]
    return Built(
        parameters=parameters,
        weights=Weights("seeded", seeded_sha256(empty, seed), f"seed {seed}")
        if weights is None
        else Weights("checkpoint", weights_sha256(weights), str(weights)),
        source=Generator(lambda: _load(card, config, seed, weights), prompt.name),
        export=lambda path: write_recipe(path, config, seed, weights, layers),
        # Each weight is multiplied and added once a token; attention itself is left out.
        flops_per_sample=2.0 * parameters * prompt.shape[-1],
    )


def _load(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Step:
    filled = without_weights(lambda: network(card, config), _DTYPES[card.precision])
    require_memory(card.name, filled)
    if weights is None:
        fill_seeded(filled, seed)
    else:
        filled.to_empty(device="cpu")
        load_state(card, filled, read_state(card, weights), weights)
    if isinstance(filled, ChatGLM2):
        return filled
    # Tables that no checkpoint holds: made anew, since they had no memory either.
    filled.model.rotary_emb = type(filled.model.rotary_emb)(filled.config)

    def step(ids: Any, cache: Any) -> tuple[Any, Any]:
        found = filled(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return found.logits[:, -1], found.past_key_values

    return step
