"""What a check works with: the compiled model, its reference, and ways to call the backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds, RuntimeBackend
from bytemlperf.batching import Dynamic
from bytemlperf.datasets import Synthetic
from bytemlperf.device import NativeBackend
from bytemlperf.engine.feeding import columns
from bytemlperf.engine.task import Task
from bytemlperf.honesty import check_honesty
from bytemlperf.isolation.bytemlperf_child.native import (
    Instance,
    Library,
    SynchronousInstance,
    load_native,
)
from bytemlperf.loadgen import LoadGenerator
from bytemlperf.patterns import ClosedLoop
from bytemlperf.result import Result, Verdict

# Samples with a reference; the honesty checks take theirs after them.
SAMPLES = 16
_DRAWN = 4096
# A card may say nothing about the precision that a device computes in. Ten percent of the largest
# reference value is wider than INT8 needs, and narrower than a wrong layer.
_REDUCED_SHARE = 0.1
# Largest batches that are tried: what is wrong with a batch shows in a small one.
_LARGEST, _USUAL = 16, 8


class CheckFailed(Exception):
    """The backend breaks its promise; the message names tensor, sample, expected and got."""


class NotApplicable(Exception):
    """This backend does not make the promise; the message says why."""


@dataclass(frozen=True)
class Answer:
    """The outputs of one query, and the samples that it asked."""

    samples: Sequence[int]
    outputs: Mapping[str, Array]


class Bench:
    """One compiled backend under test. Nothing is loaded until a check calls it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.card = task.card
        self.sizes = [s for s in task.batch_sizes if s <= _LARGEST] or [min(task.batch_sizes)]
        #: the batch size of checks that need one only
        self.size = max((s for s in self.sizes if s <= _USUAL), default=self.sizes[0])
        self._data = Synthetic(task.card, _DRAWN, task.workload.seed)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        return self._data.feeds(samples)

    @cached_property
    def reference(self) -> Mapping[int, Mapping[str, Array]]:
        """Outputs of the eager source model on the CPU, by sample."""
        source = self.task.model.load_source()
        found = source(self.feeds(range(SAMPLES)))
        return {s: {name: array[s] for name, array in found.items()} for s in range(SAMPLES)}

    @cached_property
    def tolerance(self) -> float:
        """The card's at this precision; where it has none, a share of the largest output."""
        card, precision = self.card, self.task.compiled.precision.lower()
        if card.states_tolerance(precision):
            return card.tolerance_at(precision)
        arrays = (array for outputs in self.reference.values() for array in outputs.values())
        largest = max(float(np.abs(array).max()) for array in arrays)
        return max(card.tolerance, _REDUCED_SHARE * largest)

    @cached_property
    def honesty(self) -> Mapping[str, Verdict]:
        """Verdicts of :mod:`bytemlperf.honesty` by their names."""
        verdicts = check_honesty(
            self.task.runtime(),
            lambda samples: self.feeds([SAMPLES + s for s in samples]),
            batch_size=self.size,
            tolerance=self.tolerance,
            shared=frozenset(t.name for t in self.card.inputs if not t.batched),
            timed=not self.task.simulated,
        )
        return {verdict.name: verdict for verdict in verdicts}

    def generator(
        self, batch_size: int, *, capacity: int | None = None, instances: int = 1
    ) -> LoadGenerator:
        """Return a generator whose query k asks ``batch_size`` samples from k * batch_size on.

        ``capacity`` loads the backend for larger batches than it gets.
        """
        return LoadGenerator(
            self.task.runtime(),
            columns(self.card, self.feeds(range(SAMPLES))),
            batch_size=batch_size,
            batching=Dynamic(capacity, 0.0) if capacity else None,
            instances=instances,
        )

    def answers(
        self,
        batch_size: int,
        queries: int | None = None,
        *,
        capacity: int | None = None,
        instances: int = 1,
    ) -> list[Answer]:
        """Ask every sample once, or as many queries as are given, and return the answers."""
        with self.generator(batch_size, capacity=capacity, instances=instances) as generator:
            return self.ask(generator, queries or -(-SAMPLES // batch_size))

    def ask(self, generator: LoadGenerator, queries: int) -> list[Answer]:
        """Run queries with one client for each instance.

        Raises:
            CheckFailed: where a query fails, or its answer is no mapping of arrays.
        """
        size = generator.batch_size
        pattern = ClosedLoop(generator.instances)
        result = generator.run(pattern, queries=queries, keep_outputs=True, stamps=0)
        must_answer(result)
        assert isinstance(result.outputs, list)
        found = []
        for query, outputs in enumerate(result.outputs):
            samples = [(query * size + i) % SAMPLES for i in range(size)]
            found.append(Answer(samples, named_arrays(outputs)))
        return found

    @contextmanager
    def instance(self, batch_size: int) -> Iterator[RuntimeBackend]:
        """Load one Python instance on this thread.

        Raises:
            NotApplicable: for a native backend, which has none.
        """
        build = self.task.runtime()
        if isinstance(build, NativeBackend):
            raise NotApplicable("native: it has no Python object")
        runtime = build()
        runtime.load(batch_size)
        try:
            yield runtime
        finally:
            runtime.unload()

    @contextmanager
    def caller(self, batch_size: int) -> Iterator[Callable[[Feeds], Mapping[str, Array]]]:
        """Load one instance on this thread, and yield a function that runs a batch on it. Outputs
        are the backend's own memory (a copy where that is only lent to ``done``)."""
        build = self.task.runtime()
        if not isinstance(build, NativeBackend):
            with self.instance(batch_size) as runtime:
                yield lambda feeds: call(runtime, feeds)
            return
        path, config = build.as_text()
        native = load_native(Library(path), config, batch_size)
        try:
            yield lambda feeds: _call_native(native, feeds, batch_size)
        finally:
            native.unload()


def _call_native(native: Instance, feeds: Feeds, samples: int) -> Mapping[str, Array]:
    batch = native.prepare(feeds, samples)
    if isinstance(native, SynchronousInstance):
        return named_arrays(native.call(batch))
    return _when_done(
        lambda done: native.call(
            batch, lambda outputs, error: done(outputs and _copied(outputs), error)
        )
    )


def _copied(outputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return {name: array.copy() for name, array in outputs.items()}


def call(runtime: Any, feeds: Feeds) -> Mapping[str, Array]:
    """Run one batch by hand, through submit() where the backend has it."""
    if not hasattr(runtime, "submit"):
        return named_arrays(runtime.predict(feeds))
    return _when_done(lambda done: runtime.submit(feeds, done))


def _when_done(submit: Callable[[Callable[..., None]], Any]) -> Mapping[str, Array]:
    """Submit a batch and wait until it has completed."""
    completed = threading.Event()
    found: list[Any] = []

    def done(outputs: Any = None, error: BaseException | None = None) -> None:
        found.append(error or outputs)
        completed.set()

    submit(done)
    completed.wait()
    if isinstance(found[0], BaseException):
        raise found[0]
    return named_arrays(found[0])


def must_answer(result: Result) -> None:
    """Raise CheckFailed with the first error of a run, if there is one."""
    if result.errors:
        kind, first = next(iter(result.error_types.items()))
        raise CheckFailed(
            f"{result.errors} of {result.planned} calls failed: {kind}: {first.first}"
        )


def named_arrays(outputs: Any) -> Mapping[str, Array]:
    """Return outputs that are a mapping of name to array.

    Raises:
        CheckFailed: where they are something else.
    """
    if not isinstance(outputs, dict):
        raise CheckFailed(f"expected a dictionary of outputs, got {type(outputs).__name__}")
    for name, array in outputs.items():
        if not isinstance(array, np.ndarray):
            raise CheckFailed(f"output {name!r}: expected an array, got {type(array).__name__}")
    return outputs
