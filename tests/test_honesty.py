"""Backends that cheat, each in one way, and honest ones beside them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import bytemlperf as bmp
from bytemlperf.errors import BackendError
from bytemlperf.honesty import check_honesty, distance

Feeds = dict[str, np.ndarray]


def draw(samples: Sequence[int]) -> Feeds:
    rows = [np.random.default_rng(s).standard_normal(8).astype(np.float32) for s in samples]
    return {"x": np.stack(rows)}


def compute(feeds: Any) -> Feeds:
    return {"y": feeds["x"].cumsum(axis=1), "z": feeds["x"].max(axis=1)}


def slow(feeds: Any) -> Feeds:
    time.sleep(0.003)
    return compute(feeds)


class ByInput:
    """Keeps answers by input."""

    def __init__(self) -> None:
        self.seen: dict[bytes, Feeds] = {}

    def __call__(self, feeds: Any) -> Feeds:
        key = feeds["x"].tobytes()
        if key not in self.seen:
            self.seen[key] = slow(feeds)
        return self.seen[key]


class Late:
    """Returns the last batch's output."""

    def __init__(self) -> None:
        self.last: Feeds | None = None

    def __call__(self, feeds: Any) -> Feeds:
        answer = compute(feeds)
        last, self.last = self.last or answer, answer
        return last


def ignores(feeds: Any) -> Feeds:
    return {"y": np.ones((len(feeds["x"]), 4))}


def first_row_only(feeds: Any) -> Feeds:
    answer = compute(feeds)
    return {name: np.repeat(a[:1], len(a), axis=0) for name, a in answer.items()}


def sorts_rows(feeds: Any) -> Feeds:
    answer = compute(feeds)
    return answer | {"z": np.sort(answer["z"])}


def failed(backend: Any, **arguments: Any) -> set[str]:
    verdicts = check_honesty(backend, draw, batch_size=4, tolerance=1e-6, **arguments)
    assert len(verdicts) == (4 if arguments.get("timed", True) else 3)
    assert all(v.remedy for v in verdicts if not v.ok)
    return {v.name for v in verdicts if not v.ok}


@pytest.mark.parametrize("honest", [compute, slow])
def test_an_honest_backend_passes(honest: Callable[[Any], Feeds]) -> None:
    assert failed(honest) == set()


def test_noise_within_the_tolerance_is_honest() -> None:
    rng = np.random.default_rng(0)
    assert failed(lambda f: {k: v + 1e-7 * rng.random() for k, v in compute(f).items()}) == set()


@pytest.mark.parametrize(
    ("cheat", "name"),
    [
        (ignores, "depends on input"),
        (Late(), "answers its own query"),
        (first_row_only, "order of the batch"),
        (sorts_rows, "order of the batch"),
        (ByInput(), "no answers by input"),
    ],
)
def test_each_way_of_cheating_has_its_check(cheat: Any, name: str) -> None:
    assert name in failed(cheat)


def test_of_a_large_model_fewer_rows_than_a_batch_are_asked() -> None:
    sizes = set()

    def counting(feeds: Any) -> Feeds:
        sizes.add(len(feeds["x"]))
        return sorts_rows(feeds)

    assert failed(counting, rows=2) == {"order of the batch"}
    assert sizes == {2}
    assert failed(ByInput(), rows=2) == {"no answers by input"}


def test_a_slow_backend_is_judged_by_fewer_inputs() -> None:
    calls = []

    class VerySlow(ByInput):
        def __call__(self, feeds: Any) -> Feeds:
            calls.append(time.sleep(0.12))
            return super().__call__(feeds)

    assert failed(VerySlow()) == set()  # what it keeps saves 3 of 123 ms
    assert len(calls) == 6 + 4 * 3


def test_what_a_backend_does_at_every_other_call_is_no_cache() -> None:
    calls = itertools.count()

    def collects_garbage(feeds: Any) -> Feeds:
        time.sleep(0.004 if next(calls) % 2 else 0.0)
        return compute(feeds)

    assert failed(collects_garbage) == set()


def test_modelled_time_is_not_judged() -> None:
    assert failed(ByInput(), timed=False) == set()


def test_one_sample_has_no_order() -> None:
    verdicts = check_honesty(compute, draw, batch_size=1, tolerance=0.0)
    assert all(v.ok for v in verdicts)
    assert "not checked" in verdicts[2].detail


def test_an_input_without_samples_keeps_its_order() -> None:
    def with_table(samples: Sequence[int]) -> Feeds:
        return draw(samples) | {"table": np.arange(8.0)}

    verdicts = check_honesty(
        lambda f: {"y": f["x"] @ f["table"]},
        with_table,
        batch_size=4,
        tolerance=1e-5,
        shared=frozenset({"table"}),
    )
    assert all(v.ok for v in verdicts)


def test_a_backend_that_fails_is_no_cheat() -> None:
    def broken(feeds: Any) -> Feeds:
        raise RuntimeError("planted")

    with pytest.raises(BackendError, match="planted"):
        check_honesty(broken, draw, batch_size=2, tolerance=0.0)


def test_distance_counts_what_is_not_a_number() -> None:
    nan, one = {"y": np.array([np.nan, 1.0])}, {"y": np.array([0.0, 1.0])}
    assert distance(nan, nan) == 0.0
    assert distance(nan, one) == np.inf
    assert distance(one, {"y": np.array([0.5, 1.0])}) == 0.5
    assert distance(one, {"x": np.array([0.0, 1.0])}) == np.inf
    assert distance({"y": np.array([True])}, {"y": np.array([False])}) == 1.0


def test_a_share_of_the_outputs_is_kept_by_a_draw_of_the_seed() -> None:
    def kept(share: float, seed: int, instances: int = 2) -> set[int]:
        with bmp.LoadGenerator(compute, draw(range(50)), instances=instances) as gen:
            run = gen.run(bmp.ClosedLoop(3), queries=2000, keep_outputs=share, seed=seed)
        assert isinstance(run.outputs, dict)
        for k, found in run.outputs.items():
            assert distance(found, compute(draw([k % 50]))) == 0.0
        return set(run.outputs)

    some = kept(0.1, seed=1)
    assert 150 < len(some) < 250
    assert kept(0.1, seed=1, instances=3) == some
    assert kept(0.1, seed=2) != some
    assert kept(1.0, seed=1) == set(range(2000))
    with pytest.raises(bmp.UsageError, match="keep_outputs"):
        kept(1.5, seed=1)
