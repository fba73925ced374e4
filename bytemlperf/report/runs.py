"""From a run's :class:`~bytemlperf.Result` to its place in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

from bytemlperf.backend import TokenTimes
from bytemlperf.distribution import Distribution
from bytemlperf.report.schema import (
    EnergyDetail,
    GenerationDetail,
    IntervalDetail,
    IsolationDetail,
    OverheadDetail,
    Performance,
    RunDetail,
    VerdictDetail,
)
from bytemlperf.result import INTERVALS, Result


def run_detail(
    result: Result,
    *,
    clients: int,
    threads_per_instance: int | None,
    max_duration_s: float | None,
    result_file: str | None,
    energy: EnergyDetail | None,
) -> RunDetail:
    """Return everything that the report keeps of one run."""
    isolation = result.environment.get("isolation")
    return RunDetail(
        load=result.pattern,
        batch_size=result.batch_size,
        clients=clients,
        instances=result.instances,
        threads_per_instance=threads_per_instance,
        iterations_asked=result.planned / clients,
        iterations_done=(result.completed + result.errors) / clients,
        bounded_by=_bound(result, max_duration_s),
        queries_per_second=result.queries_per_second,
        samples_per_second=result.samples_per_second,
        window_s=result.duration,
        planned=result.planned,
        completed=result.completed,
        errors=result.errors,
        error_types={k: f"{v.count} x {v.first}" for k, v in result.error_types.items()},
        unsent=result.unsent,
        intervals={name: interval_detail(getattr(result, name)) for name in INTERVALS}
        if result.completed
        else {},
        verdicts=[VerdictDetail(**asdict(verdict)) for verdict in result.verdicts],
        valid=result.valid,
        overhead=OverheadDetail(**asdict(result.overhead)) if result.overhead else None,
        late_causes=dict(result.late_causes),
        seed=result.seed,
        plan_hash=result.plan_hash,
        result_file=result_file,
        energy=energy,
        isolation=IsolationDetail(**isolation) if isolation else None,
    )


def generation_detail(
    result: Result, times: Sequence[TokenTimes], input_tokens: int
) -> GenerationDetail:
    """Return the token times of a run; ``times`` are those of its queries."""
    tokens = times[0].tokens
    further = [(t.last_s - t.first_s) / (t.tokens - 1) for t in times if t.tokens > 1]
    return GenerationDetail(
        input_tokens=input_tokens,
        output_tokens=tokens,
        queries=len(times),
        ttft_ms=1e3 * fmean(t.first_s for t in times),
        ttft_max_ms=1e3 * max(t.first_s for t in times),
        tpot_ms=1e3 * fmean(further) if further else None,
        output_tokens_per_second=tokens * result.samples_per_second,
    )


def _bound(result: Result, max_duration_s: float | None) -> str:
    if result.interrupted:
        return "interrupted"
    if result.unsent and max_duration_s is not None:
        return f"max_duration_s {max_duration_s:g}"
    return "all queries done"


def interval_detail(distribution: Distribution) -> IntervalDetail:
    """Return a distribution in milliseconds."""
    interval = distribution.interval(0.99)
    return IntervalDetail(
        mean_ms=1e3 * distribution.mean,
        p50_ms=1e3 * distribution.p50,
        p90_ms=1e3 * distribution.p90,
        p95_ms=1e3 * distribution.p95,
        p99_ms=1e3 * distribution.p99,
        p999_ms=1e3 * distribution.p999,
        max_ms=1e3 * distribution.max,
        p99_interval_ms=(1e3 * interval[0], 1e3 * interval[1]) if interval else None,
        p99_interval_reason=distribution.interval_reason(0.99),
    )


def performance_row(result: Result) -> Performance:
    """Return the row that the field's readers know."""
    return Performance(
        bs=result.batch_size,
        qps=result.samples_per_second,
        avg_latency=1e3 * result.latency.mean,
        p99_latency=1e3 * result.latency.p99,
    )
