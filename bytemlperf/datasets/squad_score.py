"""SQuAD v1.1 answers and scores: the official definitions, over questions."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets.squad_features import Window

N_BEST = 20
LONGEST_ANSWER = 30

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)


def best_answer(context: str, scored: Sequence[tuple[Window, Array, Array]]) -> str:
    """Return the text with the largest start + end logit over a question's windows.

    Of each window the 20 best starts and ends are paired; a span lies within the context, ends at
    or after its start, has at most 30 tokens, and starts where its window has the best context.
    """
    best, answer = -np.inf, ""
    for window, start, end in scored:
        ends = np.argsort(-end, kind="stable")[:N_BEST]
        for s in np.argsort(-start, kind="stable")[:N_BEST]:
            first = window.offsets[s]
            if first is None or not window.best_context[s]:
                continue
            for e in ends:
                last = window.offsets[e]
                if last is None or not 0 <= e - s < LONGEST_ANSWER:
                    continue
                if (score := float(start[s]) + float(end[e])) > best:
                    best, answer = score, context[first[0] : last[1]]
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
