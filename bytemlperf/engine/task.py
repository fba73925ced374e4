"""What was asked for, and what the steps have worked out so far."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from bytemlperf import host
from bytemlperf.backend import (
    Array,
    CompileBackend,
    CompileInfo,
    NativeRuntime,
    RuntimeBackend,
    TokenTimes,
)
from bytemlperf.datasets import Dataset
from bytemlperf.device import NativeBackend
from bytemlperf.engine.options import Answers
from bytemlperf.errors import BytemlperfError
from bytemlperf.isolation import Isolated
from bytemlperf.registry import Backend
from bytemlperf.report.schema import Details, Report, report_path
from bytemlperf.screen import Screen
from bytemlperf.stamp import read_stamp
from bytemlperf.workload import Workload
from bytemlperf.zoo import Card, Model, load_card

Outputs = dict[int, Mapping[str, Array]]


@dataclass(frozen=True)
class ProcessOptions:
    """That the backend runs in processes of its own, and how: see :class:`Isolated`."""

    python: Path | None = None
    hang_after: float = Isolated.hang_after


@dataclass(frozen=True)
class Request:
    """A task on a hardware type, with everything that flags decide."""

    workload: Workload
    backend: Backend
    output_dir: Path = Path("reports")
    data_dir: Path | None = None
    sample_data: bool = False
    weights: Path | None = None
    preset: Literal["full", "tiny"] = "full"
    answers: Answers = field(default_factory=Answers)
    require_hardware: bool = False
    isolated: ProcessOptions | None = None
    command: tuple[str, ...] = ()


class Task:
    """The state that steps read and extend; its report is saved after each of them."""

    def __init__(self, request: Request, screen: Screen, version: str) -> None:
        self.request = request
        self.screen = screen
        self.workload = request.workload
        self.card: Card = load_card(request.workload.model)
        self.compile_class: type[CompileBackend] = request.backend.compile_class()
        self.runtime_class: type[RuntimeBackend | NativeRuntime] = request.backend.runtime_class()
        if self.simulated and request.require_hardware:
            raise BytemlperfError(
                f"{request.backend.name} runs on a device model here, and --require_hardware was "
                "given: install the vendor's SDK on a host with the device"
            )
        self.batch_sizes: tuple[int, ...] = request.workload.batch_sizes
        self.report = Report(
            model=self.card.name.upper(),
            backend=request.backend.name,
            host_info=host.cpu_name(),
            simulated=self.simulated,
            version=version,
            execution_date=time.strftime("%Y-%m-%d %H:%M:%S"),
            details=Details(
                command=list(request.command),
                workload=request.workload.model_dump(mode="json", by_alias=True),
                preset=request.preset,
                environment=host.environment(),
                conformance=read_stamp(request.backend),
                isolated=self.isolated is not None,
            ),
        )
        self._precision = self.card.precision
        self._model: Model | None = None
        self._compiled: CompileInfo | None = None
        self.dataset: Dataset | None = None
        self.samples: list[int] = []
        self.reference: Outputs = {}
        self.outputs: Outputs = {}
        self.token_log: list[TokenTimes] = []

    @property
    def simulated(self) -> bool:
        return self.compile_class.simulated

    @property
    def isolated(self) -> ProcessOptions | None:
        """What was asked for; a device model has no vendor's code to keep away."""
        return None if self.simulated else self.request.isolated

    @property
    def model(self) -> Model:
        if self._model is None:
            raise RuntimeError("the model step has not run")
        return self._model

    @model.setter
    def model(self, model: Model) -> None:
        self._model = model

    @property
    def compiled(self) -> CompileInfo:
        if self._compiled is None:
            raise RuntimeError("the compile step has not run")
        return self._compiled

    @compiled.setter
    def compiled(self, compiled: CompileInfo) -> None:
        self._compiled = compiled
        self._precision = compiled.precision

    @property
    def instances(self) -> int:
        """Instances for performance: one a client, unless the backend wants fewer."""
        if self.simulated:
            return 1
        return min(
            self.workload.clients, self.runtime_class.instance_count or self.workload.clients
        )

    @property
    def threads_per_instance(self) -> int | None:
        found = self.compiled.notes.get("threads_per_instance")
        return None if found is None else int(found)

    def runtime(self) -> partial[RuntimeBackend] | NativeBackend:
        """Return what builds an instance, on the instance's own thread; or a shared library."""
        if issubclass(self.runtime_class, NativeRuntime):
            return self._library(self.runtime_class)
        kind = self.runtime_class
        if self.workload.output_tokens is not None:
            # Instances are built by the generator: they find the log on their class.
            kind = type(kind.__name__, (kind,), {"token_log": self.token_log})
        return partial(kind, self.compiled, self.model, self.workload)

    def _library(self, kind: type[NativeRuntime]) -> NativeBackend:
        native = kind(self.compiled, self.model, self.workload)
        return NativeBackend(native.library(), native.config())

    def backend(self) -> partial[RuntimeBackend] | NativeBackend | Isolated:
        """Return what the generator drives: the runtime, in processes of its own where asked."""
        asked = self.isolated
        if asked is None:
            return self.runtime()
        return Isolated(
            self._movable(asked.python),
            python=asked.python,
            hang_after=asked.hang_after,
            log_dir=self._isolated_logs,
        )

    @cached_property
    def _isolated_logs(self) -> Path:
        """Where the processes of this task write; what an earlier one's wrote is not among it."""
        folder = self.report_file.parent / "runs" / "isolated"
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def _movable(self, python: Path | None) -> partial[RuntimeBackend] | NativeBackend:
        """Return the runtime as a process of its own can be sent it."""
        if issubclass(self.runtime_class, NativeRuntime):
            return self._library(self.runtime_class)  # its path and configuration say it all
        model, workload = self.model.without_source(), self.workload
        if python is not None:
            from bytemlperf.isolation.moving import plain

            model, workload = plain(model), plain(workload)
        return partial(self.runtime_class, self.compiled, model, workload)

    @property
    def report_file(self) -> Path:
        return report_path(
            self.request.output_dir,
            self.request.backend.name,
            self.card.name,
            self._precision,
            simulated=self.simulated,
        )

    def save(self) -> None:
        """Write the report; before the compiler has said in what precision, only its failure."""
        if self._compiled is not None or self.report.details.status != "running":
            self.report.save(self.report_file)

    def note(self, name: str, seconds: float, outcome: str) -> None:
        """Add a step to the report."""
        from bytemlperf.report.schema import StepDetail

        step = StepDetail(name=name, seconds=round(seconds, 3), outcome=outcome)
        self.report.details.steps.append(step)


def describe_weights(model: Model) -> str:
    """Return the report's words for where weights come from."""
    weights = model.weights
    if weights.kind == "seeded":
        return f"seeded ({weights.source}): accuracy means nothing"
    if weights.kind == "embedded":
        return f"embedded, trained ({weights.source})"
    return f"{weights.kind} {weights.source} (sha256 {weights.sha256[:16]})"
