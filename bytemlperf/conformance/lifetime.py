"""Instances over their lives: reloaded, side by side, completing once, failing, for a long time."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from bytemlperf.conformance.bench import Bench, CheckFailed, NotApplicable, call
from bytemlperf.conformance.form import must_fit
from bytemlperf.conformance.values import must_agree
from bytemlperf.device import NativeBackend
from bytemlperf.instances import in_flight
from bytemlperf.isolation.bytemlperf_child.native import Library
from bytemlperf.loadgen import LoadGenerator
from bytemlperf.patterns import ClosedLoop

_TWICE = 2
_SHOWN = 80  # characters of a message in its row
_QUERIES = 12
# A slow model's completions are as good a proof where they are fewer.
_BOUND_S = 20.0


def reload(bench: Bench) -> str:
    """Unloaded and built again; and one instance loaded for another batch size."""
    for _ in range(_TWICE):
        must_agree(bench, bench.answers(bench.size))
    try:
        with bench.instance(bench.sizes[0]) as runtime:
            for size in (*bench.sizes, bench.sizes[0]):
                runtime.load(size)
                must_fit(bench, range(size), call(runtime, bench.feeds(range(size))))
    except NotApplicable:
        return "unloaded and built again"
    return f"unloaded and built again; loaded for batch {', '.join(map(str, bench.sizes))} in turn"


def instances(bench: Bench) -> str:
    """Two instances on two threads do not mix up their answers."""
    if bench.task.runtime_class.instance_count == 1:
        raise NotApplicable("instance_count is 1")
    must_agree(bench, bench.answers(bench.size, _QUERIES, instances=2))
    return f"2 at once, {_QUERIES} batches, every answer its own"


def completion(bench: Bench) -> str:
    """Each batch completes once, from whatever thread, with as many in flight as it accepts."""
    build = bench.task.runtime()
    if isinstance(build, NativeBackend):
        depth = Library(build.as_text()[0]).max_in_flight
    else:
        depth = in_flight(build)
    with bench.generator(bench.size) as generator:
        pattern = ClosedLoop(max(2, depth + 1))
        result = generator.run(pattern, queries=_QUERIES, max_duration=_BOUND_S, stamps=0)
    answers = next(verdict for verdict in result.verdicts if verdict.name == "answers")
    if not answers.ok:
        errors = "; ".join(f"{k}: {e.first}" for k, e in result.error_types.items())
        raise CheckFailed(f"{answers.detail}{': ' if errors else ''}{errors}")
    how = f", up to {depth} in flight" if depth else ""
    return f"{result.completed} batches, each once{how}"


def errors(bench: Bench) -> str:
    """An input that the model does not have is refused with a message, and no harm is done."""
    wrong = {"no_such_input": np.zeros((bench.size, 1), np.float32)}
    with LoadGenerator(bench.task.runtime(), wrong, batch_size=bench.size) as generator:
        result = generator.run(ClosedLoop(), queries=_TWICE, stamps=0)
    if result.errors != _TWICE:
        raise CheckFailed(
            "input 'no_such_input', which the model does not have: expected an error, got an answer"
        )
    kind, first = next(iter(result.error_types.items()))
    if not first.first.strip():
        raise CheckFailed(f"{kind} without a message")
    _still_works(bench, wrong)
    message = re.sub(r" \(\S+:\d+\)$", "", first.first.strip()).splitlines()[0]
    return f"{kind}: {message[:_SHOWN]}"


def _still_works(bench: Bench, wrong: dict[str, np.ndarray]) -> None:
    try:
        with bench.instance(bench.size) as runtime:
            with contextlib.suppress(Exception):
                call(runtime, wrong)
            outputs = call(runtime, bench.feeds(range(bench.size)))
            must_fit(bench, range(bench.size), outputs)
    except NotApplicable:
        must_agree(bench, bench.answers(bench.size, 1))


@dataclass(frozen=True)
class _Usage:
    """What this process holds: resident bytes, open files, threads."""

    resident: int
    files: int
    threads: int

    @classmethod
    def now(cls) -> _Usage:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        proc = Path("/proc/self")
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE"),
            sum(1 for _ in (proc / "fd").iterdir()),
            sum(1 for _ in (proc / "task").iterdir()),
        )


# The first quarter is warm-up. A leak grows in each of the three thirds of the rest; an allocator
# that settles does not.
_ROUNDS, _WARM = 40, 10
_GROWS = {"resident": 512 << 10, "files": 2, "threads": 2}
# So much at once needs no more proof, and would fill the host.
_TOO_MUCH = 512 << 20


def leak(bench: Bench, calls: int, seconds: float) -> str:
    """Call after call memory, files and threads stay what they were."""
    used: list[_Usage] = []
    done = 0
    start = time.monotonic()
    with bench.generator(bench.sizes[0]) as generator:
        for _ in range(_ROUNDS):
            result = generator.run(
                ClosedLoop(),
                queries=max(1, calls // _ROUNDS),
                max_duration=seconds / _ROUNDS,
                stamps=0,
            )
            done += result.completed
            used.append(_Usage.now())
            if used[-1].resident - used[0].resident > _TOO_MUCH:
                break
    grown = used[-1].resident - used[0].resident
    if grown > _TOO_MUCH or _keeps_growing([u.resident for u in used], _GROWS["resident"]):
        raise CheckFailed(
            f"memory grew by {grown / 2**20:.1f} MiB over {done} calls, about "
            f"{grown / done:,.0f} bytes a call"
        )
    for what in ("files", "threads"):
        counts = [getattr(u, what) for u in used]
        if _keeps_growing(counts, _GROWS[what]):
            raise CheckFailed(
                f"open {what}: expected {counts[0]}, got {counts[-1]} after {done} calls"
            )
    return (
        f"{done} calls in {time.monotonic() - start:.0f} s, memory {grown / 2**20:+.1f} MiB, "
        f"{used[-1].files} files, {used[-1].threads} threads"
    )


def _keeps_growing(values: list[int], step: int) -> bool:
    later = values[_WARM:]
    third = len(later) // 3
    if not third:
        return False
    first, second, last = (median(later[i * third : (i + 1) * third]) for i in range(3))
    return second - first >= step and last - second >= step
