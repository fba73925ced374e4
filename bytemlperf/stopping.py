"""Run until p99 is known well enough: a sequential rule whose looks are paid for."""

from __future__ import annotations

from bytemlperf import _core
from bytemlperf.distribution import Distribution
from bytemlperf.result import Verdict, interval_series
from bytemlperf.stats import quantile_interval

_FIRST_LOOK_S = 0.5
_GROWTH = 1.5
_ALPHA = 0.05


class StoppingRule:
    """Stops a run when the 95 % interval of p99 lies within ``±share`` of p99.

    The data are looked at when the window is 0.5 s, 0.75 s, 1.1 s, ... long. Look j spends
    alpha / (j (j + 1)) of the error that is allowed, which sums to alpha over all looks, so that
    looking often does not make the interval a lie.
    """

    def __init__(self, share: float, min_duration: float) -> None:
        self._share = share
        self._next_look = max(_FIRST_LOOK_S, min_duration)
        self._looks = 0

    def reached(self, run: _core.Run) -> bool:
        """Look at a run that goes on; True where it may stop."""
        live = run.live()
        if live.phase != _core.Phase.measure or live.elapsed * 1e-9 < self._next_look:
            return False
        self._next_look = _GROWTH * live.elapsed * 1e-9
        self._looks += 1
        latencies = interval_series(run.stamps(), "latency")
        if latencies is None or not latencies.size:
            return False
        confidence = 1.0 - _ALPHA / (self._looks * (self._looks + 1))
        interval, _ = quantile_interval(latencies, 0.99, confidence)
        return interval is not None and self._width(interval) <= self._share

    def verdict(self, latency: Distribution) -> Verdict:
        """Say what was reached in the end."""
        interval = latency.interval(0.99)
        if interval is None:
            detail = f"p99 within ±{self._share:.1%} not reached: {latency.interval_reason(0.99)}"
            return Verdict("p99_within", False, detail, "run longer: raise max_duration")
        width = self._width(interval)
        if width <= self._share:
            return Verdict("p99_within", True, f"p99 is within ±{width:.1%}")
        detail = f"p99 within ±{self._share:.1%} not reached: ±{width:.1%}"
        return Verdict("p99_within", False, detail, "run longer: raise max_duration")

    @staticmethod
    def _width(interval: tuple[float, float]) -> float:
        """Half-width relative to the middle."""
        low, high = interval
        return (high - low) / (high + low) if high > 0 else 0.0
