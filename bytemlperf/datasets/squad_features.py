"""From question and context to the windows of tokens that a model reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets.text import open_tokenizer, token_input
from bytemlperf.errors import UsageError
from bytemlperf.zoo import Card

QUESTION_TOKENS = 64
STRIDE = 128

# Texts that are tokenised at once: enough for every core, few enough to show progress.
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


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts around a pair: (ids, segments) before, between and after.

    ``first_segment`` and ``second_segment`` are the segments of the texts themselves.
    """

    before: tuple[list[int], list[int]]
    between: tuple[list[int], list[int]]
    after: tuple[list[int], list[int]]
    first_segment: int
    second_segment: int

    @classmethod
    def of(cls, tokenizer: Any) -> Frame:
        """Learn it from a pair of short texts."""
        pair = tokenizer.encode("a", "b")
        sequences = pair.sequence_ids
        first, second = sequences.index(0), sequences.index(1)
        ends = first + sequences.count(0), second + sequences.count(1)
        before, between, after = (
            (pair.ids[start:stop], pair.type_ids[start:stop])
            for start, stop in ((0, first), (ends[0], second), (ends[1], len(sequences)))
        )
        return cls(before, between, after, pair.type_ids[first], pair.type_ids[second])

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in (self.before, self.between, self.after))


def make_windows(
    file: Path | None, card: Card, pairs: Sequence[tuple[str, str]], report: Report | None = None
) -> Windows:
    """Tokenise (question, context) pairs for the card's input of token ids, on all cores.

    Each text is tokenised once, however many questions share it. The windows are those of the
    tokenizers library (truncation of the second text only, windows that share ``STRIDE`` tokens);
    where its byte-level offsets keep the space before a later window's first token, these do not.

    Args:
        file: the checkpoint's tokenizer, see :func:`open_tokenizer`.

    Raises:
        UsageError: where the card's sequences are too short for windows.
    """
    tokenizer, tensor = open_tokenizer(file), token_input(card)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    frame, length = Frame.of(tokenizer), tensor.shape[-1]
    if length - len(frame) - QUESTION_TOKENS <= STRIDE:
        raise UsageError(
            f"{card.name}: sequences of {length} tokens leave no room for windows that share {STRIDE}"
        )
    questions = _tokenise(tokenizer, [question.strip() for question, _ in pairs])
    contexts = _tokenise(tokenizer, [context for _, context in pairs], report)
    plan = []
    for number, (question, context) in enumerate(pairs):
        asked = questions[question.strip()][0][:QUESTION_TOKENS]
        spans = _spans(len(contexts[context][0]), length - len(frame) - len(asked))
        plan += [(number, asked, context, *span) for span in zip(spans, _best(spans), strict=True)]
    windows = Windows(
        question=np.array([row[0] for row in plan], np.int32),
        ids=np.full((len(plan), length), tensor.pad, np.int32),
        mask=np.zeros((len(plan), length), np.uint8),
        segments=np.zeros((len(plan), length), np.uint8),
        offsets=np.full((len(plan), length, 2), -1, np.int32),
        best_context=np.zeros((len(plan), length), bool),
    )
    for row, (_, asked, context, (start, stop), best) in enumerate(plan):
        ids, offsets = contexts[context]
        head = [*frame.before[0], *asked, *frame.between[0]]
        first, last = len(head), len(head) + stop - start
        end = last + len(frame.after[0])
        windows.ids[row, :first] = head
        windows.ids[row, first:last] = ids[start:stop]
        windows.ids[row, last:end] = frame.after[0]
        windows.mask[row, :end] = 1
        own = [frame.first_segment] * len(asked)
        windows.segments[row, :first] = [*frame.before[1], *own, *frame.between[1]]
        windows.segments[row, first:last] = frame.second_segment
        windows.segments[row, last:end] = frame.after[1]
        windows.offsets[row, first:last] = offsets[start:stop]
        windows.best_context[row, first:last] = best
    return windows


def _tokenise(
    tokenizer: Any, texts: Sequence[str], report: Report | None = None
) -> dict[str, tuple[Array, Array]]:
    """Return (ids, offsets) of each distinct text."""
    distinct = list(dict.fromkeys(texts))
    found = {}
    for start in range(0, len(distinct), _CHUNK):
        if report is not None:
            report(start / len(distinct))
        chunk = distinct[start : start + _CHUNK]
        encoded = tokenizer.encode_batch(chunk, add_special_tokens=False)
        for text, encoding in zip(chunk, encoded, strict=True):
            count = len(encoding)
            ids = np.fromiter(encoding.ids, np.int32, count)
            # Twice as fast as an array of a list of pairs.
            ends = np.fromiter(chain.from_iterable(encoding.offsets), np.int32, 2 * count)
            found[text] = ids, ends.reshape(count, 2)
    return found


def _spans(tokens: int, room: int) -> list[tuple[int, int]]:
    """Parts of a context (first token, last + 1) that fit; each shares STRIDE with the next."""
    spans = [(0, min(tokens, room))]
    while spans[-1][1] < tokens:
        start = spans[-1][0] + room - STRIDE
        spans.append((start, min(tokens, start + room)))
    return spans


def _best(spans: Sequence[tuple[int, int]]) -> list[Array]:
    """For each part of a context, which of its tokens have their best context there.

    A token's score in a part is min(tokens to its left, to its right) + 0.01 x the part's tokens;
    the first part with the best score wins.
    """
    if len(spans) == 1:
        return [np.ones(spans[0][1], bool)]
    total = spans[-1][1]
    best, winner = np.full(total, -1.0), np.full(total, -1)
    for i, (start, stop) in enumerate(spans):
        position = np.arange(stop - start)
        score = np.minimum(position, position[::-1]) + 0.01 * len(position)
        better = score > best[start:stop]
        best[start:stop][better] = score[better]
        winner[start:stop][better] = i
    return [winner[start:stop] == i for i, (start, stop) in enumerate(spans)]
