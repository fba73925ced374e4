"""Proof that the backend computes: named checks before the load, and replies compared under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets import Synthetic
from bytemlperf.engine.task import Task
from bytemlperf.honesty import check_honesty, distance
from bytemlperf.loadgen import LoadGenerator
from bytemlperf.patterns import ClosedLoop
from bytemlperf.report.schema import VerdictDetail
from bytemlperf.result import Result, Verdict
from bytemlperf.screen import Step

# Draws that no other step uses.
_SEED_SHIFT = 1 << 20
_ENOUGH_INPUTS = 4096
# Replies are kept in memory until the run has ended.
_KEPT_BYTES = 256 << 20
_FEWEST_REPLIES = 8
_UNLOADED_BUDGET_S = 5.0


def check_backend(task: Task, step: Step) -> str:
    """The checks of :mod:`bytemlperf.honesty`, on inputs that the backend has not seen."""
    sizes = task.batch_sizes
    size = min((s for s in sizes if s > 1), default=sizes[0])
    step.update(f"the same, new and permuted inputs at batch {size}")
    verdicts = check_honesty(
        task.backend(),
        Synthetic(task.card, _ENOUGH_INPUTS, task.workload.seed + _SEED_SHIFT).feeds,
        batch_size=size,
        tolerance=task.card.tolerance_at(task.compiled.precision),
        shared=frozenset(t.name for t in task.card.inputs if not t.batched),
        timed=not task.simulated,
    )
    task.report.details.honesty = [VerdictDetail(**asdict(verdict)) for verdict in verdicts]
    failed = [verdict.name for verdict in verdicts if not verdict.ok]
    return f"FAILED: {', '.join(failed)}" if failed else f"{len(verdicts)} checks passed"


class Replies:
    """What a query is answered without load, to hold replies under load against.

    Args:
        task: says which share of the replies to hold, and the tolerance.
        unloaded: outputs of the first queries; query k asks what query ``k % period`` asked.
        period: number of distinct queries.
        first_s: seconds that the first inference took.
    """

    def __init__(
        self, task: Task, unloaded: list[Mapping[str, Array]], period: int, first_s: float
    ) -> None:
        self.first_s = first_s
        self._percent = task.workload.verify_percent
        self._tolerance = task.card.tolerance_at(task.compiled.precision)
        self._unloaded = unloaded
        self._period = period

    @classmethod
    def expect(cls, task: Task, generator: LoadGenerator, first: Result, period: int) -> Replies:
        """Ask each distinct query once without load; where that takes long, only the first."""
        unloaded, first_s = first.outputs, first.service_time.max
        wanted = task.workload.verify_percent > 0 and not task.simulated
        if wanted and period * first_s < _UNLOADED_BUDGET_S:
            unloaded = generator.run(ClosedLoop(), queries=period, keep_outputs=True).outputs
        # What failed is missing here, and counted by the run itself.
        assert isinstance(unloaded, list)
        return cls(task, [o if isinstance(o, dict) else {} for o in unloaded], period, first_s)

    def share(
        self, planned: float, max_duration_s: float | None = None, instances: int = 1
    ) -> float:
        """Return the share of the replies to keep: what the workload says, within memory."""
        size = sum(np.asarray(array).nbytes for array in self._unloaded[0].values())
        if max_duration_s is not None:
            planned = min(planned, 1.0 + instances * max_duration_s / self.first_s)
        if not self._percent or not size:
            return 0.0
        wanted = max(self._percent / 100.0, _FEWEST_REPLIES / planned)
        return min(1.0, wanted, _KEPT_BYTES / (size * planned))

    def judge(self, result: Result) -> Result:
        """Add the verdict on the replies that were kept."""
        if result.outputs is None:
            return result
        assert isinstance(result.outputs, dict)
        differences = {
            query: distance(self._unloaded[query % self._period], outputs)
            for query, outputs in sorted(result.outputs.items())
            if query % self._period < len(self._unloaded) and self._unloaded[query % self._period]
        }
        wrong = {q: d for q, d in differences.items() if not d <= self._tolerance}
        detail = (
            f"{len(differences)} of {result.completed} replies held against what the backend "
            f"answers without load: {len(wrong)} differ by more than {self._tolerance:g}"
        )
        if wrong:
            query, largest = max(wrong.items(), key=lambda item: item[1])
            detail += f" (most: query {query}, by {largest:.3g})"
        verdict = Verdict(
            "replies under load",
            not wrong,
            detail,
            "outputs change when queries meet: look for buffers that instances or calls share",
        )
        return replace(result, verdicts=(*result.verdicts, verdict))
