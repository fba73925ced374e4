"""SQuAD preprocessing beside whole-word tokenising in Python, on 2 000 long contexts.

The other side is how the first ByteMLPerf did it, written here anew: for each question split the
context into words, clean each word character by character, split it greedily into pieces, cut
windows, and ask for each token whether another window has more context for it. Both sides have the
same WordPiece vocabulary, trained here on the generated text, and make the same windows. As in the
real file, about five questions share a context. ``python benchmarks/squad.py [--pairs N]``
"""

from __future__ import annotations

import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from pairs import Row, main, table

from bytemlperf.datasets.squad_features import STRIDE, make_windows
from bytemlperf.zoo import load_card

_QUESTIONS, _SHARING, _LENGTH, _QUESTION_TOKENS = 2000, 5, 384, 64


def generate(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Questions of about 10 words on contexts of 300 to 900, of words as frequent as in text."""
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(20_000)]
    share = 1.0 / np.arange(1, len(words) + 1)
    share /= share.sum()

    def text(count: int) -> str:
        drawn = [words[i] for i in rng.choice(len(words), count, p=share)]
        ends = rng.random(count) < 0.1
        return " ".join(w + (", " if e else "").strip() for w, e in zip(drawn, ends, strict=True))

    contexts = [text(int(rng.integers(300, 900))) for _ in range(_QUESTIONS // _SHARING)]
    return [(text(10) + "?", context) for context in contexts for _ in range(_SHARING)]


def train(pairs: Sequence[tuple[str, str]], file: Path) -> dict[str, int]:
    """Train a WordPiece vocabulary of 8 000 and store it as ``vocab.txt``."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=8000, special_tokens=specials, show_progress=False
    )
    tokenizer.train_from_iterator((context for _, context in pairs[:300]), trainer)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    file.write_text("\n".join(sorted(vocabulary, key=lambda token: vocabulary[token])))
    return vocabulary


def _basic(word: str) -> list[str]:
    """Clean, lower, strip accents, and set marks apart, as BERT's own script does."""
    clean = "".join(c for c in word if unicodedata.category(c) not in ("Cc", "Cf"))
    spaced = "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FFF else c for c in clean)
    parts = []
    for token in spaced.strip().split():
        plain = unicodedata.normalize("NFD", token.lower())
        current = ""
        for c in plain:
            category = unicodedata.category(c)
            if category == "Mn":
                continue
            if category.startswith("P") or (ord(c) < 127 and not c.isalnum()):
                parts += [current] * bool(current) + [c]
                current = ""
            else:
                current += c
        parts += [current] * bool(current)
    return parts


def _pieces(word: str, vocabulary: dict[str, int]) -> Iterator[str]:
    """Words and marks of a whitespace word, each cut greedily into the longest known pieces."""
    for part in _basic(word):
        start, found = 0, []
        while start < len(part):
            end = len(part)
            while end > start:
                piece = ("##" if start else "") + part[start:end]
                if piece in vocabulary:
                    break
                end -= 1
            if end == start:
                found = ["[UNK]"]
                break
            found.append(piece)
            start = end
        yield from found


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


def by_words(pairs: Sequence[tuple[str, str]], vocabulary: dict[str, int]) -> list[dict[str, Any]]:
    """Make the same windows in plain Python."""
    features = []
    cls, sep = vocabulary["[CLS]"], vocabulary["[SEP]"]
    for question, context in pairs:
        asked = [p for word in question.split() for p in _pieces(word, vocabulary)]
        asked = asked[:_QUESTION_TOKENS]
        to_word, pieces = [], []
        for number, word in enumerate(context.split()):
            for piece in _pieces(word, vocabulary):
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
            ids = [cls, *(vocabulary[p] for p in asked), sep]
            segments = [0] * len(ids)
            best, words = {}, {}
            for i in range(length):
                words[len(ids)] = to_word[start + i]
                best[len(ids)] = _is_best(spans, which, start + i)
                ids.append(vocabulary[pieces[start + i]])
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
    questions = generate(np.random.default_rng(0))
    card = load_card("roberta-torch-fp32")
    inputs = tuple(t.model_copy(update={"pad": 0}) for t in card.inputs)
    card = card.model_copy(update={"inputs": inputs})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.txt"
        vocabulary = train(questions, file)
        few = questions[:20]
        windows, features = make_windows(file, card, few), by_words(few, vocabulary)
        assert windows.ids.tolist() == [f["ids"] for f in features]
        assert windows.segments.tolist() == [f["segments"] for f in features]
        for row, feature in enumerate(features):
            assert np.nonzero(windows.best_context[row])[0].tolist() == [
                i for i, is_best in feature["best"].items() if is_best
            ]
        rows = [
            Row(
                f"{_QUESTIONS} questions to windows, {what}",
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
            by_words(questions, vocabulary)
            stamps.append(_now())
            for clock, row in enumerate(rows):
                begin, middle, end = (stamp[clock] for stamp in stamps)
                row.add(middle - begin, end - middle)
    return table(rows)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main(__doc__, measure)
