"""SQuAD v1.1 answers and scores: the official definitions, over questions."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets.squad_features import Windows

N_BEST = 20
LONGEST_ANSWER = 30

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)


def best_answer(context: str, windows: Windows, scored: Sequence[tuple[int, Array, Array]]) -> str:
    """Return the text with the largest start + end logit over a question's windows.

    ``scored`` has (row of ``windows``, start logits, end logits) of each.

    Of each window the 20 best starts and ends are paired; a span lies within the context, ends at
    or after its start, has at most 30 tokens, and starts where its window has the best context.
    """
    best, answer = -np.inf, ""
    for row, start, end in scored:
        offsets = windows.offsets[row]
        starts = np.argsort(-start, kind="stable")[:N_BEST]
        ends = np.argsort(-end, kind="stable")[:N_BEST]
        starts = starts[windows.best_context[row][starts]]
        ends = ends[offsets[ends, 1] >= 0]
        span = ends - starts[:, None]
        sums = start[starts].astype(np.float64)[:, None] + end[ends].astype(np.float64)
        sums = np.where((span >= 0) & (span < LONGEST_ANSWER) & ~np.isnan(sums), sums, -np.inf)
        if sums.size and (largest := sums.max()) > best:
            s, e = np.unravel_index(sums.argmax(), sums.shape)
            best, answer = largest, context[offsets[starts[s], 0] : offsets[ends[e], 1]]
    return answer


def normalize(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces."""
    plain = "".join(c for c in text.lower() if c not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(answer: str, truth: str) -> float:
    """1.0 where the normalised texts are equal."""
    return float(normalize(answer) == normalize(truth))


def f1_score(answer: str, truth: str) -> float:
    """Harmonic mean of precision and recall over the words that both have."""
    words, expected = normalize(answer).split(), normalize(truth).split()
    common = (Counter(words) & Counter(expected)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(words), common / len(expected)
    return 2 * precision * recall / (precision + recall)
