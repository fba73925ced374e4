"""A task file read into a :class:`Workload`: checked, with the place and the fix in each error."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bytemlperf import jsonc
from bytemlperf.errors import UsageError, did_you_mean
from bytemlperf.load import Count, Load, Positive


class Workload(BaseModel):
    """What a task asks for. The first nine fields are the field's own and required."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="name of the model card")
    test_perf: bool = Field(description="measure performance")
    test_accuracy: bool = Field(description="score the model on its data set")
    test_numeric: bool = Field(description="compare outputs with the CPU reference")
    clients: Count = Field(description="client threads that submit data")
    iterations: Count = Field(description="queries that each client submits")
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    data_percent: Annotated[float, Field(gt=0, le=100, description="share of the data to score")]
    compile_only: bool = Field(description="stop when the model is compiled")

    loads: tuple[Load, ...] = Field(default=(), alias="load", description="open-loop loads")
    slo_ms: Positive | None = Field(default=None, description="objective for p99 latency")
    warmup_s: Annotated[float, Field(ge=0)] = 0.5
    max_duration_s: Positive | None = Field(default=None, description="bound for a batch size")
    p99_within: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    verify_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="of the replies under load, held against the reference or those without load",
    )
    input_tokens: tuple[Count, ...] = ()
    output_tokens: Count | None = None
    perf_time: Positive | None = None
    tp_sizes: tuple[Count, ...] = ()

    @classmethod
    def load(cls, name_or_path: str, workload_dir: Path | None = None) -> Self:
        """Read a task by its name (in ``workload_dir``, then in ``workloads/``) or its path.

        Raises:
            UsageError: for an unknown name, or with file, line, field and the fix.
        """
        return cls.parse(*_find(name_or_path, workload_dir))

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read the text of a task file; ``where`` names it in errors."""
        try:
            data = jsonc.loads(text)
        except ValueError as error:
            at = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise UsageError(f"{where}{at}: not JSON: {reason}") from error
        if not isinstance(data, dict):
            raise UsageError(f"{where}:1: a workload is a JSON object")
        try:
            return cls.model_validate(data, strict=False)
        except ValidationError as error:
            problems = [_problem(cls, text, where, e) for e in error.errors()]
            raise UsageError("\n".join(problems)) from error

    def with_changes(self, **changes: Any) -> Self:
        """Return a copy in which flags have won over fields; values are checked again."""
        data = self.model_dump(by_alias=True) | changes
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"--{field}: {first['msg']}, not {first['input']!r}") from error

    def quick(self) -> Self:
        """Return the same task in seconds: smallest and largest batch size, few queries."""
        sizes = sorted(set(self.batch_sizes))
        return self.with_changes(
            batch_sizes=sorted({sizes[0], sizes[-1]}),
            iterations=min(self.iterations, 20),
            max_duration_s=min(self.max_duration_s or 5.0, 5.0),
            data_percent=min(self.data_percent, 10.0),
            warmup_s=min(self.warmup_s, 0.2),
        )


def list_workloads(workload_dir: Path | None = None) -> list[str]:
    """Return the names of all tasks, sorted; the user's own among them."""
    shipped = (f.name for f in resources.files("bytemlperf.workloads").iterdir())
    own = (f.name for f in workload_dir.iterdir()) if workload_dir else ()
    return sorted({n.removesuffix(".json") for n in (*shipped, *own) if n.endswith(".json")})


def _find(name_or_path: str, workload_dir: Path | None) -> tuple[str, str]:
    """Return (text, where) of a task file."""
    if workload_dir is not None and not workload_dir.is_dir():
        raise UsageError(f"--workload_dir {workload_dir}: no such folder")
    path = Path(name_or_path)
    if path.suffix != ".json":
        known = list_workloads(workload_dir)
        if name_or_path not in known:
            raise UsageError(
                f"unknown task {name_or_path!r}{did_you_mean(name_or_path, known)} "
                "(--show_task_list shows them; a path to a .json file works too)"
            )
        own = workload_dir / f"{name_or_path}.json" if workload_dir else None
        if own is None or not own.exists():
            file = resources.files("bytemlperf.workloads") / f"{name_or_path}.json"
            return file.read_text(encoding="utf-8"), f"workloads/{name_or_path}.json"
        path = own
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the workload: {error.strerror}") from error


def _problem(cls: type[BaseModel], text: str, where: str, error: Any) -> str:
    """Return one line: file, line, field, what is wrong and how to mend it."""
    place: tuple[str | int, ...] = error["loc"]
    field = ".".join(str(part) for part in place) or "load"
    line = f"{where}:{jsonc.line_of(text, place)}"
    if error["type"] == "extra_forbidden":
        model = Load if place[0] == "load" else cls
        known = [f.alias or name for name, f in model.model_fields.items()]
        return f"{line}: unknown field {field!r}{did_you_mean(str(place[-1]), known)}"
    if error["type"] == "missing":
        return f"{where}: the field {field!r} is missing"
    return f"{line}: {field}: {error['msg']}, not {error['input']!r}"
