"""What a task is going to do, and about how long, before it does it."""

from __future__ import annotations

from collections.abc import Iterator

from bytemlperf.engine.task import Task

# What is affordable is counted with two cores of a server in fp32, here too: every host then
# compares the same samples, and one's reference fits the others.
HOST_FLOPS = 80e9


def describe_plan(task: Task) -> Iterator[str]:
    """Yield the plan in a few lines: model, checks, loads and the bounds on their time."""
    workload, card = task.workload, task.card
    tiny = task.request.preset == "tiny"
    size = "the tiny preset" if tiny else f"{card.parameters:,} parameters"
    yield (
        f"{card.title} ({size}, {card.framework} {card.precision}) on "
        f"{task.request.backend.name}{', simulated' if task.simulated else ''}"
    )
    if workload.compile_only:
        yield "plan: build, compile, report"
        return
    parts = ["build", "compile"]
    parts += ["accuracy"] * workload.test_accuracy + ["numeric check"] * workload.test_numeric
    if workload.test_perf:
        sizes = ", ".join(str(size) for size in workload.batch_sizes)
        parts.append(
            f"{workload.clients} clients x {workload.iterations} queries at batch {sizes} on "
            f"{task.instances} instance(s)"
        )
    parts += [str(load) for load in workload.loads]
    yield f"plan: {'; '.join(parts)}"
    if (bound := performance_bound_s(task)) is not None:
        yield (
            f"time: {_minutes(bound)} of measuring at most ({workload.max_duration_s:g} s a batch "
            "size, --max_duration_s lifts it), less where all queries are done before"
        )
    elif workload.test_perf:
        yield "time: until all queries are done (--max_duration_s bounds each batch size)"


def performance_bound_s(task: Task) -> float | None:
    """Return the longest time that measuring may take, or None where nothing bounds it."""
    workload = task.workload
    if not workload.test_perf or workload.max_duration_s is None:
        return None
    loads = sum(load.length_s or workload.max_duration_s for load in workload.loads)
    cases = len(workload.batch_sizes) * max(1, len(workload.input_tokens))
    return workload.max_duration_s * cases + loads


def time_left(task: Task, seconds_a_query: float, batch_size: int) -> str:
    """Return the estimate for one batch size from the time of a single query."""
    workload = task.workload
    queries = workload.iterations * workload.clients
    # Instances share the cores, so they do not divide the time of a query that is all compute.
    seconds = queries * seconds_a_query / task.instances
    if workload.max_duration_s is not None and seconds > workload.max_duration_s:
        return f"batch {batch_size}: bounded by {workload.max_duration_s:g} s"
    return f"batch {batch_size}: about {_minutes(seconds)}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
