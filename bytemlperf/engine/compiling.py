"""The first steps: a built model, and what the vendor's compiler makes of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bytemlperf import host
from bytemlperf.backend import CompileBackend, CompileConfig
from bytemlperf.engine.task import Task, describe_weights
from bytemlperf.errors import UsageError
from bytemlperf.report.schema import CompileDetail, GraphCompile
from bytemlperf.report.units import seconds
from bytemlperf.screen import Step
from bytemlperf.zoo import cache_root, open_model
from bytemlperf.zoo.cache import content_key


def build_model(task: Task, step: Step) -> str:
    """Open the model: built, exported and verified, or from the cache."""
    task.model = model = open_model(
        task.workload.model,
        preset=task.request.preset,
        weights=task.request.weights,
        seed=task.workload.seed,
        progress=step.update,
    )
    task.report.weights = describe_weights(model)
    details = task.report.details
    details.parameters = model.parameters
    details.weights_sha256 = model.weights.sha256
    details.export_difference = model.export_difference
    how = "from the cache" if model.cached else "built, exported and verified"
    return f"{model.parameters:,} parameters, {describe_weights(model)}; {how}"


def compile_model(task: Task, step: Step) -> str:
    """Compile, cold and then from the compiler's own cache, each timed."""
    backend = task.compile_class({})
    config = _config(task, {}, Path())
    with step.paused():
        options = task.request.answers.complete(
            task.request.backend.name, backend.get_interact_profile(config)
        )
    backend = task.compile_class(options)
    best = backend.get_best_batch_size()
    if best is not None:
        task.batch_sizes = tuple(best) if isinstance(best, list) else (best,)
    _check_batch_sizes(task)
    folder = _cache_folder(task, options)
    config = _config(task, options, folder / "artifacts")
    backend.segment(config)
    config = backend.pre_optimize(config)
    backend.tuning(config)
    cold, cached_s = _compile_timed(task, backend, config, folder, step)
    cold_s = cold.cold_s
    compiled = task.compiled
    task.report.graph_compile = GraphCompile(
        compile_duration=round(cold_s, 5),
        compile_precision=compiled.precision,
        subgraph_coverage=round(compiled.coverage, 2),
        optimizations=dict(compiled.optimizations),
    )
    task.report.instance_count = task.instances
    task.report.device_count = compiled.device_count
    task.report.details.compile = CompileDetail(
        cold_s=cold_s,
        cached_s=cached_s,
        first_inference_s={},
        version=backend.version(),
        segments=len(compiled.segments),
        operators=sum(s.operators for s in compiled.segments),
        fallback_operators=dict(compiled.fallback_operators),
        peak_memory_mib=cold.peak_memory_mib,
        device_count=compiled.device_count,
        notes=dict(compiled.notes),
    )
    return (
        f"cold {seconds(cold_s)}, cached {seconds(cached_s)}; "
        f"{compiled.coverage:.1f} % on the device"
    )


def _config(task: Task, options: dict[str, object], folder: Path) -> CompileConfig:
    return CompileConfig(
        model=task.model,
        workload=task.workload,
        batch_sizes=task.batch_sizes,
        cache_dir=folder,
        options=options,
    )


def _check_batch_sizes(task: Task) -> None:
    too_large = [size for size in task.batch_sizes if size > task.card.max_batch_size]
    if too_large:
        raise UsageError(
            f"batch_sizes: {too_large[0]} is above {task.card.name}'s max_batch_size "
            f"{task.card.max_batch_size}"
        )


def _cache_folder(task: Task, options: dict[str, object]) -> Path:
    """A folder for this backend, model and options; another bytemlperf or code has its own."""
    code = {p.name: p.read_text("utf-8") for p in sorted(task.request.backend.path.glob("*.py"))}
    key = content_key(
        {
            "options": options,
            "batch_sizes": task.batch_sizes,
            "version": task.report.version,
            "code": code,
        }
    )
    name = task.request.backend.name
    return cache_root() / "compiled" / name / f"{task.model.path.parent.name}-{key}"


@dataclass(frozen=True)
class _Cold:
    """The compilation with nothing cached; remembered beside what it made."""

    cold_s: float
    peak_memory_mib: float | None


def _compile_timed(
    task: Task, backend: CompileBackend, config: CompileConfig, folder: Path, step: Step
) -> tuple[_Cold, float]:
    """Return the cold compilation, maybe that of an earlier run, and the seconds of a cached one."""
    timing = folder / "timing.json"
    cold = _remembered(timing)
    if cold is None:
        step.update("cold: nothing is cached")
        host.forget_peak_memory()
        start = time.perf_counter()
        task.compiled = backend.compile(config, task.dataset)
        cold = _Cold(time.perf_counter() - start, host.peak_memory_mib())
        timing.parent.mkdir(parents=True, exist_ok=True)
        timing.write_text(json.dumps(asdict(cold)), encoding="utf-8")
    step.update("again, from the compiler's cache")
    start = time.perf_counter()
    task.compiled = backend.compile(config, task.dataset)
    return cold, time.perf_counter() - start


def _remembered(timing: Path) -> _Cold | None:
    try:
        return _Cold(**json.loads(timing.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
