"""Whether a run's figures can be trusted, and what to change where they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bytemlperf import _core
from bytemlperf.distribution import Distribution
from bytemlperf.result import Overhead, Verdict
from bytemlperf.stationarity import stationarity
from bytemlperf.stats import samples_needed
from bytemlperf.windows import Windows

# A client that is late by more than this share of the latency measures itself.
_LAG_SHARE = 0.05
_LAG_FLOOR_S = 100e-6
_DRIFT_PPM = 50.0
# A client that computes for more of its time than this is late before it can know.
_CLIENT_CPU = 0.5
# Times a second that a thread of the generator has to be preempted to be worth a word.
_PREEMPTED = 50.0
# What the harness may take beyond its calibration, and of a cycle, before it is named; of a cycle
# before the run is invalid.
_SLOWED_S, _SLOWED_SHARE, _SLOWED_INVALID = 5e-6, 0.02, 0.1
_FLOOR_SHARE = 0.1
# An open loop whose latency at the end is this many times that at the start has a growing queue.
_OVERLOAD = 2.0
# Shares of the queries above p99.
_CLIENT_BLAMED = 0.5


@dataclass(frozen=True)
class Facts:
    """What a run is judged by."""

    data: _core.RunData
    parts: Mapping[str, Distribution]
    windows: Windows
    open_loop: bool
    # The load itself is even: what changes is the backend's, or the queue's, doing.
    steady: bool
    # Times of threads; False on the virtual clock, where nothing takes any.
    wall: bool
    causes: Mapping[str, float]
    overhead: Overhead | None
    null_backend: bool = False
    # The measured median of an isolated backend's bridge, both ways; None where there is none.
    hop_us: float | None = None


def judge(facts: Facts) -> list[Verdict]:
    """Return every verdict on a run, the good ones too."""
    data, latency = facts.data, facts.parts["latency"]
    verdicts = [_answers(data), _samples(latency)]
    if data.timeouts:
        verdicts.append(_censored(data))
    if facts.steady:
        verdicts.append(_course(facts.windows, facts.open_loop))
    if facts.wall:
        verdicts += [_clock(data), _host(data, facts.open_loop)]
    if facts.open_loop and latency.count:
        verdicts.append(_lag(facts.parts["schedule_lag"], latency, facts.causes))
        if facts.wall and not data.spinning:
            verdicts.append(_client_cpu(data))
    if facts.overhead is not None and latency.count and not facts.null_backend:
        service = facts.parts["service_time"]
        verdicts.append(_overhead(facts.overhead, service, latency, facts.hop_us))
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


def _samples(latency: Distribution) -> Verdict:
    need = samples_needed(0.99, 0.95)
    # Equal latencies, as a device model has them, are their own interval.
    ok = latency.count >= need or latency.min == latency.max
    detail = f"{latency.count} queries; an interval of p99 needs {need} at least"
    remedy = "run longer: raise queries or duration (iterations in a workload)"
    return Verdict("samples", ok, detail, remedy, "advice")


def _censored(data: _core.RunData) -> Verdict:
    """A timed-out query's latency is known to be above the timeout, and no more."""
    share = data.timeouts / max(1, data.completed + data.timeouts)
    detail = (
        f"{share:.2%} of the queries timed out: quantiles above p{100 * (1 - share):.4g} of all "
        "queries lie beyond the timeout, those shown are of the answered ones"
    )
    return Verdict("censoring", False, detail, "raise timeout, or lower the load")


def _course(windows: Windows, open_loop: bool) -> Verdict:
    found = stationarity(windows)
    if found.course in ("plateau", "unknown"):
        return Verdict("stationarity", True, str(found))
    if found.course == "warming up":
        remedy = f"give warmup={_round_up(found.at)} or more (warmup_s in a workload)"
        return Verdict("stationarity", False, str(found), remedy, "advice")
    first_to_last = (1 + found.change / 2) / max(1e-9, 1 - found.change / 2)
    if open_loop and found.course == "drifting up" and first_to_last > _OVERLOAD:
        detail = f"{found}: the queue grows, so every figure depends on the length of the run"
        return Verdict("stationarity", False, detail, "lower the rate below what is served")
    remedy = "run until it settles, fix clocks and cooling, or report the parts on their own"
    return Verdict("stationarity", False, str(found), remedy, "advice")


def _round_up(seconds: float) -> str:
    return f"{1.1 * seconds:.2g}"


def _clock(data: _core.RunData) -> Verdict:
    drift = abs(data.clock_drift_ppm)
    detail = f"the clock drifted by {drift:.1f} ppm"
    return Verdict("clock", drift <= _DRIFT_PPM, detail, "use clock='monotonic'")


def _host(data: _core.RunData, open_loop: bool) -> Verdict:
    """Preemption: other work on the cores that the generator thought were its own."""
    worst = max(
        (1e9 * t.involuntary_switches / t.wall for t in data.threads if t.wall > 0), default=0.0
    )
    detail = f"a thread of the run was preempted {worst:.0f} times a second"
    if open_loop and data.spinning:
        detail += ", and clients spin until a query is due"
    remedy = "stop other work, or give the run cores of its own: pin=Pin(clients, instances)"
    return Verdict("host", worst < _PREEMPTED, detail, remedy, "advice")


def _lag(lag: Distribution, latency: Distribution, causes: Mapping[str, float]) -> Verdict:
    """Client lateness is charged to latency; this says whether it dominates its tail."""
    late, allowed = lag.p99, max(_LAG_FLOOR_S, _LAG_SHARE * latency.p99)
    detail = f"p99 of the clients' own lag is {late * 1e6:.0f} us (allowed {allowed * 1e6:.0f} us)"
    client = causes.get("client", 0.0)
    if client > _CLIENT_BLAMED:
        detail += f"; of the queries above p99 the client itself made {client:.0%} late"
    remedy = "the client was late, not the backend: lower the rate or free a core for the client"
    tail = client > _CLIENT_BLAMED and lag.max > max(_LAG_FLOOR_S, _LAG_SHARE * latency.max)
    if late <= allowed and tail:  # beyond p99 only
        return Verdict("schedule_lag", False, detail, remedy, "advice")
    return Verdict("schedule_lag", late <= allowed, detail, remedy)


def _client_cpu(data: _core.RunData) -> Verdict:
    """Of clients that sleep until the next query is due: what they compute is all overhead."""
    share = max((t.cpu / t.wall for t in data.threads if t.client and t.wall > 0), default=0.0)
    detail = f"a client thread was computing for {share:.0%} of its time"
    remedy = "give the pattern more clients=, or lower the rate"
    return Verdict("client_cpu", share <= _CLIENT_CPU, detail, remedy, "advice")


def _overhead(
    overhead: Overhead, service: Distribution, latency: Distribution, hop_us: float | None
) -> Verdict:
    """The harness beside what it measures: slowed down in this run, or too large for the backend."""
    bridge, isolated_remedy = "", ""
    if hop_us is not None:
        bridge = f"; the bridge to the backend's own process takes {hop_us:.3g} us of each query"
        isolated_remedy = "measure short queries without isolation, or larger batches"
    turnaround = overhead.turnaround
    if turnaround is not None:
        share = turnaround / (turnaround + service.p50) if turnaround > 0 else 0.0
        if turnaround - overhead.per_query > _SLOWED_S and share > _SLOWED_SHARE:
            detail = (
                f"the harness takes {_micro(turnaround)} from an answer to the next query, "
                f"{share:.0%} of each cycle (calibrated: {_micro(overhead.per_query)}){bridge}"
            )
            remedy = isolated_remedy or (
                "keep_outputs copies, and so does gathering samples: keep a share of them or none, "
                "and free a core"
            )
            return Verdict(
                "overhead",
                False,
                detail,
                remedy,
                "invalid" if share > _SLOWED_INVALID else "advice",
            )
    detail = (
        f"the harness adds {_micro(overhead.floor)} to a latency of {_micro(latency.p50)}{bridge}"
    )
    remedy = (
        isolated_remedy or "measure larger batches, or a native backend where this one is Python"
    )
    ok = overhead.floor <= _FLOOR_SHARE * latency.p50
    return Verdict("overhead", ok, detail, remedy, "advice")


def _micro(value: float) -> str:
    return f"{1e9 * value:.0f} ns" if value < 1e-6 else f"{1e6 * value:.4g} us"
