"""The reference: what the eager source model on the CPU answers, kept by what it depends on."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bytemlperf.datasets import Dataset
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.engine.sampling import CHUNK, chunks, opened, run_samples
from bytemlperf.engine.task import Outputs, Task
from bytemlperf.errors import BytemlperfError
from bytemlperf.screen import Step
from bytemlperf.zoo import cache_root
from bytemlperf.zoo.cache import content_key

# Of a large labelled data set the numeric check compares this many samples.
MOST_COMPARED = 512


def numeric_samples(task: Task) -> list[int]:
    """Samples that are compared: all, or a seeded part of a large data set."""
    if len(task.samples) <= MOST_COMPARED:
        return task.samples
    share = 100.0 * MOST_COMPARED / len(task.samples)
    return [task.samples[i] for i in seeded_subset(len(task.samples), share, task.workload.seed)]


def compute_reference(task: Task, step: Step) -> str:
    """The eager source model on the CPU; kept on disk by model and data, so never stale.

    Raises:
        BytemlperfError: where it is not kept and cannot be computed here; with the command that
            makes it elsewhere.
    """
    dataset = opened(task)
    samples = numeric_samples(task)
    file = cache_root() / "references" / f"{_reference_key(task, dataset, samples)}.npz"
    if file.exists():
        task.reference = _load(file, samples)
        return f"{len(samples)} samples, from the cache"
    step.update(f"loading {task.model.source_name}")
    try:
        source = task.model.load_source()
        task.reference = run_samples(task, source, samples, 1, step)
    except Exception as error:
        raise BytemlperfError(
            f"no reference to compare with: {str(error) or type(error).__name__}. On a host where the "
            f"source model runs, '{_command(task)}' makes it; copy it to {file}"
        ) from error
    _store(file, task.reference, samples)
    return f"{len(samples)} samples through {task.model.source_name}"


def _command(task: Task) -> str:
    """What makes the same reference with nothing but a processor."""
    request, workload = task.request, task.workload
    words = ["bytemlperf", "--task", task.card.name, "--hardware_type", "CPU"]
    words += ["--preset", request.preset, "--seed", str(workload.seed)]
    words += ["--batch_sizes", str(task.batch_sizes[0]), "--iterations", "1"]
    words += ["--data_percent", f"{workload.data_percent:g}"]
    words += ["--weights", str(request.weights)] if request.weights else []
    words += ["--data_dir", str(request.data_dir)] if request.data_dir else []
    words += ["--sample_data"] if request.sample_data else []
    return shlex.join(words)


def _reference_key(task: Task, dataset: Dataset, samples: Sequence[int]) -> str:
    """Model, weights, data and preprocessing: the inputs themselves are in the key."""
    digest = hashlib.sha256()
    for chunk in chunks(samples, CHUNK):
        for name, array in sorted(dataset.feeds(chunk).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return content_key(
        {
            "model": task.model.path.parent.name,
            "weights": task.model.weights.sha256,
            "data": digest.hexdigest(),
            "batch": task.batch_sizes[0],
        }
    )


def _store(file: Path, outputs: Outputs, samples: Sequence[int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    stacked = {name: np.stack([outputs[s][name] for s in samples]) for name in outputs[samples[0]]}
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    np.savez(temporary, **stacked)  # type: ignore[arg-type]
    temporary.replace(file)


def _load(file: Path, samples: Sequence[int]) -> Outputs:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise BytemlperfError(
            f"{file}: the stored reference is broken ({error}): remove it"
        ) from error
    return {s: {name: a[i] for name, a in arrays.items()} for i, s in enumerate(samples)}
