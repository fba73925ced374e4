"""Samples through a backend, each of them once: preprocessed, run and kept in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bytemlperf.backend import Predict
from bytemlperf.datasets import Dataset
from bytemlperf.device import NativeBackend
from bytemlperf.engine.feeding import columns
from bytemlperf.engine.task import Outputs, Task
from bytemlperf.errors import BytemlperfError
from bytemlperf.loadgen import LoadGenerator, Progress
from bytemlperf.patterns import Offline
from bytemlperf.samples import Samples
from bytemlperf.screen import Step

# So that a large data set does not have to fit in memory.
CHUNK = 256


def opened(task: Task) -> Dataset:
    """Return the data set that the data step has opened."""
    if task.dataset is None:
        raise RuntimeError("the data step has not run")
    return task.dataset


def chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut into parts of ``size``; the last may be smaller."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def run_samples(
    task: Task, backend: Predict | Any, samples: Sequence[int], instances: int, step: Step
) -> Outputs:
    """Run every sample once and return the outputs by sample.

    The tail is a smaller batch. To a shared library, whose queries are all of one size, it is a
    batch like the others, filled up with the first samples again.
    """
    dataset, batch_size = opened(task), task.batch_sizes[0]
    native = isinstance(backend, NativeBackend)
    outputs: Outputs = {}
    for chunk in chunks(samples, max(CHUNK, batch_size * instances)):
        size = min(batch_size, len(chunk))
        rows = [*chunk, *chunk[: -len(chunk) % size]] if native else chunk
        batches = list(chunks(rows, size))
        queries: Samples = (
            columns(task.card, dataset.feeds(rows))
            if native
            else [dataset.feeds(batch) for batch in batches]
        )
        with LoadGenerator(backend, queries, batch_size=size, instances=instances) as gen:
            result = gen.run(
                Offline(),
                queries=len(batches),
                keep_outputs=True,
                stamps=0,
                progress=_progress(step, len(outputs), len(chunk), len(samples)),
            )
        if result.errors:
            kind, first = next(iter(result.error_types.items()))
            raise BytemlperfError(
                f"the backend failed on {result.errors} of {len(batches)} batches: "
                f"{kind}: {first.first}"
            )
        for batch, found in zip(batches, result.outputs or [], strict=True):
            _split(outputs, batch, found)
    return outputs


def _split(outputs: Outputs, batch: Sequence[int], found: Any) -> None:
    """Hand the rows of a batch's outputs to its samples."""
    if not isinstance(found, dict):
        raise BytemlperfError(
            f"predict() must return a dictionary of output name to array, not {type(found).__name__}"
        )
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0 or len(array) != len(batch):
            shape = getattr(array, "shape", type(array).__name__)
            raise BytemlperfError(
                f"output {name!r}: expected an array with {len(batch)} rows (the samples of the "
                f"batch), got {shape}"
            )
    for row, sample in enumerate(batch):
        outputs[sample] = {name: array[row] for name, array in found.items()}


def _progress(step: Step, before: int, size: int, total: int) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        done = before + (progress.fraction or 0.0) * size
        step.update(f"{done:.0f} of {total} samples", done / total)

    return show
