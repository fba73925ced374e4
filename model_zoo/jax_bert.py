"""BERT with a span head in JAX, on the weights of transformers: what StableHLO is lowered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bytemlperf.zoo import Card
from bytemlperf.zoo.stablehlo import export_modules

State = Mapping[str, Any]
# Added to the scores of places that are masked: the lowest float, as transformers does.
_MASKED = jnp.finfo(jnp.float32).min


def export_bert(card: Card, model: Any, path: Path) -> None:
    """Write a ``BertForQuestionAnswering`` as StableHLO modules."""
    config = model.config

    def function(state: State, inputs: Sequence[Any]) -> Sequence[Any]:
        return _spans(state, config, *inputs)

    state = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}
    export_modules(function, state, card, card.config["batch_sizes"], path)


def _spans(state: State, config: Any, ids: Any, mask: Any, segments: Any) -> tuple[Any, Any]:
    """ids, mask and segments [B, L] int64 -> start and end logits [B, L]."""
    embeddings = "bert.embeddings."
    x = (
        state[f"{embeddings}word_embeddings.weight"][ids]
        + state[f"{embeddings}token_type_embeddings.weight"][segments]
        + state[f"{embeddings}position_embeddings.weight"][: ids.shape[1]]
    )
    x = _norm(state, f"{embeddings}LayerNorm", x, config)
    bias = jnp.where(mask[:, None, None, :] > 0, 0.0, _MASKED)
    for layer in range(config.num_hidden_layers):
        x = _layer(state, f"bert.encoder.layer.{layer}", x, bias, config)
    start, end = jnp.moveaxis(_dense(state, "qa_outputs", x), -1, 0)
    return start, end


def _layer(state: State, name: str, x: Any, bias: Any, config: Any) -> Any:
    def heads(part: str) -> Any:
        y = _dense(state, f"{name}.attention.self.{part}", x)
        return y.reshape(*y.shape[:2], config.num_attention_heads, -1).transpose(0, 2, 1, 3)

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = query @ key.swapaxes(-1, -2) / jnp.sqrt(jnp.float32(query.shape[-1])) + bias
    mixed = (jax.nn.softmax(scores, axis=-1) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    y = _dense(state, f"{name}.attention.output.dense", mixed)
    x = _norm(state, f"{name}.attention.output.LayerNorm", x + y, config)
    y = jax.nn.gelu(_dense(state, f"{name}.intermediate.dense", x), approximate=False)
    y = _dense(state, f"{name}.output.dense", y)
    return _norm(state, f"{name}.output.LayerNorm", x + y, config)


def _dense(state: State, name: str, x: Any) -> Any:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(state: State, name: str, x: Any, config: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps)
    return centred * scale * state[f"{name}.weight"] + state[f"{name}.bias"]
