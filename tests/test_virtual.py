"""The generator on the virtual clock: batching, deadlines, repeatability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bytemlperf as bmp


def test_a_stall_at_the_very_end_is_charged_and_not_lost() -> None:
    """The last 0.5 s of the plan wait for a device that comes back after the window has ended."""
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-4), stall=(9.5, 2.0))
    with bmp.LoadGenerator(device, clock="virtual") as gen:
        result = gen.run(bmp.Constant(1000.0), duration=10.0)
    assert result.completed == result.planned == result.latency.count
    assert result.latency.max == pytest.approx(2.0, rel=0.01)
    # 500 of 10 000 queries wait for between 1.55 s (the last of them) and 2 s.
    assert result.latency.quantile(0.96) > 1.5
    assert result.queries_per_second == pytest.approx(950, rel=0.01)


def test_a_virtual_run_is_repeatable_to_the_nanosecond() -> None:
    def run() -> bmp.Result:
        with bmp.LoadGenerator(bmp.SimulatedDevice(bmp.Exponential(1e-3)), clock="virtual") as gen:
            return gen.run(bmp.Poisson(800.0), queries=50_000, seed=5)

    first, second = run(), run()
    assert first.latency.to_dict() == second.latency.to_dict()
    assert first.plan_hash == second.plan_hash


@dataclass
class Policy:
    """One batching policy and one device of fixed times, as the reference reads them."""

    most: int
    delay: int
    preferred: tuple[int, ...]
    servers: int
    service: int  # of a sample
    timeout: int
    sizes: tuple[int, ...]  # samples of the queries, again and again

    def samples(self, queries: list[int]) -> int:
        return sum(self.sizes[query % len(self.sizes)] for query in queries)

    def cut(self, batch: list[int]) -> int:
        """How many queries a batch that closes early keeps."""
        reached = [size for size in self.preferred if size <= self.samples(batch)]
        fitting = [
            n
            for n in range(1, len(batch) + 1)
            if self.samples(batch[:n]) <= max(reached, default=0)
        ]
        return max(fitting, default=len(batch))


def reference(arrivals: list[int], policy: Policy) -> list[int | None]:
    """When each query is answered (None: timed out), from the rules as they are written: a second
    implementation, slow and without a heap."""
    idle = [0] * policy.servers
    answers: list[int | None] = [None] * len(arrivals)
    waiting: list[int] = []
    rest = list(range(len(arrivals)))
    while waiting or rest:
        server = idle.index(min(idle))
        batch: list[int] = []
        closes = 0
        now = idle[server]
        overflows = 0  # when a query came that has no room
        while policy.samples(batch) < policy.most and (waiting or rest):
            query = (waiting or rest)[0]
            if batch and arrivals[query] > closes:
                break
            if batch and policy.samples([*batch, query]) > policy.most:
                overflows = arrivals[query]
                break
            (waiting or rest).pop(0)
            now = max(idle[server], arrivals[query])
            if policy.timeout and arrivals[query] + policy.timeout <= now:
                continue
            batch.append(query)
            if len(batch) == 1:
                closes = max(idle[server], arrivals[query] + policy.delay)
        if not batch:
            continue
        start = max(idle[server], arrivals[batch[-1]])
        if overflows:
            start = max(start, overflows)
        elif policy.samples(batch) < policy.most:
            start = closes if rest else min(closes, max(start, arrivals[-1]))
            kept = policy.cut(batch)
            waiting = batch[kept:] + waiting
            batch = batch[:kept]
        idle[server] = start + policy.service * policy.samples(batch)
        for query in batch:
            late = policy.timeout and idle[server] > arrivals[query] + policy.timeout
            answers[query] = None if late else idle[server]
    return answers


@settings(max_examples=300)
@given(
    st.builds(
        Policy,
        most=st.integers(3, 8),
        delay=st.integers(0, 4_000_000),
        preferred=st.lists(st.integers(1, 3), max_size=2).map(tuple),
        servers=st.integers(1, 3),
        service=st.integers(1, 3_000_000),
        timeout=st.sampled_from([0, 3_000_000, 20_000_000]),
        sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple),
    ),
    st.integers(0, 99),
)
def test_batching_and_deadlines_are_those_of_the_rules(policy: Policy, seed: int) -> None:
    device = bmp.SimulatedDevice(bmp.Table({1: policy.service * 1e-9}), servers=policy.servers)
    batching = bmp.Dynamic(policy.most, policy.delay * 1e-9, policy.preferred)
    weights = {size: policy.sizes.count(size) for size in policy.sizes}
    mix = bmp.mix_queries({"x": np.zeros(3)}, weights, count=len(policy.sizes))
    policy.sizes = tuple(len(query["x"]) for query in mix)
    with bmp.LoadGenerator(device, mix, clock="virtual", batching=batching) as gen:
        timeout = policy.timeout * 1e-9 or None
        result = gen.run(bmp.Poisson(1000), queries=60, seed=seed, timeout=timeout)
        plan = gen.run(bmp.Poisson(1000), queries=60, seed=seed).stamps
    assert plan is not None
    assert result.stamps is not None
    arrivals = sorted(plan["stamps"]["intended"].tolist())
    expected = reference(arrivals, policy)
    measured: list[int | None] = [None] * 60
    for query, completed in zip(
        result.stamps["query"], result.stamps["stamps"]["completed"], strict=True
    ):
        measured[query] = int(completed)
    assert measured == expected
    assert result.timeouts == expected.count(None)
    assert result.completed + result.timeouts == result.planned


def test_a_closed_loop_fills_batches() -> None:
    """20 clients, 2 servers, batches of 8 in 2 ms: 8 queries a millisecond, 4 clients wait."""
    device = bmp.SimulatedDevice(bmp.Deterministic(2e-3), servers=2)
    with bmp.LoadGenerator(device, clock="virtual", batching=bmp.Dynamic(8, 1e-3)) as gen:
        result = gen.run(bmp.ClosedLoop(20), duration=2.0)
    assert result.queries_per_second == pytest.approx(8000, rel=1e-3)
    assert result.batches == pytest.approx(2000, abs=4)
    assert result.latency.mean == pytest.approx(20 / 8000, rel=1e-3)  # Little's law


def test_virtual_and_wall_time_agree_on_batching() -> None:
    """The same plan through threads and on the virtual clock: within the host's noise."""
    device = bmp.SimulatedDevice(bmp.Table({1: 4e-3, 8: 8e-3}))
    batching = bmp.Dynamic(8, 5e-3)
    with bmp.LoadGenerator(device, clock="virtual", batching=batching) as gen:
        virtual = gen.run(bmp.Poisson(400), queries=400, seed=3)
    with bmp.LoadGenerator(device, batching=batching) as gen:
        tries = [gen.run(bmp.Poisson(400), queries=400, seed=3) for _ in range(3)]
    assert all(wall.plan_hash == virtual.plan_hash for wall in tries)
    if min(t.service_time.mean for t in tries) > 1.05 * virtual.service_time.mean:
        pytest.skip("the host is too busy for the device to keep its own service times")
    # A busy host makes both worse, never better.
    assert max(t.batches for t in tries) == pytest.approx(virtual.batches, rel=0.1)
    assert min(t.latency.p50 for t in tries) == pytest.approx(virtual.latency.p50, rel=0.15)


@pytest.mark.parametrize("clients", [1, 3])
def test_queries_as_long_as_the_window_have_the_throughput_that_they_have(clients: int) -> None:
    device = bmp.SimulatedDevice(bmp.Deterministic(0.4), servers=clients)
    generator = bmp.LoadGenerator(device, clock="virtual", batch_size=8)
    for seconds in (0.3, 0.5, 1.0, 10.0):
        result = generator.run(bmp.ClosedLoop(clients), duration=seconds)
        assert result.queries_per_second == pytest.approx(clients / 0.4)
        assert result.samples_per_second == pytest.approx(8 * clients / 0.4)
