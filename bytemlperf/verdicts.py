"""Whether a run's figures can be trusted, and what to change where they cannot."""

from __future__ import annotations

from collections.abc import Mapping

from bytemlperf import _core
from bytemlperf.distribution import Distribution
from bytemlperf.result import Verdict

# A client that is late by more than this share of the latency measures itself.
_LAG_SHARE = 0.05
_LAG_FLOOR_S = 100e-6
_DRIFT_PPM = 50.0


def judge(
    data: _core.RunData, parts: Mapping[str, Distribution], *, open_loop: bool
) -> list[Verdict]:
    """Return every verdict on a run, the good ones too."""
    verdicts = [_answers(data), _clock(data)]
    if open_loop:
        verdicts.append(_lag(parts["schedule_lag"], parts["latency"]))
    return verdicts


def _answers(data: _core.RunData) -> Verdict:
    lost = [
        f"{count} {what}"
        for count, what in (
            (data.errors, "failed"),
            (data.timeouts, "timed out"),
            (data.repeated, "were completed twice"),
        )
        if count
    ]
    if data.abandoned:
        lost.append(f"{data.abandoned} instance(s) hold a call that did not return")
    if lost:
        detail = f"of {data.planned} queries {', '.join(lost)}"
        return Verdict("answers", False, detail, "see error_types; their latency is not counted")
    if data.completed == 0:
        return Verdict("answers", False, "no query was answered", "see error_types")
    return Verdict("answers", True, "every query that was sent was answered")


def _clock(data: _core.RunData) -> Verdict:
    drift = abs(data.clock_drift_ppm)
    detail = f"the clock drifted by {drift:.1f} ppm"
    return Verdict("clock", drift <= _DRIFT_PPM, detail, "use clock='monotonic'")


def _lag(lag: Distribution, latency: Distribution) -> Verdict:
    """Client lateness is charged to latency; this says whether it dominates its tail."""
    if not latency.count:
        return Verdict("schedule_lag", True, "nothing was measured")
    late, allowed = lag.p99, max(_LAG_FLOOR_S, _LAG_SHARE * latency.p99)
    detail = f"p99 of the clients' own lag is {late * 1e6:.0f} us (allowed {allowed * 1e6:.0f} us)"
    remedy = "the client was late, not the backend: lower the rate or free a core for the client"
    return Verdict("schedule_lag", late <= allowed, detail, remedy)
