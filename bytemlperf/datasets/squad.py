"""SQuAD v1.1: the real file format, its questions, and the data set built from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric, ModelFacts, mean_score, proportion
from bytemlperf.datasets.prepared import cache_folder
from bytemlperf.datasets.sources import SQUAD
from bytemlperf.datasets.squad_features import Report, Windows, make_windows
from bytemlperf.datasets.squad_score import best_answer, exact_match, f1_score
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.datasets.text import describe, open_tokenizer, token_input
from bytemlperf.errors import UsageError

FILE = SQUAD.files[0][0]
# Raise it where windows are made in another way.
_SCHEMA = 1


@dataclass(frozen=True)
class Question:
    """One question on one paragraph, with its accepted answers."""

    id: str
    text: str
    context: str
    answers: tuple[str, ...]


def read_squad(path: Path) -> list[Question]:
    """Read a SQuAD v1.1 file.

    Raises:
        UsageError: naming the file and the entry that is not as the format says.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot read the SQuAD v1.1 file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    return parse_squad(text, str(path))


def sample_squad() -> list[Question]:
    """Return the small sample in the same format that comes with the package."""
    file = resources.files("bytemlperf.datasets") / "sample" / "squad-v1.1.json"
    return parse_squad(file.read_text(encoding="utf-8"), "the shipped sample")


def parse_squad(text: str, where: str) -> list[Question]:
    """Read the text of a SQuAD v1.1 file; ``where`` names it in errors."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
    questions: list[Question] = []
    for i, article in enumerate(_list(document, "data", where)):
        for j, paragraph in enumerate(_list(article, "paragraphs", f"{where}: data[{i}]")):
            place = f"{where}: data[{i}].paragraphs[{j}]"
            context = _text(paragraph, "context", place)
            for k, entry in enumerate(_list(paragraph, "qas", place)):
                questions.append(_question(entry, context, f"{place}.qas[{k}]"))
    if not questions:
        raise UsageError(f"{where}: holds no questions")
    return questions


def _question(entry: Any, context: str, place: str) -> Question:
    answers = []
    for a, answer in enumerate(_list(entry, "answers", place)):
        found = _text(answer, "text", f"{place}.answers[{a}]")
        start = answer.get("answer_start")
        if not isinstance(start, int) or context[start : start + len(found)] != found:
            raise UsageError(
                f"{place}.answers[{a}]: answer_start {start!r} does not point at {found!r}"
            )
        answers.append(found)
    if not answers:
        raise UsageError(f"{place}.answers: a SQuAD v1.1 question has one answer or more")
    return Question(
        _text(entry, "id", place), _text(entry, "question", place), context, tuple(answers)
    )


def _list(value: Any, key: str, place: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UsageError(f"{place}: expected an object with a list {key!r} (SQuAD v1.1)")
    return found


def _text(value: Any, key: str, place: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise UsageError(f"{place}: expected an object with a string {key!r} (SQuAD v1.1)")
    return found


class Squad:
    """A sample is one window of a question's context; scores are over questions.

    A question is scored on the windows that are given; ``select`` takes whole questions.
    """

    labelled = True

    def __init__(
        self,
        questions: Sequence[Question],
        model: ModelFacts,
        *,
        sample_data: bool,
        report: Report | None = None,
    ) -> None:
        self.sample_data = sample_data
        self._questions = questions
        self._model = model
        self._report = report

    @classmethod
    def open(
        cls,
        model: ModelFacts,
        data_dir: Path | None,
        *,
        sample_data: bool,
        report: Report | None = None,
    ) -> Squad:
        """Read the real file under ``data_dir``, or the shipped sample where it is asked for.

        Raises:
            UsageError: where there is neither.
        """
        if sample_data:
            return cls(sample_squad(), model, sample_data=True, report=report)
        questions = read_squad(SQUAD.require(data_dir) / FILE)
        return cls(questions, model, sample_data=False, report=report)

    @property
    def name(self) -> str:
        extent = f"{len(self._questions)} questions"
        if self.sample_data:
            return f"SQuAD v1.1 format, shipped sample of {extent}"
        return f"SQuAD v1.1, {extent}"

    @property
    def tokenizer_name(self) -> str:
        """What the text was split with, for the report."""
        return describe(self._model.tokenizer)

    @cached_property
    def windows(self) -> Windows:
        """The windows; from the cache where the same text was split in the same way before."""
        pairs = [(q.text, q.context) for q in self._questions]
        card, tokenizer = self._model.card, self._model.tokenizer
        digest = hashlib.sha256(open_tokenizer(tokenizer).to_str().encode())
        for text in (part for pair in pairs for part in pair):
            digest.update(len(text).to_bytes(8, "little") + text.encode())
        ids = token_input(card)
        key = {"squad": digest.hexdigest(), "length": ids.shape, "pad": ids.pad, "schema": _SCHEMA}
        file = cache_folder(key) / "windows.npz"
        if file.exists():
            try:
                return Windows.load(file)
            except (OSError, ValueError, KeyError, BadZipFile):
                file.unlink()  # cut off: made again
        windows = make_windows(tokenizer, card, pairs, self._report)
        windows.save(file)
        return windows

    def __len__(self) -> int:
        return len(self.windows)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        rows = list(samples)
        columns = {
            "token_ids": self.windows.ids,
            "mask": self.windows.mask,
            "segments": self.windows.segments,
            "zeros": np.broadcast_to(np.uint8(0), self.windows.ids.shape),
        }
        return {t.name: columns[t.content][rows].astype(t.dtype) for t in self._model.card.inputs}

    def select(self, percent: float, seed: int) -> list[int]:
        chosen = seeded_subset(len(self._questions), percent, seed)
        return [int(i) for i in np.nonzero(np.isin(self.windows.question, chosen))[0]]

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Exact match and F1 in percent, the largest over a question's accepted answers.

        ByteMLPerf 1.0 divided the sums by windows instead of questions; so that its published
        figures can be compared, both are given in that way too.
        """
        logits = [outputs[name] for name in self._model.card.outputs]
        start, end = logits if len(logits) == 2 else np.moveaxis(logits[0], -1, 0)
        by_question: dict[int, list[tuple[int, Array, Array]]] = {}
        for row, sample in enumerate(samples):
            number = int(self.windows.question[sample])
            by_question.setdefault(number, []).append((sample, start[row], end[row]))
        exact, f1 = [], []
        for number, scored in sorted(by_question.items()):
            question = self._questions[number]
            answer = best_answer(question.context, self.windows, scored)
            exact.append(max(exact_match(answer, truth) for truth in question.answers))
            f1.append(max(f1_score(answer, truth) for truth in question.answers))
        hits = int(sum(exact))
        found = {
            "Exact Match": proportion(hits, len(exact), 100.0),
            "F1 Score": mean_score(f1, 100.0),
        }
        share = len(exact) / len(samples) if samples else 1.0
        return found | {
            f"{name} (over windows, as ByteMLPerf 1.0)": metric.scaled(share)
            for name, metric in found.items()
        }
