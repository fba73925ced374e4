"""CIFAR-100, python version: pictures classified zero-shot, against one text for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric, ModelFacts
from bytemlperf.datasets.images import Transform
from bytemlperf.datasets.pickles import read_pickle
from bytemlperf.datasets.prepared import PreparedRows, identity
from bytemlperf.datasets.scores import top_k
from bytemlperf.datasets.sources import CIFAR100
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.datasets.text import open_tokenizer
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo.card import Tensor

HOME = "open_cifar/cifar-100-python"
_SIDE = 32


def read_test(path: Path) -> tuple[Array, Array]:
    """Read the ``test`` file: pictures uint8 [n, 32, 32, 3] and fine labels [n].

    Raises:
        UsageError: naming the file and the entry that is not as the format says.
    """
    found = read_pickle(path)
    data, labels = _entry(found, b"data", path), _entry(found, b"fine_labels", path)
    pixels = 3 * _SIDE * _SIDE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (pixels,):
        raise UsageError(f"{path}: 'data' is not an array of bytes with {pixels} columns")
    numbers = np.asarray(labels)
    if numbers.shape != (len(data),) or numbers.dtype.kind not in "iu":
        raise UsageError(f"{path}: 'fine_labels' is not a list of {len(data)} integers")
    return data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1), numbers


def read_names(path: Path) -> list[str]:
    """Read the ``meta`` file: the names of the fine classes, in the order of their labels."""
    names = _entry(read_pickle(path), b"fine_label_names", path)
    try:
        return [n.decode() if isinstance(n, bytes) else str(n) for n in names]
    except (TypeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: 'fine_label_names' is not a list of names: {error}") from error


def _entry(found: Any, key: bytes, path: Path) -> Any:
    if isinstance(found, dict):
        for name in (key, key.decode()):
            if name in found:
                return found[name]
    raise UsageError(f"{path}: not a CIFAR-100 file: it has no {key.decode()!r}")


class Cifar100:
    """Top-1: the text that fits a picture best is that of its class.

    The texts are ``text.npy`` beside the pictures where it is there (ready token ids), else the
    card's ``prompt`` with each class's name, through the checkpoint's tokenizer.
    """

    labelled = True

    def __init__(self, model: ModelFacts, folder: Path, *, sample_data: bool) -> None:
        self.sample_data = sample_data
        card, home = model.card, folder / HOME
        self._pictures, self._labels = read_test(home / "test")
        names = [n.replace("_", " ") for n in read_names(home / "meta")]
        if len(self._labels) and int(self._labels.max()) >= len(names):
            raise UsageError(f"{home / 'test'}: a label is above the {len(names)} names of meta")
        self._transform = Transform.of(card)
        text = [t for t in card.inputs if t.content == "token_ids"]
        if len(card.inputs) != 2 or len(text) != 1:
            raise UsageError(f"{card.name}: not a model of a picture and a text")
        self._image = next(t for t in card.inputs if t not in text)
        self._text = text[0].name
        self._tokens = _texts(model, text[0], names, home / "text.npy")
        side = self._transform.crop
        key = {
            "pictures": identity(home / "test"),
            "transform": self._transform.model_dump(include={"resize", "crop", "interpolation"}),
            "pillow": require("PIL", extra="data", purpose="reading pictures").__version__,
        }
        self._rows = PreparedRows(key, len(self._labels), (side, side, 3), np.uint8, self._pixels)

    @property
    def name(self) -> str:
        extent = f"{len(self._labels)} pictures"
        if self.sample_data:
            return f"CIFAR-100 format, sample of our own of {extent}"
        return f"{CIFAR100.title}, {extent}"

    def _pixels(self, sample: int) -> Array:
        return self._transform.pixels(np.ascontiguousarray(self._pictures[sample]))

    def __len__(self) -> int:
        return len(self._labels)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        pixels = self._rows.rows(samples)
        return {
            self._image.name: self._transform.inputs(pixels, self._image.dtype),
            self._text: self._tokens,
        }

    def select(self, percent: float, seed: int) -> list[int]:
        return seeded_subset(len(self), percent, seed)

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Top-1 of the first output, the logits of each text, [n, texts]."""
        logits = next(iter(outputs.values()))
        labels = self._labels[list(samples)]
        if logits.ndim != 2 or logits.shape[1] <= int(labels.max()):
            raise UsageError(f"the model gives {logits.shape[1:]} for a picture: one a text wanted")
        return {"Top-1": top_k(logits, labels, 1)}


def _texts(model: ModelFacts, tensor: Tensor, names: Sequence[str], ready: Path) -> Array:
    """Token ids of the class texts, [texts, positions] as the card's input says."""
    if ready.exists():
        try:
            found = np.load(ready, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"{ready}: not a numpy array of token ids: {error}") from error
        if found.shape != tensor.shape or found.dtype.kind not in "iu":
            raise UsageError(f"{ready}: expected integers {tensor.shape}, not {found.shape}")
        return np.asarray(found, tensor.dtype)
    classes, positions = tensor.shape
    if len(names) != classes:
        raise UsageError(
            f"{model.card.name}: takes {classes} texts; there are {len(names)} classes"
        )
    prompt = str(model.card.preprocessing.get("prompt", "a photo of a {}."))
    tokenizer = open_tokenizer(model.tokenizer)
    tokenizer.enable_truncation(positions)
    tokenizer.enable_padding(length=positions, pad_id=tensor.pad)
    encoded = tokenizer.encode_batch([prompt.format(name) for name in names])
    return np.array([e.ids for e in encoded], tensor.dtype)
