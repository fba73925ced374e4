"""From question and context to the windows of tokens that a model reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets.text import open_tokenizer, token_input
from bytemlperf.zoo import Card

QUESTION_TOKENS = 64
STRIDE = 128

# Pairs that are tokenised at once: enough for every core, few enough to show progress.
_CHUNK = 512

#: called with the share of the work that is done
Report = Callable[[float], None]


@dataclass(frozen=True)
class Windows:
    """Windows over the questions' contexts, all of one length; a row is a window.

    Attributes:
        question: int32 [n], number of its question, ascending.
        ids: int32 [n, length], token ids.
        mask: uint8 [n, length], 1 where a token is.
        segments: uint8 [n, length], the tokenizer's own segment ids.
        offsets: int32 [n, length, 2], for each token of the context its characters (first,
            last + 1); -1 elsewhere.
        best_context: bool [n, length], whether this is the window in which that token has the
            most context on its poorer side (of overlapping windows, only one may answer with it).
    """

    question: Array
    ids: Array
    mask: Array
    segments: Array
    offsets: Array
    best_context: Array

    def __len__(self) -> int:
        return len(self.question)

    def save(self, path: Path) -> None:
        """Write all arrays; a reader sees the whole file or none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez(temporary, **{f.name: getattr(self, f.name) for f in fields(self)})
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Windows:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})


def pair_tokenizer(file: Path | None, card: Card) -> Any:
    """Return a tokenizer for (question, context) pairs at the card's sequence length."""
    tokenizer = open_tokenizer(file)
    tensor = token_input(card)
    length, pad = tensor.shape[-1], tensor.pad
    tokenizer.enable_truncation(length, stride=STRIDE, strategy="only_second")
    tokenizer.enable_padding(length=length, pad_id=pad, pad_token=tokenizer.id_to_token(pad) or "")
    return tokenizer


def make_windows(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], report: Report | None = None
) -> Windows:
    """Tokenise pairs, on all cores; a context that does not fit gives several windows."""
    questions = _shorten(tokenizer, [question for question, _ in pairs])
    rows: list[tuple[Array, ...]] = []
    for start in range(0, len(pairs), _CHUNK):
        if report is not None:
            report(start / len(pairs))
        chunk = [(questions[i], pairs[i][1]) for i in range(start, min(start + _CHUNK, len(pairs)))]
        for number, encoding in enumerate(tokenizer.encode_batch(chunk), start):
            parts = [encoding, *encoding.overflowing]
            spans = [_context(part) for part in parts]
            best = best_context([stop - first for first, stop in spans])
            for part, span, is_best in zip(parts, spans, best, strict=True):
                rows.append(_row(number, part, span, is_best))
    return Windows(*(np.stack(column) for column in zip(*rows, strict=True)))


def _row(number: int, part: Any, span: tuple[int, int], is_best: Array) -> tuple[Array, ...]:
    first, stop = span
    length = len(part.ids)
    offsets = np.full((length, 2), -1, np.int32)
    offsets[first:stop] = part.offsets[first:stop]
    best = np.zeros(length, bool)
    best[first:stop] = is_best
    return (
        np.array(number, np.int32),
        np.array(part.ids, np.int32),
        np.array(part.attention_mask, np.uint8),
        np.array(part.type_ids, np.uint8),
        offsets,
        best,
    )


def _shorten(tokenizer: Any, questions: Sequence[str]) -> list[str]:
    """Cut questions to their first 64 tokens, at a token's end."""
    stripped = [question.strip() for question in questions]
    # A token is a byte at least, so most questions cannot be too long; 2 for a prefix that some
    # tokenizers put in front.
    long = [i for i, q in enumerate(stripped) if len(q.encode()) > QUESTION_TOKENS - 2]
    truncation, padding = tokenizer.truncation, tokenizer.padding
    tokenizer.no_truncation()  # "only the second" refuses single texts
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch([stripped[i] for i in long], add_special_tokens=False)
    tokenizer.enable_truncation(**truncation)
    tokenizer.enable_padding(**padding)
    for i, encoding in zip(long, encoded, strict=True):
        if len(encoding) > QUESTION_TOKENS:
            stripped[i] = stripped[i][: encoding.offsets[QUESTION_TOKENS - 1][1]]
    return stripped


def _context(encoding: Any) -> tuple[int, int]:
    """Return the context's tokens (first, last + 1); they are contiguous."""
    sequences = encoding.sequence_ids
    if 1 not in sequences:
        return 0, 0
    first = sequences.index(1)
    count = sequences.count(1)
    return first, first + count


def best_context(lengths: Sequence[int]) -> list[Array]:
    """For each window of a context, which of its tokens have their best context there.

    A token's score in a window is min(tokens to its left, to its right) + 0.01 x the window's
    tokens; the first window with the best score wins.

    Args:
        lengths: context tokens of each window; each begins ``STRIDE`` tokens before the last ended.
    """
    if len(lengths) == 1:
        return [np.ones(lengths[0], bool)]
    step = lengths[0] - STRIDE
    starts = [i * step for i in range(len(lengths))]
    total = max(start + n for start, n in zip(starts, lengths, strict=True))
    best, winner = np.full(total, -1.0), np.full(total, -1)
    for i, (start, n) in enumerate(zip(starts, lengths, strict=True)):
        position = np.arange(n)
        score = np.minimum(position, n - 1 - position) + 0.01 * n
        better = score > best[start : start + n]
        best[start : start + n][better] = score[better]
        winner[start : start + n][better] = i
    return [
        winner[start : start + n] == i
        for i, (start, n) in enumerate(zip(starts, lengths, strict=True))
    ]
