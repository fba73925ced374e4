"""SQuAD v1.1: the real file format, its questions, and the data set built from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric, mean_score
from bytemlperf.datasets.squad_features import Window, make_windows, pair_tokenizer
from bytemlperf.datasets.squad_score import best_answer, exact_match, f1_score
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.errors import UsageError
from bytemlperf.zoo import Model

FILE = "open_squad/dev-v1.1.json"


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
        raise UsageError(
            f"{path}: cannot read the SQuAD v1.1 file: {error.strerror}; it is expected as "
            f"{FILE} under --data_dir (--sample_data runs a small sample instead)"
        ) from error
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

    def __init__(self, questions: Sequence[Question], model: Model, *, sample_data: bool) -> None:
        self.sample_data = sample_data
        self._questions = questions
        self._model = model

    @classmethod
    def open(cls, model: Model, data_dir: Path | None, *, sample_data: bool) -> Squad:
        """Read the real file under ``data_dir``, or the shipped sample where it is asked for.

        Raises:
            UsageError: where there is neither.
        """
        if sample_data:
            return cls(sample_squad(), model, sample_data=True)
        if data_dir is None:
            raise UsageError(
                f"the SQuAD v1.1 data set is not there: put {FILE} into a folder and give it as "
                "--data_dir, or run the small sample that comes with the package: --sample_data"
            )
        return cls(read_squad(data_dir / FILE), model, sample_data=False)

    @property
    def name(self) -> str:
        extent = f"{len(self._questions)} questions"
        if self.sample_data:
            return f"SQuAD v1.1 format, shipped sample of {extent}"
        return f"SQuAD v1.1, {extent}"

    @property
    def tokenizer_name(self) -> str:
        """What the text was split with, for the report."""
        return str(self._model.tokenizer or "byte-level, built in (the checkpoint has none)")

    @cached_property
    def _windows(self) -> list[Window]:
        tokenizer = pair_tokenizer(self._model.tokenizer, self._model.card)
        return make_windows(tokenizer, [(q.text, q.context) for q in self._questions])

    def __len__(self) -> int:
        return len(self._windows)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        windows = [self._windows[s] for s in samples]
        columns = {
            "token_ids": [w.ids for w in windows],
            "mask": [w.mask for w in windows],
            "segments": [w.segments for w in windows],
            "zeros": [[0] * len(w.ids) for w in windows],
        }
        return {t.name: np.asarray(columns[t.content], t.dtype) for t in self._model.card.inputs}

    def select(self, percent: float, seed: int) -> list[int]:
        chosen = set(seeded_subset(len(self._questions), percent, seed))
        return [i for i, window in enumerate(self._windows) if window.question in chosen]

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Exact match and F1 in percent, the largest over a question's accepted answers."""
        start, end = (outputs[name] for name in self._model.card.outputs)
        by_question: dict[int, list[tuple[Window, Array, Array]]] = {}
        for row, sample in enumerate(samples):
            window = self._windows[sample]
            by_question.setdefault(window.question, []).append((window, start[row], end[row]))
        exact, f1 = [], []
        for number, scored in by_question.items():
            question = self._questions[number]
            answer = best_answer(question.context, scored)
            exact.append(max(exact_match(answer, truth) for truth in question.answers))
            f1.append(max(f1_score(answer, truth) for truth in question.answers))
        return {"Exact Match": mean_score(exact, 100.0), "F1 Score": mean_score(f1, 100.0)}
