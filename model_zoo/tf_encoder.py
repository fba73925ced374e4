"""The Transformer encoder of BERT and RoFormer, written out in TensorFlow.

It takes the weights of the transformers network by their names there. ``w`` maps a name to a
variable throughout; kernels are [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.zoo import Card
from bytemlperf.zoo.tf_build import export_saved_model, import_tensorflow, torch_state

State = Mapping[str, Any]
_MASKED = -1e9


def linear(w: State, name: str, x: Any) -> Any:
    """x [B, L, in] -> [B, L, out]."""
    return import_tensorflow().matmul(x, w[f"{name}.weight"]) + w[f"{name}.bias"]


def layer_norm(w: State, name: str, x: Any, epsilon: float) -> Any:
    """Normalise over the last dimension, then scale and shift."""
    tf = import_tensorflow()
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(
        x, mean, variance, w[f"{name}.bias"], w[f"{name}.weight"], epsilon
    )


def attention(
    w: State, name: str, x: Any, bias: Any, heads: int, rotary: tuple[Any, Any] | None
) -> Any:
    """Self-attention over [B, L, H]; ``rotary`` (cos, sin), each [L, H / heads], turns q and k."""
    tf = import_tensorflow()
    length, hidden = x.shape[1], x.shape[2]

    def split(part: str) -> Any:
        y = tf.reshape(linear(w, f"{name}.{part}", x), [-1, length, heads, hidden // heads])
        return tf.transpose(y, [0, 2, 1, 3])

    q, k, v = split("query"), split("key"), split("value")
    if rotary is not None:
        q, k = _rotate(q, *rotary), _rotate(k, *rotary)
    scores = tf.matmul(q, k, transpose_b=True) / float(np.sqrt(hidden // heads)) + bias
    mixed = tf.matmul(tf.nn.softmax(scores), v)
    return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, length, hidden])


def _rotate(x: Any, cos: Any, sin: Any) -> Any:
    """Turn neighbouring pairs (x0, x1) by the angle of their position: x cos + (-x1, x0) sin."""
    tf = import_tensorflow()
    pairs = tf.reshape(x, [-1, *x.shape[1:-1], x.shape[-1] // 2, 2])
    turned = tf.stack([-pairs[..., 1], pairs[..., 0]], axis=-1)
    return x * cos + tf.reshape(turned, [-1, *x.shape[1:]]) * sin


def encode(
    w: State, prefix: str, config: Any, x: Any, mask: Any, rotary: tuple[Any, Any] | None = None
) -> Any:
    """All layers over embeddings x [B, L, H]; ``mask`` [B, L] is 1 where a token counts."""
    tf = import_tensorflow()
    epsilon = config.layer_norm_eps
    bias = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * _MASKED
    for i in range(config.num_hidden_layers):
        layer = f"{prefix}encoder.layer.{i}."
        heads = config.num_attention_heads
        y = attention(w, f"{layer}attention.self", x, bias, heads, rotary)
        y = x + linear(w, f"{layer}attention.output.dense", y)
        y = layer_norm(w, f"{layer}attention.output.LayerNorm", y, epsilon)
        x = tf.nn.gelu(linear(w, f"{layer}intermediate.dense", y))
        x = y + linear(w, f"{layer}output.dense", x)
        x = layer_norm(w, f"{layer}output.LayerNorm", x, epsilon)
    return x


def embed(w: State, prefix: str, ids: Any, segments: Any) -> Any:
    """Word and segment embeddings, summed: [B, L] integers twice -> [B, L, H]."""
    tf = import_tensorflow()
    words = tf.gather(w[f"{prefix}embeddings.word_embeddings.weight"], ids)
    return words + tf.gather(w[f"{prefix}embeddings.token_type_embeddings.weight"], segments)


def export_span_encoder(card: Card, model: Any, path: Path) -> None:
    """Write transformers' BertForQuestionAnswering: (ids, mask, segments) -> logits [B, L, 2]."""
    config = model.config

    def forward(w: State, inputs: list[Any]) -> list[Any]:
        ids, mask, segments = inputs
        positions = w["bert.embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = embed(w, "bert.", ids, segments) + positions
        x = layer_norm(w, "bert.embeddings.LayerNorm", x, config.layer_norm_eps)
        return [linear(w, "qa_outputs", encode(w, "bert.", config, x, mask))]

    export_saved_model(card, torch_state(model), forward, path)


def export_similarity_encoder(card: Card, model: Any, score: Any, path: Path) -> None:
    """Write transformers' RoFormerModel under a head: (segments, ids), floats -> [B, 1] in (0, 1)."""
    tf = import_tensorflow()
    config = model.config
    state = torch_state(model) | {f"score.{k}": v for k, v in torch_state(score).items()}
    angles = state.pop("encoder.embed_positions.weight")

    def forward(w: State, inputs: list[Any]) -> list[Any]:
        segments, ids = (tf.cast(x, tf.int32) for x in inputs)
        rotary = _rotary_tables(angles[: ids.shape[1]])
        x = layer_norm(
            w, "embeddings.LayerNorm", embed(w, "", ids, segments), config.layer_norm_eps
        )
        first = encode(w, "", config, x, tf.not_equal(ids, 0), rotary)[:, 0]
        return [tf.sigmoid(tf.matmul(first, w["score.weight"]) + w["score.bias"])]

    export_saved_model(card, state, forward, path)


def _rotary_tables(angles: Array) -> tuple[Array, Array]:
    """Return (cos, sin) [L, D] for pairs from the library's table [L, D]: sines, then cosines."""
    sin, cos = np.split(angles, 2, axis=-1)
    return np.repeat(cos, 2, axis=-1), np.repeat(sin, 2, axis=-1)
