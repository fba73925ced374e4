"""The report: the keys that the field's readers know, and one block with everything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bytemlperf.errors import UsageError

SCHEMA_VERSION = 1

Status = Literal["running", "complete", "interrupted", "failed"]


class _Block(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid", validate_assignment=True)


class GraphCompile(_Block):
    compile_duration: float = Field(
        alias="Compile Duration", description="s, cold: nothing was cached"
    )
    compile_precision: str = Field(alias="Compile Precision")
    subgraph_coverage: float = Field(
        alias="Subgraph Coverage", description="operators on the device, percent"
    )
    optimizations: dict[str, Any] = Field(alias="Optimizations", default_factory=dict)


class Accuracy(BaseModel):
    """``Data Percent``, the data set's metrics by their names, and the numeric differences."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")

    data_percent: float | None = Field(alias="Data Percent", default=None)
    mean_diff: float | None = Field(alias="Mean Diff", default=None)
    std_diff: float | None = Field(alias="Std Diff", default=None)
    max_diff: float | None = Field(alias="Max Diff", default=None)
    max_rel_diff: float | None = Field(alias="Max Rel-Diff", default=None)
    mean_rel_diff: float | None = Field(alias="Mean Rel-Diff", default=None)
    diff_dist: str | None = Field(
        alias="Diff Dist", default=None, description="file with the plot, beside this report"
    )


class Performance(_Block):
    bs: int = Field(alias="BS")
    qps: float = Field(
        alias="QPS", description="samples completed inside the window / its length, s"
    )
    avg_latency: float = Field(alias="AVG Latency", description="ms")
    p99_latency: float = Field(alias="P99 Latency", description="ms, nearest rank")


class IntervalDetail(_Block):
    """One of the five intervals of a query's life, in milliseconds."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    p99_interval_ms: tuple[float, float] | None
    p99_interval_reason: str


class VerdictDetail(_Block):
    name: str
    ok: bool
    detail: str
    remedy: str
    severity: Literal["invalid", "advice"] = Field(
        "invalid", description="advice leaves the run valid"
    )

    @property
    def fatal(self) -> bool:
        """The figures cannot be trusted."""
        return not self.ok and self.severity == "invalid"


class EnergyDetail(_Block):
    """Energy over a run's window, from the host's counters."""

    sources: list[str]
    joules: float
    idle_watts: float = Field(description="measured before the first load")
    net_joules: float = Field(description="idle power subtracted")
    net_joules_per_sample: float
    average_watts: float


class OverheadDetail(_Block):
    """The harness with a backend that answers at once, in the same setup on this host; seconds."""

    per_query: float
    floor: float = Field(description="least latency that it reports for that backend")
    turnaround: float | None = Field(
        description="in this run: from an answer to the next query that could follow at once"
    )


class GenerationDetail(_Block):
    """Tokens of one measured load, timed by the backend from the beginning of a query's call."""

    input_tokens: int
    output_tokens: int
    queries: int
    ttft_ms: float = Field(description="mean time to the first token, without queueing")
    ttft_max_ms: float
    tpot_ms: float | None = Field(description="mean time of each further token; null for one")
    output_tokens_per_second: float = Field(description="of all clients, in the window")


class IsolationDetail(_Block):
    """The bridge to backends in processes of their own, since its instances were loaded."""

    python: str = Field(description="interpreter of the processes")
    hop_p50_us: float | None = Field(description="a query's round trip less its service time")
    hop_p99_us: float | None
    restarts: int
    deaths: list[str]


class RunDetail(_Block):
    """One measured load."""

    load: str
    batch_size: int
    clients: int
    instances: int
    threads_per_instance: int | None
    iterations_asked: float = Field(description="queries a client")
    iterations_done: float
    bounded_by: str
    queries_per_second: float
    samples_per_second: float
    window_s: float
    planned: int
    completed: int
    errors: int
    error_types: dict[str, str]
    unsent: int
    intervals: dict[str, IntervalDetail]
    verdicts: list[VerdictDetail]
    generation: GenerationDetail | None = None
    valid: bool
    overhead: OverheadDetail | None = None
    late_causes: dict[str, float] = Field(
        default_factory=dict,
        description="shares of the queries above p99 by what made them late",
    )
    seed: int
    plan_hash: str | None
    result_file: str | None = Field(description="the whole result, beside this report")
    energy: EnergyDetail | None = Field(default=None, description="null where nothing counts it")
    isolation: IsolationDetail | None = None


class CompileDetail(_Block):
    cold_s: float = Field(description="first compilation, remembered when it is cached")
    cached_s: float = Field(description="the same again, from the compiler's own cache")
    first_inference_s: dict[str, float] = Field(description="by batch size")
    version: str
    segments: int
    operators: int
    fallback_operators: dict[str, int]
    peak_memory_mib: float | None = Field(
        default=None, description="of this process in the cold compilation, null if unknown"
    )
    device_count: int
    notes: dict[str, Any]


class AccuracyDetail(_Block):
    dataset: str
    sample_data: bool
    samples: int
    metrics: dict[str, dict[str, float]] = Field(description="value, 95 % interval, n")
    meaning: str


class OutputDifference(_Block):
    mean_diff: float
    std_diff: float
    max_diff: float
    max_rel_diff: float
    mean_rel_diff: float
    cosine: float
    snr_db: float | None = Field(description="null where there is no difference at all")
    ulps: dict[int, int] = Field(
        description="pairs by distance: key k counts below 2**k and from 2**(k-1) units in the "
        "last place of the coarser format, key 0 equal ones"
    )
    nan: int
    inf: int
    nan_reference: int
    inf_reference: int


class NumericDetail(_Block):
    reference: str
    data: str
    samples: int
    outputs: dict[str, OutputDifference]
    tolerance: float
    tolerance_definition: str = "|d| <= tolerance"
    tolerance_by_output: dict[str, float] = Field(
        default_factory=dict, description="largest accepted |d| of each output, absolute"
    )
    within_tolerance: bool
    verdict: VerdictDetail | None = None
    worst: list[str]
    by_sample_file: str = Field(description="every sample and output, beside this report")


class ConformanceCheck(_Block):
    name: str
    outcome: Literal["passed", "failed", "crashed", "hung", "not applicable", "not run"]
    detail: str
    seconds: float


class Conformance(_Block):
    """What ``bytemlperf check-backend`` found; a later report of the same files repeats it."""

    backend: str
    date: str
    version: str = Field(description="of bytemlperf")
    backend_version: str = Field(description="what the backend says about its SDK")
    task: str
    preset: str
    simulated: bool
    checks: list[ConformanceCheck]

    @property
    def passed(self) -> int:
        """How many checks passed, or do not apply to this backend."""
        return sum(check.outcome in ("passed", "not applicable") for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed, crashed or hung; others may not have run for that."""
        bad = ("failed", "crashed", "hung")
        return [check.name for check in self.checks if check.outcome in bad]


class StepDetail(_Block):
    name: str
    seconds: float
    outcome: str


class Details(_Block):
    schema_version: int = SCHEMA_VERSION
    status: Status = "running"
    failure: str | None = None
    command: list[str] = Field(default_factory=list)
    workload: dict[str, Any] = Field(default_factory=dict)
    preset: str = "full"
    parameters: int | None = None
    weights_sha256: str | None = None
    export_difference: float | None = None
    steps: list[StepDetail] = Field(default_factory=list)
    compile: CompileDetail | None = None
    accuracy: AccuracyDetail | None = None
    accuracy_skipped: str | None = None
    numeric: NumericDetail | None = None
    honesty: list[VerdictDetail] = Field(default_factory=list)
    performance: list[RunDetail] = Field(default_factory=list)
    loads: list[RunDetail] = Field(default_factory=list)
    power: str | None = Field(default=None, description="what counts energy, or why nothing does")
    environment: dict[str, Any] = Field(default_factory=dict)
    isolated: bool = Field(default=False, description="the backend ran in processes of its own")
    conformance: Conformance | None = Field(
        default=None, description="null where these files of the backend were not checked"
    )

    @property
    def verdicts(self) -> list[VerdictDetail]:
        """Those on the backend's answers, without load."""
        numeric = self.numeric.verdict if self.numeric else None
        return [*([numeric] if numeric else []), *self.honesty]


class Report(_Block):
    model: str = Field(alias="Model")
    backend: str = Field(alias="Backend")
    host_info: str = Field(alias="Host Info")
    dataset: str | None = Field(alias="Dataset", default=None)
    simulated: bool = Field(alias="Simulated")
    weights: str | None = Field(alias="Weights", default=None)
    graph_compile: GraphCompile | None = Field(alias="Graph Compile", default=None)
    accuracy: Accuracy | None = Field(alias="Accuracy", default=None)
    performance: list[Performance] = Field(alias="Performance", default_factory=list)
    instance_count: int | None = Field(alias="Instance Count", default=None)
    device_count: int | None = Field(alias="Device Count", default=None)
    version: str = Field(alias="Version")
    execution_date: str = Field(alias="Execution Date")
    details: Details = Field(alias="Details", default_factory=Details)

    @property
    def valid(self) -> bool:
        """True where every measured load is valid, and the backend computes the right answers."""
        runs = (*self.details.performance, *self.details.loads)
        return all(run.valid for run in runs) and not any(v.fatal for v in self.details.verdicts)

    def save(self, path: Path) -> None:
        """Write JSON; a reader sees the old report or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(
            self.model_dump_json(by_alias=True, exclude_none=False, indent=2), encoding="utf-8"
        )
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a report.

        Raises:
            UsageError: naming the file and the key that is wrong.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path}: cannot read the report: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{path}: not a report: {key}: {first['msg']}") from error


def report_path(
    output_dir: Path, backend: str, model: str, precision: str, *, simulated: bool
) -> Path:
    """Return where a report lies: simulated figures never share a folder with measured ones."""
    folder = f"{backend}-simulated" if simulated else backend
    name = precision.lower().replace("/", "-")
    return output_dir / folder / model / f"result-{name}.json"


if __name__ == "__main__":
    import json

    print(json.dumps(Report.model_json_schema(by_alias=True), indent=1))
