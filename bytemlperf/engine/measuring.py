"""Performance: the closed loop at each batch size, then the workload's open-loop loads."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, cycle, islice, product
from typing import Any

from bytemlperf.datasets import Dataset, Synthetic
from bytemlperf.device import SimulatedDevice, Table
from bytemlperf.engine.energy import PowerWatch, Watched
from bytemlperf.engine.estimate import time_left
from bytemlperf.engine.feeding import columns
from bytemlperf.engine.proving import Replies
from bytemlperf.engine.task import Task
from bytemlperf.errors import BytemlperfError
from bytemlperf.loadgen import LoadGenerator, Progress, RunInterrupted
from bytemlperf.patterns import ClosedLoop, Pattern
from bytemlperf.report.runs import generation_detail, performance_row, run_detail
from bytemlperf.report.schema import EnergyDetail, GenerationDetail, RunDetail
from bytemlperf.report.units import seconds
from bytemlperf.result import Result
from bytemlperf.samples import Samples
from bytemlperf.screen import Step
from bytemlperf.simulate import SimulatedRuntime

# Enough distinct inputs that a cache of the last few answers nothing.
_DISTINCT = 4
# A query that takes longer than this has warmed the backend up by itself.
_LONG_QUERY_S = 2.0


def measure_performance(task: Task, step: Step) -> str:
    """``clients`` clients in closed loop, ``iterations`` queries each, at every batch size."""
    workload, details = task.workload, task.report.details
    power = _power(task, step)
    cases = list(product(task.batch_sizes, workload.input_tokens or (None,)))
    for number, (batch_size, prompt) in enumerate(cases):
        with _generator(task, batch_size, prompt) as generator:
            replies = _first_inferences(task, generator, batch_size, prompt, step)
            first = replies.first_s
            pattern = ClosedLoop(workload.clients)
            queries = workload.clients * workload.iterations
            case = f"batch {batch_size}" + (f", {prompt} tokens" if prompt else "")
            name = f"{case} ({number + 1}/{len(cases)})"
            step.update(f"{name}: {time_left(task, first, batch_size)}")

            def keep(
                result: Result,
                watched: Watched,
                case: str = case,
                prompt: int | None = prompt,
                replies: Replies = replies,
            ) -> None:
                energy = watched.energy(result)
                result = replies.judge(result)
                file = case.replace(", ", "-").replace(" ", "-")
                detail = _detail(task, result, file, workload.clients, energy)
                detail.generation = _tokens(task, result, prompt)
                details.performance.append(detail)
                if result.completed:
                    task.report.performance.append(performance_row(result))
                task.save()

            _measure(
                generator,
                pattern,
                keep,
                power,
                queries=queries,
                max_duration=workload.max_duration_s,
                warmup=workload.warmup_s if first < _LONG_QUERY_S else 0.0,
                seed=workload.seed,
                keep_outputs=replies.share(queries, workload.max_duration_s, task.instances),
                progress=_live(step, name),
            )
    rows = task.report.performance
    best = max(rows, key=lambda row: row.qps)
    return f"best {best.qps:,.1f} samples/s at batch {best.bs}"


def measure_loads(task: Task, step: Step) -> str:
    """Open loop: queries are due by a plan, whatever the backend does."""
    details = task.report.details
    power = _power(task, step)
    for number, load in enumerate(task.workload.loads):
        with _generator(task, load.batch_size) as generator:
            replies = _first_inferences(task, generator, load.batch_size, None, step)

            def keep(
                result: Result,
                watched: Watched,
                name: str = f"load-{number + 1}",
                clients: int = load.run_pattern.clients,
                replies: Replies = replies,
            ) -> None:
                energy = watched.energy(result)
                result = replies.judge(result)
                details.loads.append(_detail(task, result, name, clients, energy))
                task.save()

            _measure(
                generator,
                load.run_pattern,
                keep,
                power,
                queries=load.queries,
                duration=load.duration,
                warmup=task.workload.warmup_s,
                seed=task.workload.seed,
                keep_outputs=replies.share(load.planned),
                progress=_live(step, str(load)),
            )
    return f"{len(details.loads)} load(s)"


def _tokens(task: Task, result: Result, prompt: int | None) -> GenerationDetail | None:
    """The times of the window's queries: the last that the instances have noted."""
    if prompt is None or not (times := task.token_log[-result.completed :]):
        return None
    return generation_detail(result, times, prompt)


def _generator(task: Task, batch_size: int, prompt: int | None = None) -> LoadGenerator:
    if task.simulated:
        if not issubclass(task.runtime_class, SimulatedRuntime):
            raise BytemlperfError("a simulated backend's Runtime must derive from SimulatedRuntime")
        runtime = task.runtime_class(task.compiled, task.model, task.workload)
        table = Table({batch_size: runtime.simulated_service(batch_size)})
        # In virtual time: what is shown is the model's, without this host's noise.
        return LoadGenerator(SimulatedDevice(table), batch_size=batch_size, clock="virtual")
    return LoadGenerator(
        task.backend(),
        _inputs(task, batch_size, prompt),
        batch_size=batch_size,
        instances=task.instances,
    )


def _inputs(task: Task, batch_size: int, prompt: int | None) -> Samples:
    """Distinct queries: rows of the data set where it is open, else synthetic ones."""
    rows = _DISTINCT * batch_size
    if prompt is not None:
        card = task.card.with_prompt(prompt)
        return columns(card, Synthetic(card, rows, task.workload.seed).feeds(range(rows)))
    dataset = task.dataset or Synthetic(task.card, rows, task.workload.seed)
    return columns(task.card, dataset.feeds(_samples(task, dataset, rows)))


def _samples(task: Task, dataset: Dataset, count: int) -> list[int]:
    """Samples of the distinct queries, over and over: first those that have a reference."""
    others = (s for s in range(len(dataset)) if s not in task.reference)
    return list(islice(cycle(chain(task.reference, others)), count))


def _first_inferences(
    task: Task, generator: LoadGenerator, batch_size: int, prompt: int | None, step: Step
) -> Replies:
    """Load and run one query, where lazy compilers do their work; then see what is answered."""
    step.update(f"batch {batch_size}: loading, first inference")
    result = generator.run(ClosedLoop(), queries=1, keep_outputs=True)
    _must_answer(result)
    first = result.service_time.max
    compile_detail = task.report.details.compile
    if compile_detail is not None:
        compile_detail.first_inference_s[str(batch_size)] = round(first, 6)
    step.update(f"batch {batch_size}: replies without load")
    samples: list[int] = []
    if prompt is None and task.dataset is not None:
        samples = _samples(task, task.dataset, _DISTINCT * batch_size)
    queries = [samples[k * batch_size : (k + 1) * batch_size] for k in range(_DISTINCT)]
    return Replies.expect(task, generator, result, queries)


def _must_answer(result: Result) -> None:
    if result.completed == 0:
        kind, first = next(iter(result.error_types.items()), ("nothing", None))
        reason = f"{kind}: {first.first}" if first else "no query was answered"
        raise BytemlperfError(f"batch {result.batch_size}: every query failed: {reason}")


def _power(task: Task, step: Step) -> PowerWatch:
    step.update("idle power")
    power = PowerWatch.of(task)
    task.report.details.power = power.said
    return power


def _measure(
    generator: LoadGenerator,
    pattern: Pattern,
    keep: Callable[[Result, Watched], None],
    power: PowerWatch,
    **arguments: Any,
) -> None:
    """Run one load and keep its result, also the partial one of Ctrl-C."""
    with power.run(arguments["warmup"]) as watched:
        try:
            result = generator.run(pattern, **arguments)
        except RunInterrupted as stop:
            if stop.result is not None and stop.result.completed:
                keep(stop.result, watched)
            raise
        keep(result, watched)
    _must_answer(result)


def _detail(
    task: Task, result: Result, name: str, clients: int, energy: EnergyDetail | None
) -> RunDetail:
    file = task.report_file.parent / "runs" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    result.save(file)
    return run_detail(
        result,
        clients=clients,
        threads_per_instance=task.threads_per_instance,
        max_duration_s=task.workload.max_duration_s,
        result_file=f"runs/{name}.json",
        energy=energy,
    )


def _live(step: Step, name: str) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        p99 = f", p99 {seconds(progress.p99)}" if progress.p99 is not None else ""
        step.update(
            f"{name}: {progress.queries_per_second:,.1f}/s{p99}, {progress.completed:,} done, "
            f"{progress.phase}",
            progress.fraction,
        )

    return show
