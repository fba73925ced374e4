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
from bytemlperf.datasets.squad_features import _best, make_windows
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
    assert mean_score([1.0]) == proportion(1, 1)
    assert mean_score([0.0, 0.5, 1.0]).high == 1.0


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
    for row, number in enumerate(data.windows.question):
        question = data._questions[number]
        first = question.context.index(answers[question.id])
        last = first + len(answers[question.id])
        for token, (begin, stop) in enumerate(data.windows.offsets[row]):
            if begin <= first < stop:
                start[row, token] = 9.0
            if begin < last <= stop:
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
    whole = {int(data.windows.question[i]) for i in half}
    assert len(whole) == round(len(data._questions) / 2)
    assert half == [i for i, q in enumerate(data.windows.question) if q in whole]


def test_windows_cover_the_context_with_the_stride() -> None:
    context = "".join(chr(97 + i % 26) for i in range(1000))
    windows = make_windows(None, ROBERTA, [("why?", context), ("short?", "abc")])
    assert windows.question.tolist() == [0] * (len(windows) - 1) + [1]
    spans = [[tuple(o) for o in offsets if o[1] >= 0] for offsets in windows.offsets]
    room = 384 - 4 - len("why?")
    assert [s[0][0] for s in spans[:-1]] == [i * (room - 128) for i in range(len(spans) - 1)]
    assert windows.ids.shape == windows.mask.shape == (len(windows), 384)
    for ids, mask in zip(windows.ids, windows.mask, strict=True):
        assert (ids[mask.sum() :] == 1).all()
        assert ids[0] == 0
    # Every token of the context answers in exactly one window.
    answering = windows.offsets[:-1][windows.best_context[:-1]].tolist()
    assert sorted(answering) == [[i, i + 1] for i in range(1000)]


def test_the_best_context_is_the_one_with_the_richer_poorer_side() -> None:
    first, second = _best([(0, 200), (72, 222)])
    # The second window begins at token 72; they overlap in 128 tokens.
    assert first[:72].all()
    assert not second[:10].any()
    assert second[128:].all()
    assert (first[72:] != second[:128]).all()


def test_a_long_question_is_cut_to_64_tokens() -> None:
    windows = make_windows(None, ROBERTA, [("q" * 500, "context")])
    assert windows.mask.sum() == 4 + 64 + len("context")


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


TEXT = (
    "The tide turns twice a day near the old harbour; fishermen's boats wait for it. "
    'In 1931 the harbour-master wrote: "no ship may enter at low water". Café owners agreed, '
    "naïvely, that nothing could be done about the moon's pull on the Sea. "
)


def trained(kind: str, folder: Path) -> Path:
    """A tokenizer of the kind, trained on the text here and stored as a checkpoint has it."""
    tokenizers = pytest.importorskip("tokenizers")
    models, trainers = tokenizers.models, tokenizers.trainers
    if kind == "wordpiece":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=specials, show_progress=False
        )
        tokenizer.train_from_iterator([TEXT] * 3, trainer)
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        file = folder / "vocab.txt"
        file.write_text("\n".join(token for token, _ in vocabulary), encoding="utf-8")
        return file
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    tokenizer.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    return file


@pytest.mark.parametrize("kind", ["wordpiece", "byte-level"])
def test_features_equal_those_of_the_library(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    file = trained(kind, tmp_path)
    bert = kind == "wordpiece"
    content = "segments" if bert else "zeros"
    own = ROBERTA.model_copy(
        update={
            "inputs": tuple(
                t.model_copy(
                    update={
                        "content": content if t.content == "zeros" else t.content,
                        "pad": 0 if bert else 1,
                    }
                )
                for t in ROBERTA.inputs
            )
        }
    )
    if bert:
        theirs = transformers.BertTokenizerFast(
            tokenizer_file=None, vocab=str(file), do_lower_case=True
        )
    else:
        theirs = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(file), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
        )
    contexts = [TEXT * repeats for repeats in (1, 3, 9, 40)]
    pairs = [(f"What did the harbour-master write in {1931 + i}?", c)
             for i, c in enumerate(contexts)]  # fmt: skip
    windows = make_windows(file, own, pairs)
    expected = theirs(
        *map(list, zip(*pairs, strict=True)), truncation="only_second", max_length=384,
        stride=128, return_overflowing_tokens=True, return_offsets_mapping=True,
        padding="max_length", return_token_type_ids=True,
    )  # fmt: skip
    assert len(windows) > 10
    assert windows.question.tolist() == expected["overflow_to_sample_mapping"]
    assert windows.ids.tolist() == expected["input_ids"]
    assert windows.mask.tolist() == expected["attention_mask"]
    assert windows.segments.tolist() == expected["token_type_ids"]
    for row in range(len(windows)):
        context = [s == 1 for s in expected.sequence_ids(row)]
        offsets = windows.offsets[row]
        assert (offsets[:, 1] >= 0).tolist() == context
        text = pairs[windows.question[row]][1]
        found = offsets[context].tolist()
        wanted = [
            list(o) for o, c in zip(expected["offset_mapping"][row], context, strict=True) if c
        ]
        assert found[1:] == wanted[1:]
        # Of a window's first token the library keeps the space in front.
        assert text[slice(*found[0])] == text[slice(*wanted[0])].strip()


def test_planted_answers_through_a_trained_vocabulary(tmp_path: Path, empty_cache: Path) -> None:
    """A window's answer is the text of the context itself, case and accents kept."""
    paragraph = {
        "context": TEXT * 12,
        "qas": [
            {"id": str(i), "question": f"Which one, {i}?",
             "answers": [{"answer_start": TEXT.index(a), "text": a}]}
            for i, a in enumerate(["twice a day", "1931", "Café owners", "moon's pull"])
        ],
    }  # fmt: skip
    file = tmp_path / FILE
    file.parent.mkdir()
    file.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}), encoding="utf-8")
    model: Any = SimpleNamespace(card=ROBERTA, tokenizer=trained("byte-level", tmp_path))
    data = open_dataset(model, data_dir=tmp_path)
    assert isinstance(data, Squad)
    answers = {q.id: q.answers[0] for q in data._questions} | {"3": "the moon's"}
    found = data.score(range(len(data)), planted(data, answers))
    assert found["Exact Match"].value == 75.0
    # "moon s" of "moon's pull": normalised "moons" of "moons pull".
    assert found["F1 Score"].value == pytest.approx(100 * (3 + 2 * 0.5 / 1.5) / 4)
    over_windows = found["F1 Score (over windows, as ByteMLPerf 1.0)"]
    assert over_windows.value == pytest.approx(found["F1 Score"].value * 4 / len(data))
    assert len(data) > 4
    again = open_dataset(model, data_dir=tmp_path)
    assert isinstance(again, Squad)
    for name, array in data.feeds([0, 3]).items():
        np.testing.assert_array_equal(again.feeds([0, 3])[name], array)


@pytest.mark.parametrize("content", [b"{", b'{"data": [{"paragr', b"\xff\xfe{}"])
def test_a_broken_squad_file_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"dev-v1\.1\.json: not (JSON|UTF-8)"):
        open_dataset(MODEL, data_dir=tmp_path)
