"""What the operators that a device lacks cost: the host runs them, so that is measured, not modelled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass

from bytemlperf.backend import Feeds, Predict
from bytemlperf.simulate.emulate_onnx import session_predict
from bytemlperf.simulate.partition import partition_model
from bytemlperf.zoo import Model, synthetic_feeds

_CALLS = 5
_BUDGET_S = 0.2


@dataclass(frozen=True)
class HostCost:
    """One batch's segments on the host.

    Attributes:
        compute_s: sum of the segments' median times in ONNX Runtime on this host.
        crossing_bytes: tensors between a segment of the host and one of the device; each counts
            once. The model's own inputs and outputs are not among them.
    """

    compute_s: float
    crossing_bytes: int

    def seconds(self, host_gb_per_s: float) -> float:
        """Computation and transfers, one after the other."""
        return self.compute_s + self.crossing_bytes / (1e9 * host_gb_per_s)


def host_cost(model: Model, host_operators: Collection[str], batch_size: int) -> HostCost:
    """Run an ONNX model segment by segment on synthetic inputs; time those of the host."""
    there = dict(synthetic_feeds(model.card, range(batch_size), seed=0))
    made_on_host: dict[str, bool] = {}
    crossing: dict[str, int] = {}
    compute_s = 0.0
    for segment, proto in partition_model(model, host_operators):
        on_host = segment.is_fallback
        run = session_predict(proto, segment.outputs)
        given = {name: there[name] for name in segment.inputs}
        for name, array in given.items():
            if made_on_host.get(name, on_host) != on_host:
                crossing[name] = array.nbytes
        there |= run(given)
        if on_host:
            compute_s += _median_s(run, given)
        made_on_host |= dict.fromkeys(segment.outputs, on_host)
    return HostCost(compute_s, sum(crossing.values()))


def _median_s(run: Predict, feeds: Feeds) -> float:
    """Median of a few calls; one alone where it takes long."""
    taken: list[float] = []
    while len(taken) < _CALLS and sum(taken) < _BUDGET_S:
        start = time.perf_counter()
        run(feeds)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
