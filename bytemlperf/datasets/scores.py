"""Metrics over arrays: what is counted is exact, and each comes with its 95 % interval and n."""

from __future__ import annotations

import math

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets.base import Z95, Metric, proportion


def top_k(logits: Array, labels: Array, k: int, scale: float = 1.0) -> Metric:
    """Share of rows whose label is among the k largest logits.

    Of equal logits the one with the lower index counts as larger (as argmax decides); a NaN counts
    as larger than any number, and a label whose logit is NaN is never a hit.

    Args:
        logits: [n, classes].
        labels: [n], integers.
    """
    rows = np.arange(len(labels))
    own = logits[rows, labels][:, None]
    before = np.arange(logits.shape[1]) < labels[:, None]
    with np.errstate(invalid="ignore"):
        larger = (logits > own) | ((logits == own) & before) | np.isnan(logits)
    hits = (larger.sum(axis=1) < k) & ~np.isnan(own[:, 0])
    return proportion(int(hits.sum()), len(labels), scale)


def area_under_roc(scores: Array, labels: Array) -> Metric:
    """Area under the ROC curve, ties counted half, with DeLong's 95 % interval.

    The variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 1988) by the midranks of
    Sun and Xu (IEEE Signal Processing Letters 2014), O(n log n). Near 0 and 1 the interval is made
    on the logit of the area, so that it stays inside.

    Args:
        scores: [n], larger for the positive class; NaN in any score gives NaN.
        labels: [n], 0 or 1.
    """
    n = len(labels)
    positive = labels == 1
    m = int(positive.sum())
    if m in (0, n) or np.isnan(scores).any():
        return Metric(math.nan, math.nan, math.nan, n)
    everyone, ones, zeros = (_midranks(s) for s in (scores, scores[positive], scores[~positive]))
    among_ones = (everyone[positive] - ones) / (n - m)  # share of negatives below each positive
    among_zeros = 1.0 - (everyone[~positive] - zeros) / m
    # The sum counts pairs, and half pairs for ties: exact, so the one division rounds once.
    area = float((everyone[positive] - ones).sum() / (m * (n - m)))
    variance = float(_variance(among_ones) / m + _variance(among_zeros) / (n - m))
    if not 0.0 < area < 1.0:
        # Where no pair is in the wrong order the variance is 0: the rule of three bounds the share.
        bound = 1.0 - 0.05 ** (1.0 / min(m, n - m))
        return Metric(area, max(0.0, area - bound), min(1.0, area + bound), n)
    logit = math.log(area / (1.0 - area))
    half = Z95 * math.sqrt(variance) / (area * (1.0 - area))
    low, high = (1.0 / (1.0 + math.exp(-x)) for x in (logit - half, logit + half))
    return Metric(area, low, high, n)


def _midranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse])


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def log_loss(probabilities: Array, labels: Array) -> Metric:
    """Mean negative log-likelihood (nats) of binary labels.

    Probabilities are kept one rounding step of their format away from 0 and 1, as is usual.
    """
    eps = np.finfo(probabilities.dtype).eps
    p = np.clip(probabilities, eps, 1.0 - eps).astype(np.float64)
    return mean_value(-np.where(labels == 1, np.log(p), np.log1p(-p)))


def perplexity(logits: Array, targets: Array, ignore: int | None = None) -> Metric:
    """exp of the mean negative log-likelihood of the next tokens; n counts tokens.

    Args:
        logits: [sequences, positions, vocabulary], of the token at each position.
        targets: [sequences, positions], token ids; those equal to ``ignore`` do not count.
    """
    x = logits.astype(np.float64)
    largest = x.max(axis=-1)
    normalizer = largest + np.log(np.exp(x - largest[..., None]).sum(axis=-1))
    counted = np.ones(targets.shape, bool) if ignore is None else targets != ignore
    ids = np.where(counted, targets, 0)
    own = np.take_along_axis(x, ids[..., None], axis=-1)[..., 0]
    loss = mean_value((normalizer - own)[counted])
    return Metric(math.exp(loss.value), math.exp(loss.low), math.exp(loss.high), loss.n)


def mean_value(values: Array) -> Metric:
    """The mean of any numbers, with a 95 % interval from the normal approximation."""
    n = len(values)
    if n == 0:
        return Metric(math.nan, math.nan, math.nan, 0)
    mean = float(values.mean())
    half = Z95 * math.sqrt(_variance(values) / n)
    return Metric(mean, mean - half, mean + half, n)
