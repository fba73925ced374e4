"""Statistics that stay true under queueing: neighbouring latencies are not independent samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bytemlperf.backend import Array

# Sokal's window: the autocorrelation is summed up to the first lag above this many times itself.
_SOKAL = 5.0
# Longer series are averaged in blocks first; the blocks' own correlation is then what is left.
_LONGEST_SERIES = 1 << 20
_FEWEST_WINDOWS = 32


def effective_sample_size(indicator: Array) -> float:
    """Return how many independent samples the mean of a correlated 0/1 series is worth.

    n_eff = p(1-p) / Var(mean). With the integrated autocorrelation time
    tau = 1 + 2 * sum(rho_k), k up to the first M >= 5 tau(M) (Sokal, Monte Carlo Methods in
    Statistical Mechanics, 1996), the variance of the mean is p(1-p) tau / n.

    Args:
        indicator: bool, shape [n], in the order of time.

    Returns:
        A number in (0, n]; n where the series is constant.
    """
    n = indicator.size
    p = float(np.mean(indicator))
    if n < 2 or p in (0.0, 1.0):
        return float(n)
    block = math.ceil(n / _LONGEST_SERIES)
    used = n - n % block
    series = np.asarray(indicator[:used], np.float64).reshape(-1, block).mean(axis=1) - p
    variance = float(np.mean(series * series))
    if variance == 0.0:
        return float(n)
    variance_of_mean = variance * _autocorrelation_time(series) / series.size
    return float(min(n, p * (1.0 - p) / variance_of_mean))


def _autocorrelation_time(series: Array) -> float:
    """Integrated autocorrelation time of a centred series, at least 1."""
    m = series.size
    padded = 1 << (2 * m - 1).bit_length()
    spectrum = np.fft.rfft(series, padded)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), padded)[:m]
    taus = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    beyond = np.nonzero(np.arange(m) >= _SOKAL * taus)[0]
    return max(1.0, float(taus[beyond[0] if beyond.size else m - 1]))


def quantile_rank(n: int, q: float) -> int:
    """Rank (1-based) of the q-quantile among n: the smallest x with F(x) >= q."""
    return max(1, math.ceil(q * n - 1e-9))


def quantile_interval(
    values: Array, q: float, confidence: float
) -> tuple[tuple[float, float] | None, str]:
    """Interval for the q-quantile of a correlated series from its order statistics.

    The ranks are those of the binomial interval for n_eff independent samples, carried over to
    the n that were seen; n_eff comes from the indicator of exceeding the quantile.

    Args:
        values: shape [n], in the order of time.
        q: in (0, 1).
        confidence: two-sided, e.g. 0.95.

    Returns:
        ``((low, high), "")``, or ``(None, reason)`` where the data cannot say.
    """
    n = values.size
    if n == 0:
        return None, "nothing was completed"
    ordered = np.sort(values)
    estimate = ordered[quantile_rank(n, q) - 1]
    if ordered[0] == ordered[-1]:
        return (float(estimate), float(estimate)), ""
    n_eff = effective_sample_size(values > estimate)
    whole = max(1, math.floor(n_eff))
    low, high = binomial_ranks(whole, q, confidence)
    if low < 1 or high > whole:
        return None, _too_few(n, whole, q, confidence)
    scale = n / whole
    first = min(n, max(1, math.floor(low * scale)))
    last = min(n, max(1, math.ceil(high * scale)))
    return (float(ordered[first - 1]), float(ordered[last - 1])), ""


def windowed_interval(
    windows: Sequence[tuple[Array, Array]],
    highest: Array,
    counts: Array,
    q: float,
    confidence: float,
) -> tuple[tuple[float, float] | None, str]:
    """The same interval where only histograms of windows of time were kept.

    n_eff = p(1-p) / Var(p), where p is the share above the quantile and its variance comes from the
    spread of that share between windows, N the queries of all and W the windows:
    ``Var(p) = W/(W-1) sum((n_w (p_w - p) / N)**2)`` (batch means; windows are longer than the
    correlation between queries).

    Args:
        windows: (highest value of a bucket in ns, ascending; its count) of each window.
        highest, counts: the same of all windows together.
        q: in (0, 1).
        confidence: two-sided, e.g. 0.95.

    Returns:
        ``((low, high), "")`` in seconds, or ``(None, reason)`` where the data cannot say.
    """
    if len(windows) < _FEWEST_WINDOWS:
        return None, f"the run was too short for {_FEWEST_WINDOWS} windows and kept no raw stamps"
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])

    def at_rank(rank: int) -> int:
        return int(highest[np.searchsorted(cumulative, max(1, min(total, rank)))])

    estimate = at_rank(quantile_rank(total, q))
    sizes = np.array([float(n.sum()) for _, n in windows])
    above = np.array([float(n[values > estimate].sum()) for values, n in windows])
    p = above.sum() / total
    if p == 0.0:
        return None, f"nothing lies above p{100 * q:g} in its bucket"
    spread = (above - p * sizes) / total
    variance = len(windows) / (len(windows) - 1) * float(np.sum(spread * spread))
    n_eff = min(total, p * (1 - p) / variance) if variance > 0 else total
    whole = max(1, math.floor(n_eff))
    low, high = binomial_ranks(whole, q, confidence)
    if low < 1 or high > whole:
        return None, _too_few(total, whole, q, confidence)
    scale = total / whole
    return (
        at_rank(math.floor(low * scale)) * 1e-9,
        at_rank(math.ceil(high * scale)) * 1e-9,
    ), ""


def binomial_ranks(n: int, q: float, confidence: float) -> tuple[int, int]:
    """Ranks (l, u) with P(x_(l) <= quantile <= x_(u)) >= confidence for n independent samples;
    l is 0 and u is n + 1 where no sample is far enough out."""
    from scipy.special import bdtr, bdtrik

    tail = (1.0 - confidence) / 2.0

    def ppf(probability: float) -> int:
        """Smallest k with P(Binomial(n, q) <= k) >= probability."""
        guess = bdtrik(probability, n, q)
        k = max(0, math.floor(guess) - 1) if math.isfinite(guess) else 0
        while bdtr(k, n, q) < probability:
            k += 1
        return k

    return ppf(tail), ppf(1.0 - tail) + 1


def _too_few(n: int, worth: int, q: float, confidence: float) -> str:
    need = samples_needed(q, confidence)
    return (
        f"{n} queries are worth {worth} independent ones; "
        f"a {confidence:.0%} interval of p{100 * q:g} needs {need}"
    )


def samples_needed(q: float, confidence: float) -> int:
    """Fewest independent samples whose largest and smallest can enclose the quantile."""
    tail = (1.0 - confidence) / 2.0
    return math.ceil(max(math.log(tail) / math.log(q), math.log(tail) / math.log1p(-q)))
