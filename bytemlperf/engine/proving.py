"""Proof that the backend computes: named checks before the load, and replies compared under it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import takewhile

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets import Synthetic
from bytemlperf.device import NativeBackend
from bytemlperf.engine.accepted import accepted
from bytemlperf.engine.estimate import HOST_FLOPS
from bytemlperf.engine.task import Task
from bytemlperf.honesty import check_honesty, distance
from bytemlperf.loadgen import LoadGenerator
from bytemlperf.patterns import ClosedLoop
from bytemlperf.report.schema import VerdictDetail
from bytemlperf.result import Result, Verdict
from bytemlperf.screen import Step
from bytemlperf.tolerance import Tolerance

# Draws that no other step uses.
_SEED_SHIFT = 1 << 20
_ENOUGH_INPUTS = 4096
# Replies are kept in memory until the run has ended.
_KEPT_BYTES = 256 << 20
_FEWEST_REPLIES = 8
_UNLOADED_BUDGET_S = 5.0
# Of one query of the checks, which asks dozens.
_QUERY_BUDGET_S = 0.1
_QUERY_BYTES = 4 << 20


def check_backend(task: Task, step: Step) -> str:
    """The checks of :mod:`bytemlperf.honesty`, on inputs that the backend has not seen."""
    sizes = task.batch_sizes
    size = min((s for s in sizes if s > 1), default=sizes[0])
    backend = task.backend()
    rows = _rows(task, size, isinstance(backend, NativeBackend))
    said = f"the same, new and permuted inputs, {rows} samples a query at batch {size}"
    step.update(said)
    verdicts = check_honesty(
        backend,
        Synthetic(task.card, _ENOUGH_INPUTS, task.workload.seed + _SEED_SHIFT).feeds,
        batch_size=size,
        rows=rows,
        tolerance=accepted(task).largest,
        shared=frozenset(t.name for t in task.card.inputs if not t.batched),
        timed=not task.simulated,
        progress=lambda seen: step.update(said, seen.fraction),
    )
    task.report.details.honesty = [VerdictDetail(**asdict(verdict)) for verdict in verdicts]
    failed = [verdict.name for verdict in verdicts if not verdict.ok]
    return f"FAILED: {', '.join(failed)}" if failed else f"{len(verdicts)} checks passed"


def _rows(task: Task, batch_size: int, native: bool) -> int:
    """Samples of a query of the checks: a batch, or of large models or inputs what is affordable.

    Two rows have an order. A shared library's queries are all of one size.
    """
    if native:
        return batch_size
    sample_bytes = sum(
        math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in task.card.inputs if t.batched
    )
    affordable = [_QUERY_BYTES // max(1, sample_bytes)]
    if flops := task.model.flops_per_sample:
        affordable.append(int(_QUERY_BUDGET_S * HOST_FLOPS / flops))
    return min(batch_size, max(2, min(affordable)))


class Replies:
    """What a query has to be answered, to hold replies under load against.

    Args:
        task: says which share of the replies to hold.
        tolerance: what a reply may differ by.
        expected: outputs of the distinct queries, empty where they are not known; query k asks
            what query ``k % len(expected)`` asked.
        referenced: how many of them, from the first on, are the reference's.
        size: bytes of a reply.
        first_s: seconds that the first inference took.
    """

    def __init__(
        self,
        task: Task,
        tolerance: Tolerance,
        expected: Sequence[Mapping[str, Array]],
        referenced: int,
        size: int,
        first_s: float,
    ) -> None:
        self.first_s = first_s
        self._percent = task.workload.verify_percent
        self._tolerance = tolerance
        self._expected = expected
        self._referenced = referenced
        self._size = size

    @classmethod
    def expect(
        cls,
        task: Task,
        generator: LoadGenerator,
        first: Result,
        queries: Sequence[Sequence[int]],
    ) -> Replies:
        """Take what the reference has; ask the other queries once without load.

        Where that takes long, of those only the first is known.

        Args:
            task: the task, after its numeric check.
            generator: what asks.
            first: its first query, with outputs.
            queries: samples of each distinct query, those with a reference first; empty where
                they are not of the task's data set.
        """
        assert isinstance(first.outputs, list)
        answers, first_s = first.outputs, first.service_time.max
        tolerance = accepted(task)
        known: list[Mapping[str, Array]] = []
        if _reference_holds(task, tolerance):
            known = list(takewhile(bool, (_reference(task, samples) for samples in queries)))
        wanted = task.workload.verify_percent > 0 and not task.simulated
        if wanted and len(known) < len(queries) and len(queries) * first_s < _UNLOADED_BUDGET_S:
            again = generator.run(ClosedLoop(), queries=len(queries), keep_outputs=True).outputs
            assert isinstance(again, list)
            answers = again
        # What failed is missing here, and counted by the run itself.
        unloaded = [answer if isinstance(answer, dict) else {} for answer in answers]
        unloaded += [{}] * (len(queries) - len(unloaded))
        size = sum(np.asarray(array).nbytes for array in unloaded[0].values())
        expected = [*known, *unloaded[len(known) :]]
        return cls(task, tolerance, expected, len(known), size, first_s)

    def share(
        self, planned: float, max_duration_s: float | None = None, instances: int = 1
    ) -> float:
        """Return the share of the replies to keep: what the workload says, within memory."""
        if max_duration_s is not None:
            planned = min(planned, 1.0 + instances * max_duration_s / self.first_s)
        if not self._percent or not self._size:
            return 0.0
        wanted = max(self._percent / 100.0, _FEWEST_REPLIES / planned)
        return min(1.0, wanted, _KEPT_BYTES / (self._size * planned))

    def judge(self, result: Result) -> Result:
        """Add the verdict on the replies that were kept."""
        if result.outputs is None:
            return result
        assert isinstance(result.outputs, dict)
        period = len(self._expected)
        differences = {
            query: distance(
                expected,
                {n: outputs[n] for n in expected if n in outputs},
                self._tolerance.scales,
            )
            for query, outputs in sorted(result.outputs.items())
            if (expected := self._expected[query % period])
        }
        wrong = {q: d for q, d in differences.items() if not d <= self._tolerance.value}
        sources = ["the reference"] if self._referenced else []
        if self._referenced < period:
            sources.append("what the backend answers without load")
        detail = (
            f"{len(differences)} of {result.completed} replies held against "
            f"{' and, where it has none, '.join(sources)}: {len(wrong)} differ by more than "
            f"{self._tolerance}"
        )
        if wrong:
            query, largest = max(wrong.items(), key=lambda item: item[1])
            detail += f" (most: query {query}, by {largest:.3g})"
        verdict = Verdict(
            "replies under load",
            not wrong,
            detail,
            "outputs change at this batch size or when queries meet: look for buffers that "
            "instances or calls share",
        )
        return replace(result, verdicts=(*result.verdicts, verdict))


def _reference_holds(task: Task, tolerance: Tolerance) -> bool:
    """True where whole replies of this backend can be held against the reference."""
    numeric = task.report.details.numeric
    met = numeric is not None and numeric.within_tolerance
    return met and tolerance.stated and task.compiled.padding_mask is None


def _reference(task: Task, samples: Sequence[int]) -> Mapping[str, Array]:
    """The reference's outputs of a query; empty where it has not all of them."""
    if not samples or any(s not in task.reference for s in samples):
        return {}
    return {
        name: np.stack([task.reference[s][name] for s in samples])
        for name in task.reference[samples[0]]
    }
