"""The checks: which samples, what the reference says, what the backend says, how they compare."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Predict
from bytemlperf.datasets import Dataset, Synthetic, open_dataset
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.device import NativeBackend
from bytemlperf.engine.feeding import columns
from bytemlperf.engine.task import Outputs, Task
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.extras import MissingExtra
from bytemlperf.loadgen import LoadGenerator, Progress
from bytemlperf.numeric import NumericReport, compare
from bytemlperf.patterns import Offline
from bytemlperf.report.differences import draw, save_table
from bytemlperf.report.schema import (
    Accuracy,
    AccuracyDetail,
    NumericDetail,
    OutputDifference,
    VerdictDetail,
)
from bytemlperf.samples import Samples
from bytemlperf.screen import Step
from bytemlperf.zoo import cache_root
from bytemlperf.zoo.cache import content_key

# Samples are preprocessed and run in chunks, so that a large data set does not have to fit.
_CHUNK = 256
# Of a large labelled data set the numeric check compares this many samples.
_MOST = 512
# Without labelled data it takes what about this many seconds of the reference allow, where a core
# of a server does some 40 GFLOP/s in fp32.
_NUMERIC_BUDGET_S = 15.0
_FLOPS_A_CORE = 40e9
_FEWEST, _MOST_SYNTHETIC, _FEWEST_UNCOUNTED = 4, 64, 16


def choose_data(task: Task, step: Step) -> str:
    """Open the data set and choose the samples; synthetic data where its files are not there."""
    workload, request = task.workload, task.request
    details = task.report.details
    try:
        dataset = open_dataset(
            task.model,
            data_dir=request.data_dir,
            sample_data=request.sample_data,
            seed=workload.seed,
            report=lambda share: step.update("preprocessing", share),
        )
    except UsageError as error:
        if request.data_dir is not None:
            raise
        details.accuracy_skipped = str(error)
        dataset = Synthetic(task.card, _MOST, workload.seed)
    if not dataset.labelled and details.accuracy_skipped is None and workload.test_accuracy:
        details.accuracy_skipped = f"{task.card.name} has no labelled data set"
    task.dataset = dataset
    task.report.dataset = dataset.name
    if dataset.labelled:
        task.samples = dataset.select(workload.data_percent, workload.seed)
    else:
        task.samples = list(range(_affordable(task)))
    return f"{dataset.name}: {len(task.samples)} samples"


def _affordable(task: Task) -> int:
    """Samples for the numeric check, from the model's operations: the same on every run."""
    flops = task.model.flops_per_sample
    if flops is None:
        return _FEWEST_UNCOUNTED
    seconds = flops / (_FLOPS_A_CORE * len(os.sched_getaffinity(0)))
    return max(_FEWEST, min(_MOST_SYNTHETIC, int(_NUMERIC_BUDGET_S / seconds)))


def _numeric_samples(task: Task) -> list[int]:
    """All samples, or a seeded part of a large data set."""
    if len(task.samples) <= _MOST:
        return task.samples
    share = 100.0 * _MOST / len(task.samples)
    return [task.samples[i] for i in seeded_subset(len(task.samples), share, task.workload.seed)]


def compute_reference(task: Task, step: Step) -> str:
    """The eager source model on the CPU; kept on disk by model and data, so never stale."""
    dataset = _dataset(task)
    samples = _numeric_samples(task)
    file = cache_root() / "references" / f"{_reference_key(task, dataset, samples)}.npz"
    if file.exists():
        task.reference = _load(file, samples)
        return f"{len(samples)} samples, from the cache"
    step.update(f"loading {task.model.source_name}")
    source = task.model.load_source()
    task.reference = run_samples(task, source, samples, 1, step)
    _store(file, task.reference, samples)
    return f"{len(samples)} samples through {task.model.source_name}"


def _reference_key(task: Task, dataset: Dataset, samples: Sequence[int]) -> str:
    """Model, weights, data and preprocessing: the inputs themselves are in the key."""
    digest = hashlib.sha256()
    for chunk in _chunks(samples, _CHUNK):
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


def compute_outputs(task: Task, step: Step) -> str:
    """The backend on the same samples, through the load generator."""
    wanted = task.samples
    if task.report.details.accuracy_skipped is not None or not task.workload.test_accuracy:
        if not task.workload.test_numeric:
            return "nothing to compute"
        wanted = _numeric_samples(task)
    batch = task.batch_sizes[0]
    task.outputs = run_samples(task, task.backend(), wanted, task.instances, step)
    return f"{len(wanted)} samples at batch {batch} on {task.instances} instance(s)"


def run_samples(
    task: Task, backend: Predict | Any, samples: Sequence[int], instances: int, step: Step
) -> Outputs:
    """Run every sample once and return the outputs by sample.

    The tail is a smaller batch. To a shared library, whose queries are all of one size, it is a
    batch like the others, filled up with the first samples again.
    """
    dataset, batch_size = _dataset(task), task.batch_sizes[0]
    native = isinstance(backend, NativeBackend)
    outputs: Outputs = {}
    for chunk in _chunks(samples, max(_CHUNK, batch_size * instances)):
        size = min(batch_size, len(chunk))
        rows = [*chunk, *chunk[: -len(chunk) % size]] if native else chunk
        batches = list(_chunks(rows, size))
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


def score_accuracy(task: Task, step: Step) -> str:
    """The data set's own metrics, with their intervals."""
    details, dataset = task.report.details, _dataset(task)
    if details.accuracy_skipped is not None:
        return f"skipped: {details.accuracy_skipped}"
    names = task.card.outputs
    stacked = {n: np.stack([_output(task, s, n) for s in task.samples]) for n in names}
    metrics = dataset.score(task.samples, stacked)
    seeded = task.model.weights.kind == "seeded"
    details.accuracy = AccuracyDetail(
        dataset=dataset.name,
        sample_data=dataset.sample_data,
        samples=len(task.samples),
        metrics={
            name: {"value": m.value, "low": m.low, "high": m.high, "n": m.n}
            for name, m in metrics.items()
        },
        meaning="the weights are random: this accuracy means nothing" if seeded else "",
    )
    block = _accuracy_block(task)
    block.data_percent = task.workload.data_percent
    for name, metric in metrics.items():
        setattr(block, name, metric.value)
    return ", ".join(f"{name} {metric.value:.4g}" for name, metric in metrics.items()) + (
        " (random weights: it means nothing)" if seeded else ""
    )


def _output(task: Task, sample: int, name: str) -> Array:
    found = task.outputs[sample]
    if name not in found:
        raise BytemlperfError(
            f"sample {sample}: the backend gave no output {name!r}, only {', '.join(sorted(found))}"
        )
    return found[name]


def score_numeric(task: Task, step: Step) -> str:
    """How far the backend's outputs are from the reference, sample by sample."""
    found = compare(task.reference, task.outputs)
    overall, tolerance = found.overall, task.card.tolerance_at(task.compiled.precision)
    within = found.within(tolerance)
    block = _accuracy_block(task)
    block.mean_diff, block.std_diff, block.max_diff = (
        overall.mean_diff,
        overall.std_diff,
        overall.max_diff,
    )
    block.max_rel_diff, block.mean_rel_diff = overall.max_rel_diff, overall.mean_rel_diff
    task.report.details.numeric = NumericDetail(
        reference=task.model.source_name,
        data=_dataset(task).name,
        samples=found.samples,
        outputs=_by_output(found),
        tolerance=tolerance,
        within_tolerance=within,
        verdict=_numeric_verdict(task, found, tolerance),
        worst=[f"sample {w.sample}, {w.output}: {w.max_diff:.4g}" for w in found.worst],
        by_sample_file=save_table(found, task.report_file.parent / "numeric-by-sample.csv").name,
    )
    block.diff_dist = _plot(task, found, tolerance)
    return (
        f"max |diff| {overall.max_diff:.3g} over {found.samples} samples, "
        f"{'within' if within else 'outside'} tolerance {tolerance:g}"
    )


def _numeric_verdict(task: Task, found: NumericReport, tolerance: float) -> VerdictDetail:
    """A difference makes the run invalid where the card says what is accepted at this precision."""
    precision, overall = task.compiled.precision, found.overall
    stated = task.card.states_tolerance(precision)
    judged = stated or not found.within(math.inf)
    detail = f"largest difference {overall.max_diff:.3g} over {found.samples} samples"
    if not overall.finite:
        detail += f", {overall.nan_candidate} NaN and {overall.inf_candidate} infinite values"
    return VerdictDetail(
        name="numeric",
        ok=found.within(tolerance),
        detail=f"{detail}, tolerance {tolerance:g}"
        + ("" if stated else f" at {task.card.precision}; the card has none at {precision}"),
        remedy=f"the outputs are not those of {task.model.source_name}: look at the worst samples"
        if judged
        else f"judge by the accuracy, or give the card a tolerance at {precision}",
        severity="invalid" if judged else "advice",
    )


def _plot(task: Task, found: NumericReport, tolerance: float) -> str | None:
    """Draw the differences beside the report; None where there is no package to draw with."""
    precision = task.compiled.precision.lower().replace("/", "-")
    file = task.report_file.parent / f"{task.card.name}-to-{precision}.png"
    simulated = " (SIMULATED, a device model)" if task.simulated else ""
    title = f"{task.card.title} on {task.request.backend.name}, {precision}{simulated}"
    try:
        draw(found, tolerance, title, file)
    except MissingExtra as missing:
        task.screen.say(f"no plot of the differences: {missing}")
        return None
    return file.name


def _by_output(found: NumericReport) -> dict[str, OutputDifference]:
    return {
        name: OutputDifference(
            mean_diff=d.mean_diff,
            std_diff=d.std_diff,
            max_diff=d.max_diff,
            max_rel_diff=d.max_rel_diff,
            mean_rel_diff=d.mean_rel_diff,
            cosine=d.cosine,
            snr_db=d.snr_db if np.isfinite(d.snr_db) else None,
            ulps=dict(d.ulps),
            nan=d.nan_candidate,
            inf=d.inf_candidate,
            nan_reference=d.nan_reference,
            inf_reference=d.inf_reference,
        )
        for name, d in found.outputs.items()
    }


def _accuracy_block(task: Task) -> Accuracy:
    if task.report.accuracy is None:
        task.report.accuracy = Accuracy()
    return task.report.accuracy


def _dataset(task: Task) -> Dataset:
    if task.dataset is None:
        raise RuntimeError("the data step has not run")
    return task.dataset


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
