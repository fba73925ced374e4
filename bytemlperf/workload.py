"""A task file read into a :class:`Workload`: checked, with the place and the fix in each error."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bytemlperf.errors import UsageError, did_you_mean

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Load(BaseModel):
    """One open-loop load that is run beside the closed loop: ``--load poisson:100/s:30s``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: Literal["constant", "poisson", "offline"]
    rate: Positive | None = Field(default=None, description="queries a second")
    duration_s: Positive | None = Field(default=None, description="length of the window")
    queries: Count | None = Field(default=None, description="queries, instead of a duration")
    batch_size: Count = Field(default=1, description="samples a query")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.pattern == "offline":
            if self.rate is not None or self.duration_s is not None or self.queries is None:
                raise ValueError("offline takes 'queries' and neither 'rate' nor 'duration_s'")
        elif self.rate is None or (self.duration_s is None) == (self.queries is None):
            raise ValueError(
                f"{self.pattern} takes 'rate' and exactly one of 'duration_s' and 'queries'"
            )
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``poisson:100/s:30s`` (pattern, rate, duration) or ``offline:500``."""
        rated = re.fullmatch(r"(\w+):([\d.]+)/s:([\d.]+)s", text)
        counted = re.fullmatch(r"(\w+):(\d+)", text)
        try:
            if rated:
                pattern, rate, seconds = rated.groups()
                return cls.model_validate(
                    {"pattern": pattern, "rate": float(rate), "duration_s": float(seconds)}
                )
            if counted:
                pattern, queries = counted.groups()
                return cls.model_validate({"pattern": pattern, "queries": int(queries)})
        except (ValidationError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise UsageError(f"--load {text!r}: {reason}") from error
        raise UsageError(
            f"--load {text!r}: expected PATTERN:RATE/s:SECONDSs, e.g. poisson:100/s:30s, "
            "or offline:QUERIES"
        )

    def __str__(self) -> str:
        if self.pattern == "offline":
            return f"offline:{self.queries}"
        extent = f"{self.duration_s:g}s" if self.duration_s else f"{self.queries} queries"
        return f"{self.pattern}:{self.rate:g}/s:{extent}"


class Workload(BaseModel):
    """What a task asks for. The first nine fields are the field's own and required."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", exclude=True, description="the file's stem; not in the file")
    model: str = Field(description="name of the model card")
    test_perf: bool
    test_accuracy: bool
    test_numeric: bool
    clients: Count = Field(description="client threads that submit data")
    iterations: Count = Field(description="queries that each client submits")
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    data_percent: Annotated[float, Field(gt=0, le=100, description="share of the data to score")]
    compile_only: bool

    load: tuple[Load, ...] = ()
    slo_ms: Positive | None = Field(default=None, description="objective for p99 latency")
    warmup_s: Annotated[float, Field(ge=0)] = 1.0
    max_duration_s: Positive | None = Field(default=None, description="bound for a batch size")
    p99_within: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    verify_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    input_tokens: tuple[Count, ...] = ()
    output_tokens: Count | None = None
    perf_time: Positive | None = None
    tp_sizes: tuple[Count, ...] = ()

    @classmethod
    def load_file(cls, path: Path) -> Self:
        """Read one task file.

        Raises:
            UsageError: with file, line, field and the fix.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot read the workload: {error.strerror}") from error
        return cls.parse(text, name=path.stem, where=str(path))
