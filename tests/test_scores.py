"""Metrics beside well-kept libraries, on generated cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bytemlperf.datasets.base import mean_score
from bytemlperf.datasets.scores import area_under_roc, log_loss, perplexity, top_k
from bytemlperf.datasets.squad_score import exact_match, f1_score, normalize

sklearn = pytest.importorskip("sklearn.metrics")


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, classes = draw(st.integers(1, 40)), draw(st.integers(5, 12))
    logits = draw(hnp.arrays(np.float32, (n, classes), elements=st.floats(-9, 9, width=32)))
    return logits, draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1)))


@given(classified())
def test_top_1_counts_as_argmax_and_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    found = top_k(logits, labels, 1)
    assert found.n == len(labels)
    assert round(found.value * found.n) == (logits.argmax(axis=1) == labels).sum()
    assert found.value == sklearn.accuracy_score(labels, logits.argmax(axis=1))
    assert 0 <= found.low <= found.value <= found.high <= 1


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(6, 30), st.integers(0, 2**31))
def test_top_5_counts_as_both_libraries(n: int, classes: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics.functional")
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((n, classes)), rng.integers(0, classes, n)
    hits = round(top_k(logits, labels, 5).value * n)
    theirs = torchmetrics.classification.multiclass_accuracy(
        torch.from_numpy(logits), torch.from_numpy(labels), classes, average="micro", top_k=5
    )
    assert hits == round(float(theirs) * n)
    assert hits == sklearn.top_k_accuracy_score(
        labels, logits, k=5, labels=range(classes), normalize=False
    )


def test_equal_and_broken_logits() -> None:
    equal = np.zeros((3, 5))
    assert top_k(equal, np.array([0, 1, 4]), 1).value == pytest.approx(1 / 3)
    assert top_k(equal, np.array([0, 1, 4]), 2).value == pytest.approx(2 / 3)
    nan = np.full((4, 5), np.nan)
    assert top_k(nan, np.arange(4), 5).value == 0.0
    one = np.zeros((1, 5))
    one[0, 3] = np.nan
    assert top_k(one, np.array([0]), 1).value == 0.0
    assert top_k(one, np.array([0]), 2).value == 1.0


@st.composite
def binary(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 60))
    # Few distinct scores, so that ties are common.
    scores = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1])))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    labels[0], labels[1] = 0, 1
    return scores, labels


@given(binary())
def test_area_and_loss_equal_scikit_learns(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = case
    area = area_under_roc(scores, labels)
    assert area.value == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-12)
    assert 0 <= area.low <= area.value <= area.high <= 1
    loss = log_loss(scores, labels)
    assert loss.value == pytest.approx(sklearn.log_loss(labels, scores), rel=1e-9)
    assert area.n == loss.n == len(labels)


@given(binary())
def test_area_equals_torchmetrics(case: tuple[np.ndarray, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    scores, labels = case
    theirs = torchmetrics.binary_auroc(torch.from_numpy(scores), torch.from_numpy(labels))
    assert area_under_roc(scores, labels).value == pytest.approx(float(theirs), abs=1e-6)


def test_delongs_variance_is_that_of_its_definition() -> None:
    """The structural components by their double sum, as in the paper."""
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(0, 1, 200), 1)
    labels = (scores + rng.normal(0, 1.5, 200) > 0).astype(int)
    x, y = scores[labels == 1], scores[labels == 0]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    variance = wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / len(y)
    found = area_under_roc(scores, labels)
    area = wins.mean()
    half = 1.959963984540054 * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    assert found.low == pytest.approx(1 / (1 + math.exp(half - logit)))
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - logit)))


def test_intervals_of_the_area_cover_it() -> None:
    """Normal scores a distance of 1 apart: the true area is Phi(1 / sqrt 2)."""
    truth = 0.5 * (1 + math.erf(0.5))
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        labels = rng.random(150) < 0.3
        scores = rng.standard_normal(150) + labels
        found = area_under_roc(scores, labels.astype(int))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.985


def test_one_class_or_broken_scores_have_no_area() -> None:
    assert math.isnan(area_under_roc(np.array([0.1, 0.2]), np.array([1, 1])).value)
    assert math.isnan(area_under_roc(np.array([0.1, np.nan]), np.array([0, 1])).value)
    perfect = area_under_roc(np.arange(40.0), (np.arange(40) >= 20).astype(int))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.8 < perfect.low < 0.9


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(2, 30), st.integers(0, 2**31))
def test_perplexity_equals_torchmetrics(n: int, length: int, vocabulary: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics.functional.text")
    rng = np.random.default_rng(seed)
    logits = (4 * rng.standard_normal((n, length, vocabulary))).astype(np.float32)
    targets = rng.integers(0, vocabulary, (n, length))
    targets[:, 1:][rng.random((n, length - 1)) < 0.3] = -100
    theirs = torchmetrics.perplexity(
        torch.from_numpy(logits), torch.from_numpy(targets), ignore_index=-100
    )
    found = perplexity(logits, targets, ignore=-100)
    assert found.value == pytest.approx(float(theirs), rel=2e-5)
    assert found.n == (targets != -100).sum()


WORDS = st.lists(
    st.sampled_from(["the", "a", "Sea", "sea,", "blue", "two", "moon!", "x-y", "an"]), max_size=6
).map(" ".join)


@settings(max_examples=60)
@given(st.lists(st.tuples(WORDS, st.lists(WORDS.filter(normalize), min_size=1, max_size=3)),
                min_size=1, max_size=6))  # fmt: skip
def test_exact_match_and_f1_equal_torchmetrics(
    questions: list[tuple[str, list[str]]],
) -> None:
    """An answer of articles alone is left out: SQuAD v1.1's own script gives it no F1."""
    pytest.importorskip("torch")
    squad = pytest.importorskip("torchmetrics.functional.text").squad
    theirs = squad(
        [{"prediction_text": p, "id": str(i)} for i, (p, _) in enumerate(questions)],
        [
            {"answers": {"answer_start": [0] * len(a), "text": a}, "id": str(i)}
            for i, (_, a) in enumerate(questions)
        ],
    )
    exact = mean_score([max(exact_match(p, t) for t in a) for p, a in questions], 100.0)
    f1 = mean_score([max(f1_score(p, t) for t in a) for p, a in questions], 100.0)
    assert exact.value == pytest.approx(float(theirs["exact_match"]), rel=1e-6)
    assert f1.value == pytest.approx(float(theirs["f1"]), rel=1e-6)
    assert exact.n == f1.n == len(questions)
