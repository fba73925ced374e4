"""From question and context to the windows of tokens that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card

QUESTION_TOKENS = 64
STRIDE = 128


@dataclass(frozen=True)
class Window:
    """One window over a question's context.

    Attributes:
        question: number of the question.
        ids, mask, segments: token ids, 1 where a token is, 1 where it is the context's.
        offsets: for each token of the context its characters (first, last + 1); None elsewhere.
        best_context: whether this is the window in which that token has the most context on its
            poorer side (of overlapping windows, only one may answer with a token).
    """

    question: int
    ids: list[int]
    mask: list[int]
    segments: list[int]
    offsets: list[tuple[int, int] | None]
    best_context: list[bool]


def pair_tokenizer(file: Path | None, card: Card) -> Any:
    """Return a tokenizer for (question, context) pairs at the card's sequence length.

    Args:
        file: the checkpoint's ``tokenizer.json``. Without one a byte-level tokenizer is made:
            one token a byte, ids within any RoBERTa vocabulary; fit for seeded weights only.
    """
    tokenizers = require("tokenizers", extra="data", purpose="the SQuAD data set")
    tokenizer = tokenizers.Tokenizer.from_file(str(file)) if file else _byte_level(tokenizers)
    length = next((t.shape[-1] for t in card.inputs if t.content == "token_ids"), None)
    if length is None:
        raise UsageError(f"{card.name}: has no input of content 'token_ids': not a model for SQuAD")
    pad = next(t.pad for t in card.inputs if t.content == "token_ids")
    tokenizer.enable_truncation(length, stride=STRIDE, strategy="only_second")
    tokenizer.enable_padding(length=length, pad_id=pad, pad_token=tokenizer.id_to_token(pad) or "")
    return tokenizer


def _byte_level(tokenizers: Any) -> Any:
    """Byte-level BPE without merges, with RoBERTa's special tokens and pair template."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(specials + alphabet)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.add_special_tokens(specials)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s>:1 $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def make_windows(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Window]:
    """Tokenise pairs; a context that does not fit gives several overlapping windows."""
    truncation = tokenizer.truncation  # "only the second" refuses single texts
    tokenizer.no_truncation()
    shortened = [(_shorten(tokenizer, question), context) for question, context in pairs]
    tokenizer.enable_truncation(**truncation)
    windows: list[Window] = []
    for number, encoding in enumerate(tokenizer.encode_batch(shortened)):
        parts = [encoding, *encoding.overflowing]
        spans = [_context_offsets(part) for part in parts]
        best = best_context([sum(o is not None for o in span) for span in spans])
        for part, span, is_best in zip(parts, spans, best, strict=True):
            flags = iter(is_best)
            windows.append(
                Window(
                    number,
                    part.ids,
                    part.attention_mask,
                    [int(s == 1) for s in part.sequence_ids],
                    span,
                    [offset is not None and bool(next(flags)) for offset in span],
                )
            )
    return windows


def _shorten(tokenizer: Any, question: str) -> str:
    """Cut a question to its first 64 tokens, at a token's end."""
    encoding = tokenizer.encode(question.strip(), add_special_tokens=False)
    used = [
        offset
        for offset, mask in zip(encoding.offsets, encoding.attention_mask, strict=True)
        if mask
    ]
    if len(used) <= QUESTION_TOKENS:
        return question.strip()
    return question.strip()[: used[QUESTION_TOKENS - 1][1]]


def _context_offsets(encoding: Any) -> list[tuple[int, int] | None]:
    return [
        tuple(offset) if sequence == 1 else None
        for offset, sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
    ]


def best_context(lengths: Sequence[int]) -> list[Array]:
    """For each window of a context, which of its tokens have their best context there.

    A token's score in a window is min(tokens to its left, to its right) + 0.01 x the window's
    tokens; the first window with the best score wins.

    Args:
        lengths: context tokens of each window; each begins ``STRIDE`` tokens before the last ended.
    """
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
