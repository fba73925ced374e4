from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bytemlperf.datasets import open_dataset
from bytemlperf.datasets.base import mean_score, proportion
from bytemlperf.datasets.squad import FILE, Squad, parse_squad, sample_squad
from bytemlperf.datasets.squad_features import best_context, make_windows, pair_tokenizer
from bytemlperf.datasets.squad_score import exact_match, f1_score, normalize
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.datasets.synthetic import Synthetic
from bytemlperf.errors import UsageError
from bytemlperf.zoo import load_card

ROBERTA = load_card("roberta-torch-fp32")
MODEL: Any = SimpleNamespace(card=ROBERTA, tokenizer=None)


def test_a_synthetic_sample_is_the_same_in_any_company() -> None:
    data = Synthetic(ROBERTA, 50, seed=4)
    together = data.feeds(range(10))
    for i in (9, 3, 0):
        alone = data.feeds([i])
        for name, array in together.items():
            np.testing.assert_array_equal(array[i], alone[name][0])
    other = Synthetic(ROBERTA, 50, seed=5).feeds(range(10))
    assert (other["input_ids.1"] != together["input_ids.1"]).any()


def test_synthetic_tokens_look_like_text() -> None:
    feeds = Synthetic(ROBERTA, 200, seed=0).feeds(range(200))
    ids, mask = feeds["input_ids.1"], feeds["attention_mask.1"]
    lengths = mask.sum(axis=1)
    assert ids.dtype == np.int64
    assert 120 < np.median(lengths) < 190
    assert lengths.min() >= 16
    assert lengths.max() == 384
    for row, m in zip(ids, mask, strict=True):
        assert (row[m == 0] == 1).all()
        assert row[m == 1].min() >= 4
        assert row.max() < 50265
    assert np.unique(ids).size > 10_000


def test_a_subset_is_seeded_and_never_empty() -> None:
    assert seeded_subset(100, 100.0, 0) == list(range(100))
    half = seeded_subset(100, 50.0, 1)
    assert len(half) == 50
    assert half == sorted(set(half)) == seeded_subset(100, 50.0, 1)
    assert half != seeded_subset(100, 50.0, 2)
    assert len(seeded_subset(10, 0.001, 0)) == 1


def test_intervals_of_scores() -> None:
    found = proportion(98, 100)
    # Wilson's interval of 98 of 100, as printed in tables.
    assert (found.low, found.high) == (
        pytest.approx(0.930, abs=5e-4),
        pytest.approx(0.9945, abs=5e-4),
    )
    assert proportion(5, 5, 100.0).value == 100.0
    assert mean_score([0.0, 1.0] * 50).value == 0.5
    assert mean_score([1.0]).low == 1.0


@pytest.mark.parametrize(
    ("answer", "truth", "em", "f1"),
    [
        ("The Moon", "moon", 1.0, 1.0),
        ("the  Moon!", "a moon", 1.0, 1.0),
        ("two high waters", "two", 0.0, 0.5),
        ("", "moon", 0.0, 0.0),
        ("the cat sat", "cat sat down", 0.0, 2 * (2 / 2) * (2 / 3) / (2 / 2 + 2 / 3)),
        ("x x y", "x y y", 0.0, 2 / 3),
    ],
)
def test_scores_are_the_official_ones(answer: str, truth: str, em: float, f1: float) -> None:
    assert exact_match(answer, truth) == em
    assert f1_score(answer, truth) == pytest.approx(f1)


def test_normalisation_keeps_words_that_only_begin_like_articles() -> None:
    assert normalize("An anthem, the theatre; A-road.") == "anthem theatre aroad"


def test_the_shipped_sample_is_in_the_real_format() -> None:
    questions = sample_squad()
    assert len(questions) >= 24
    assert len({q.id for q in questions}) == len(questions)
    assert len({q.context for q in questions}) >= 4


def planted(data: Squad, answers: dict[str, str]) -> dict[str, np.ndarray]:
    """Logits that point at the given answer of each question, wherever a window holds it."""
    start = np.zeros((len(data), 384), np.float32)
    end = np.zeros((len(data), 384), np.float32)
    for row, window in enumerate(data._windows):
        question = data._questions[window.question]
        first = question.context.index(answers[question.id])
        last = first + len(answers[question.id])
        for token, offset in enumerate(window.offsets):
            if offset is None:
                continue
            if offset[0] <= first < offset[1]:
                start[row, token] = 9.0
            if offset[0] < last <= offset[1]:
                end[row, token] = 9.0
    return {"start_logits": start, "end_logits": end}


def test_planted_answers_come_out_to_the_digit() -> None:
    data = Squad(sample_squad(), MODEL, sample_data=True)
    truth = {q.id: q.answers[0] for q in data._questions}
    short = {k: v for k, v in truth.items() if len(v.encode()) <= 30}  # a token is a byte here
    everything = range(len(data))
    found = data.score(everything, planted(data, truth))
    assert found["Exact Match"].n == len(truth)
    assert found["Exact Match"].value == pytest.approx(100.0 * len(short) / len(truth))
    wrong = {q.id: q.context[:5] for q in data._questions}
    assert data.score(everything, planted(data, wrong))["Exact Match"].value == 0.0


def test_scores_are_over_questions_whatever_the_order_of_windows() -> None:
    data = Squad(sample_squad(), MODEL, sample_data=True)
    assert len(data) > len(data._questions)
    outputs = planted(data, {q.id: q.answers[0] for q in data._questions})
    order = np.random.default_rng(0).permutation(len(data))
    shuffled = {name: value[order] for name, value in outputs.items()}
    assert data.score(order.tolist(), shuffled) == data.score(range(len(data)), outputs)
    half = data.select(50.0, seed=3)
    whole = {data._windows[i].question for i in half}
    assert len(whole) == round(len(data._questions) / 2)
    assert half == [i for i, w in enumerate(data._windows) if w.question in whole]


def test_windows_cover_the_context_with_the_stride() -> None:
    tokenizer = pair_tokenizer(None, ROBERTA)
    context = "".join(chr(97 + i % 26) for i in range(1000))
    windows = make_windows(tokenizer, [("why?", context), ("short?", "abc")])
    assert [w.question for w in windows] == [0] * (len(windows) - 1) + [1]
    firsts = [next(o for o in w.offsets if o)[0] for w in windows[:-1]]
    room = 384 - 4 - len("why?")
    assert firsts == [i * (room - 128) for i in range(len(firsts))]
    for window in windows:
        assert len(window.ids) == len(window.mask) == 384
        assert window.ids[sum(window.mask) :] == [1] * (384 - sum(window.mask))
        assert window.ids[0] == 0
    # Every token of the context answers in exactly one window.
    answering = [
        offset
        for w in windows[:-1]
        for offset, best in zip(w.offsets, w.best_context, strict=True)
        if best
    ]
    assert sorted(answering) == [(i, i + 1) for i in range(1000)]


def test_the_best_context_is_the_one_with_the_richer_poorer_side() -> None:
    first, second = best_context([200, 150])
    # The second window begins at token 72; they overlap in 128 tokens.
    assert first[:72].all()
    assert not second[:10].any()
    assert second[128:].all()
    assert (first[72:] != second[:128]).all()


def test_a_long_question_is_cut_to_64_tokens() -> None:
    tokenizer = pair_tokenizer(None, ROBERTA)
    window = make_windows(tokenizer, [("q" * 500, "context")])[0]
    assert sum(window.mask) == 4 + 64 + len("context")


def test_missing_files_say_where_they_go(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"open_squad/dev-v1\.1\.json.*--sample_data"):
        open_dataset(MODEL)
    with pytest.raises(UsageError, match=r"dev-v1\.1\.json.*No such file"):
        open_dataset(MODEL, data_dir=tmp_path)
    file = tmp_path / FILE
    file.parent.mkdir()
    file.write_text(json.dumps(SMALL))
    assert len(open_dataset(MODEL, data_dir=tmp_path)) == 1
    assert open_dataset(MODEL, sample_data=True).sample_data


SMALL: dict[str, Any] = {
    "version": "1.1",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "The sea is blue.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "What is blue?",
                            "answers": [{"answer_start": 0, "text": "The sea"}],
                        }
                    ],
                }
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["data"], 5, "list 'data'"),
        (["data", 0, "paragraphs"], None, r"data\[0\].*'paragraphs'"),
        (["data", 0, "paragraphs", 0, "context"], 1, r"paragraphs\[0\].*'context'"),
        (["data", 0, "paragraphs", 0, "qas", 0, "answers"], [], r"qas\[0\].answers: .*one answer"),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "answers", 0, "answer_start"],
            3,
            r"answers\[0\]: answer_start 3 does not point at 'The sea'",
        ),
    ],
)
def test_a_broken_entry_is_named(path: list[Any], value: Any, message: str) -> None:
    document = json.loads(json.dumps(SMALL))
    *parents, last = path
    place = document
    for step in parents:
        place = place[step]
    place[last] = value
    with pytest.raises(UsageError, match=message):
        parse_squad(json.dumps(document), "x.json")


def test_digits_are_split_once_and_for_all() -> None:
    pytest.importorskip("sklearn")
    from bytemlperf.datasets.digits import split

    (train, train_labels), (test, test_labels) = split()
    assert train.shape == (1258, 1, 8, 8)
    assert test.shape == (539, 1, 8, 8)
    assert train.dtype == np.float32
    assert 0.0 <= test.min() < test.max() <= 1.0
    shares = np.bincount(test_labels) / np.bincount(np.concatenate([train_labels, test_labels]))
    assert ((shares > 0.28) & (shares < 0.32)).all()


def test_top_1_is_over_the_given_samples() -> None:
    pytest.importorskip("sklearn")
    digits = open_dataset(_digits_model())
    labels = digits._labels  # type: ignore[attr-defined]
    logits = np.eye(10, dtype=np.float32)[labels]
    logits[:10] = np.roll(logits[:10], 1, axis=1)
    samples = list(range(40))
    found = digits.score(samples, {"logits": logits[:40]})["Top-1"]
    assert found.value == 0.75
    assert found.n == 40
    assert digits.feeds([1, 2])["image"].shape == (2, 1, 8, 8)


def _digits_model() -> Any:
    return SimpleNamespace(card=load_card("digits-onnx-fp32"), tokenizer=None)
