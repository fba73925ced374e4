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
from bytemlperf.zoo.checkpoint import import_transformers, load_state, read_state
from bytemlperf.zoo.generation import Generator, Step
from bytemlperf.zoo.in_memory import (
    fill_seeded,
    require_memory,
    seeded_sha256,
    without_weights,
)
from bytemlperf.zoo.recipe import write_recipe

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Describe the network; it is built, and its weights come into memory, when it is called."""
    network = without_weights(lambda: _create(config), _DTYPES[card.precision])
    parameters = sum(p.numel() for p in network.parameters())
    layers = Counter(type(m).__name__ for m in network.modules() if not list(m.children()))
    prompt = card.inputs[0]
    return Built(
        parameters=parameters,
        weights=Weights("seeded", seeded_sha256(network, seed), f"seed {seed}")
        if weights is None
        else Weights("checkpoint", weights_sha256(weights), str(weights)),
        source=Generator(lambda: _load(card, config, seed, weights), prompt.name),
        export=lambda path: write_recipe(path, config, seed, weights, layers),
        # Each weight is multiplied and added once a token; attention itself is left out.
        flops_per_sample=2.0 * parameters * prompt.shape[-1],
    )


def _create(config: Mapping[str, Any]) -> Any:
    if config["model_type"] == "chatglm":
        return ChatGLM2(config)
    transformers = import_transformers()
    return transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config)
    )


def _load(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Step:
    network = without_weights(lambda: _create(config), _DTYPES[card.precision])
    require_memory(card.name, network)
    if weights is None:
        fill_seeded(network, seed)
    else:
        network.to_empty(device="cpu")
        load_state(card, network, read_state(card, weights), weights)
    if isinstance(network, ChatGLM2):
        return network
    # Tables that no checkpoint holds: made anew, since they had no memory either.
    network.model.rotary_emb = type(network.model.rotary_emb)(network.config)

    def step(ids: Any, cache: Any) -> tuple[Any, Any]:
        found = network(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return found.logits[:, -1], found.past_key_values

    return step
