"""Realistic inputs from a model card: each sample depends on the seed and its number alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.zoo.card import Card, Tensor

# Lengths of texts spread widely; those that do not fit fill the window. A lognormal with this
# parameter has its 95th percentile at 2.7 times its median.
_LENGTH_SIGMA = 0.6
_SHORTEST = 16


def synthetic_feeds(card: Card, samples: Iterable[int], seed: int) -> Feeds:
    """Return the inputs of these samples, stacked in this order.

    A sample has one length that all its token inputs share: token ids are uniform over the
    vocabulary up to it and padding after it, masks are 1 up to it, segments change from 0 to 1
    at a tenth of it. Inputs without a batch dimension are the same for every sample.

    Returns:
        Input name to array of the card's dtype, shape [samples, *shape] ([*shape] unbatched).
    """
    numbers = list(samples)
    return {
        tensor.name: (
            np.stack([_sample(tensor, n, i, seed) for n in numbers])
            if tensor.batched
            else _sample(tensor, 0, i, seed)
        )
        for i, tensor in enumerate(card.inputs)
    }


def _sample(tensor: Tensor, number: int, index: int, seed: int) -> Array:
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, index + 1, number]))
    shape, dtype = tensor.shape, np.dtype(tensor.dtype)
    if tensor.content == "zeros":
        return np.zeros(shape, dtype)
    if tensor.content == "normal":
        return rng.standard_normal(shape, np.float32).astype(dtype)
    if tensor.content == "uniform":
        return rng.uniform(tensor.low, tensor.high, shape).astype(dtype)
    if tensor.content == "columns":
        buckets = rng.integers(int(tensor.low), int(tensor.high), shape[0])
        return np.stack([np.arange(shape[0]), buckets], axis=1).astype(dtype)
    length = _length(tensor, number, seed)
    position = np.arange(shape[-1])
    if tensor.content == "token_ids":
        ids = rng.integers(int(tensor.low), int(tensor.high), shape)
        return np.where(position < length, ids, tensor.pad).astype(dtype)
    if tensor.content == "mask":
        return np.broadcast_to(position < length, shape).astype(dtype)
    if tensor.content == "padding":
        return np.broadcast_to(position >= length, shape).astype(dtype)
    second = (position >= max(1, length // 10)) & (position < length)
    return np.broadcast_to(second, shape).astype(dtype)


def _length(tensor: Tensor, number: int, seed: int) -> int:
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, number]))
    longest = tensor.shape[-1]
    drawn = round(tensor.length * float(np.exp(_LENGTH_SIGMA * rng.standard_normal())))
    return int(np.clip(drawn, min(_SHORTEST, longest), longest))
