"""CAIL2019 SCM: which of two judgements is nearer to a third."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric, ModelFacts, proportion
from bytemlperf.datasets.sources import CAIL2019
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.datasets.text import open_tokenizer, token_input
from bytemlperf.datasets.words import cut_words_first
from bytemlperf.errors import UsageError
from bytemlperf.zoo.card import Tensor

HOME = "open_cail2019"
_CHUNK = 256


@dataclass(frozen=True)
class Case:
    """A judgement, the one that is near to it, and the other."""

    text: str
    near: str
    far: str


def read_cases(path: Path) -> list[Case]:
    """Read a file with one JSON object a line: A, B, C, and the label B or C.

    Raises:
        UsageError: naming the file and line that is not so.
    """
    cases = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    cases.append(_case(line, f"{path}:{number}"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    if not cases:
        raise UsageError(f"{path}: holds no cases")
    return cases


def _case(line: str, place: str) -> Case:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{place}: not JSON: {error}") from error
    given = entry if isinstance(entry, dict) else {}
    texts = {k: given[k] for k in "ABC" if isinstance(given.get(k), str)}
    if len(texts) != 3:
        raise UsageError(f"{place}: expected an object with the texts 'A', 'B' and 'C'")
    label = given.get("label")
    if label not in ("B", "C"):
        raise UsageError(f"{place}: label: 'B' or 'C', not {label!r}")
    other = "C" if label == "B" else "B"
    return Case(texts["A"], texts[label], texts[other])


class Cail2019:
    """Samples 2k and 2k + 1 are case k with its near and its far judgement.

    Pair accuracy: the share of cases in which the near one has the higher score. ``select`` takes
    whole cases. Token ids come from the checkpoint's tokenizer (with jieba's words where its
    vocabulary has words), or ready from ``batch_token_ids.npy`` and ``batch_segment_ids.npy``, rows in the order of the samples.
    """

    labelled = True

    def __init__(self, model: ModelFacts, folder: Path, *, sample_data: bool) -> None:
        self.sample_data = sample_data
        self._inputs = model.card.inputs
        ready = folder / HOME / "batch_token_ids.npy"
        self._ids: Array
        self._segments: Array
        if ready.exists():
            shape = token_input(model.card).shape
            self._ids = _array(ready, shape)
            self._segments = _array(ready.with_name("batch_segment_ids.npy"), shape)
        else:
            cases = read_cases(folder / HOME / "test.json")
            self._ids, self._segments = _tokenise(cases, model)
        if len(self._ids) != len(self._segments) or len(self._ids) % 2:
            raise UsageError(f"{ready}: token and segment ids need the same, even number of rows")

    @property
    def name(self) -> str:
        extent = f"{len(self) // 2} cases"
        if self.sample_data:
            return f"CAIL2019-SCM format, sample of our own of {extent}"
        return f"{CAIL2019.title}, {extent}"

    def __len__(self) -> int:
        return len(self._ids)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        rows = list(samples)
        return {t.name: self._column(t)[rows].astype(t.dtype) for t in self._inputs}

    def _column(self, tensor: Tensor) -> Array:
        return self._ids if tensor.content == "token_ids" else self._segments

    def select(self, percent: float, seed: int) -> list[int]:
        cases = seeded_subset(len(self) // 2, percent, seed)
        return [2 * case + which for case in cases for which in (0, 1)]

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Top-1 over cases of which both samples are given; scores [n] or [n, 1]."""
        scores = next(iter(outputs.values())).reshape(len(samples), -1)
        if scores.shape[1] != 1:
            raise UsageError(f"the model gives {scores.shape[1]} values for a pair: one is wanted")
        of = dict(zip(samples, scores[:, 0], strict=True))
        cases = [s for s in of if s % 2 == 0 and s + 1 in of]
        return {"Top-1": proportion(sum(bool(of[s] > of[s + 1]) for s in cases), len(cases))}


def _array(path: Path, shape: tuple[int, ...]) -> Array:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a numpy array of token ids: {error}") from error
    if found.shape[1:] != shape or found.dtype.kind not in "iuf":
        raise UsageError(f"{path}: expected rows of {shape} numbers, not {found.shape[1:]}")
    return np.asarray(found)


def _tokenise(cases: Sequence[Case], model: ModelFacts) -> tuple[Array, Array]:
    tensor = token_input(model.card)
    tokenizer: Any = open_tokenizer(model.tokenizer)
    cut_words_first(tokenizer)
    tokenizer.enable_truncation(tensor.shape[-1], strategy="longest_first")
    tokenizer.enable_padding(length=tensor.shape[-1], pad_id=tensor.pad)
    ids = np.empty((2 * len(cases), *tensor.shape), np.int32)
    segments = np.empty(ids.shape, np.uint8)
    for start in range(0, len(cases), _CHUNK):
        pairs = [
            (case.text, other)
            for case in cases[start : start + _CHUNK]
            for other in (case.near, case.far)
        ]
        for row, encoding in enumerate(tokenizer.encode_batch(pairs), 2 * start):
            ids[row], segments[row] = encoding.ids, encoding.type_ids
    return ids, segments
