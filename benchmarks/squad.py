"""SQuAD preprocessing beside whole-word tokenising in Python, on 2 000 long contexts.

The other side is how the first ByteMLPerf did it, written here anew: for each question split the
context at whitespace, send each word through the tokenizer written in Python that transformers
keeps for BERT, cut windows, and ask for each token whether another window has more context for it.
Both sides have the same WordPiece vocabulary, trained here on the generated text, and make the same
windows. Measured with a context for each question, and with one for five as in the real file.
``python benchmarks/squad.py [--pairs N]``
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from pairs import Row, main, table
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from bytemlperf.datasets.squad_features import STRIDE, make_windows
from bytemlperf.zoo import Card, load_card

_QUESTIONS, _LENGTH, _QUESTION_TOKENS = 2000, 384, 64


def generate(rng: np.random.Generator, sharing: int) -> list[tuple[str, str]]:
    """Questions of about 10 words on contexts of 300 to 900, of words as frequent as in text.

    A context is shared by ``sharing`` questions.
    """
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(20_000)]
    share = 1.0 / np.arange(1, len(words) + 1)
    share /= share.sum()

    def text(count: int) -> str:
        drawn = [words[i] for i in rng.choice(len(words), count, p=share)]
        ends = rng.random(count) < 0.1
        return " ".join(w + (", " if e else "").strip() for w, e in zip(drawn, ends, strict=True))

    contexts = [text(int(rng.integers(300, 900))) for _ in range(_QUESTIONS // sharing)]
    return [(text(10) + "?", context) for context in contexts for _ in range(sharing)]


def train(pairs: Sequence[tuple[str, str]], file: Path) -> None:
    """Train a WordPiece vocabulary of 8 000 and store it as ``vocab.txt``."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=8000, special_tokens=specials, show_progress=False
    )
    tokenizer.train_from_iterator((context for _, context in pairs[:300]), trainer)
    vocabulary = tokenizer.get_vocab()
    file.write_text("\n".join(sorted(vocabulary, key=lambda token: vocabulary[token])))


def _is_best(spans: list[tuple[int, int]], which: int, position: int) -> bool:
    best, best_span = -1.0, -1
    for number, (start, length) in enumerate(spans):
        if not start <= position < start + length:
            continue
        left, right = position - start, start + length - 1 - position
        score = min(left, right) + 0.01 * length
        if score > best:
            best, best_span = score, number
    return which == best_span


def by_words(
    pairs: Sequence[tuple[str, str]], tokenizer: BertTokenizerLegacy
) -> list[dict[str, Any]]:
    """Make the same windows in plain Python."""
    features = []
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    for question, context in pairs:
        asked = tokenizer.tokenize(question)[:_QUESTION_TOKENS]
        to_word, pieces = [], []
        for number, word in enumerate(context.split()):
            for piece in tokenizer.tokenize(word):
                to_word.append(number)
                pieces.append(piece)
        room = _LENGTH - len(asked) - 3
        spans, start = [], 0
        while start < len(pieces):
            length = min(room, len(pieces) - start)
            spans.append((start, length))
            if start + length == len(pieces):
                break
            start += room - STRIDE  # as the tokenizers library: windows share STRIDE tokens
        for which, (start, length) in enumerate(spans):
            ids = [cls, *tokenizer.convert_tokens_to_ids(asked), sep]
            first, segments = len(ids), [0] * len(ids)
            best, words = {}, {}
            ids += tokenizer.convert_tokens_to_ids(pieces[start : start + length])
            for i in range(length):
                words[first + i] = to_word[start + i]
                best[first + i] = _is_best(spans, which, start + i)
                segments.append(1)
            ids.append(sep)
            segments.append(1)
            mask = [1] * len(ids)
            padding = [0] * (_LENGTH - len(ids))
            features.append(
                {"ids": ids + padding, "mask": mask + padding, "segments": segments + padding,
                 "best": best, "words": words}
            )  # fmt: skip
    return features


def measure(pairs: int) -> str:
    card = load_card("roberta-torch-fp32")
    inputs = tuple(t.model_copy(update={"pad": 0}) for t in card.inputs)
    card = card.model_copy(update={"inputs": inputs})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for sharing, contexts in ((1, "a context each"), (5, "5 to a context")):
            questions = generate(np.random.default_rng(0), sharing)
            file = Path(folder) / "vocab.txt"
            train(questions, file)
            tokenizer = BertTokenizerLegacy(str(file), do_lower_case=True)
            _must_agree(file, card, tokenizer, questions[:20])
            timed = [
                Row(
                    f"{_QUESTIONS} questions to windows, {contexts}, {what}",
                    "whole words in Python",
                    "s",
                    "<= 0.333",
                )
                for what in ("elapsed", "processor time")
            ]
            for _ in range(pairs):
                stamps = [_now()]
                make_windows(file, card, questions)
                stamps.append(_now())
                by_words(questions, tokenizer)
                stamps.append(_now())
                for clock, row in enumerate(timed):
                    begin, middle, end = (stamp[clock] for stamp in stamps)
                    row.add(middle - begin, end - middle)
            rows += timed
    return table(rows)


def _must_agree(
    file: Path, card: Card, tokenizer: BertTokenizerLegacy, pairs: Sequence[tuple[str, str]]
) -> None:
    windows, features = make_windows(file, card, pairs), by_words(pairs, tokenizer)
    assert windows.ids.tolist() == [f["ids"] for f in features]
    assert windows.segments.tolist() == [f["segments"] for f in features]
    for row, feature in enumerate(features):
        assert np.nonzero(windows.best_context[row])[0].tolist() == [
            i for i, is_best in feature["best"].items() if is_best
        ]


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main(__doc__, measure)
