"""What a builder module in ``model_zoo/`` gives back: one model, before it is exported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bytemlperf.backend import Array, Predict
from bytemlperf.zoo.model import Weights


@dataclass(frozen=True)
class Built:
    """A model in memory.

    Attributes:
        parameters: how many it has.
        weights: their provenance.
        source: the eager model as a predict function: the reference of every comparison.
        export: writes the deployable artifact to the path that it is given.
        flops_per_sample: floating-point operations of one sample, None where they are unknown.
        tokenizer: ``tokenizer.json`` of the checkpoint, where it has one.
    """

    parameters: int
    weights: Weights
    source: Predict
    export: Callable[[Path], None]
    flops_per_sample: float | None
    tokenizer: Path | None = None


def state_sha256(state: Iterable[tuple[str, Array]]) -> str:
    """Hash of a state by names, shapes and bytes; the order does not matter."""
    digest = hashlib.sha256()
    for name, array in sorted(state, key=lambda item: item[0]):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()
