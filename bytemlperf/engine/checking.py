"""The checks: which samples, what the backend says of them, how that compares."""

from __future__ import annotations

import math

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets import Synthetic, open_dataset
from bytemlperf.engine.accepted import accepted
from bytemlperf.engine.estimate import HOST_FLOPS
from bytemlperf.engine.reference import MOST_COMPARED, numeric_samples
from bytemlperf.engine.sampling import opened, run_samples
from bytemlperf.engine.task import Outputs, Task
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.extras import MissingExtra
from bytemlperf.numeric import NumericReport, compare
from bytemlperf.report.differences import draw, save_table
from bytemlperf.report.schema import (
    Accuracy,
    AccuracyDetail,
    NumericDetail,
    OutputDifference,
    VerdictDetail,
)
from bytemlperf.screen import Step
from bytemlperf.tolerance import Tolerance

# Without labelled data it takes what about this many seconds of the reference allow.
_NUMERIC_BUDGET_S = 15.0
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
        dataset = Synthetic(task.card, MOST_COMPARED, workload.seed)
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
    """Samples for the numeric check, from the model's operations: the same on every host."""
    flops = task.model.flops_per_sample
    if flops is None:
        return _FEWEST_UNCOUNTED
    return max(_FEWEST, min(_MOST_SYNTHETIC, int(_NUMERIC_BUDGET_S * HOST_FLOPS / flops)))


def compute_outputs(task: Task, step: Step) -> str:
    """The backend on the same samples, through the load generator."""
    wanted = task.samples
    if task.report.details.accuracy_skipped is not None or not task.workload.test_accuracy:
        if not task.workload.test_numeric:
            return "nothing to compute"
        wanted = numeric_samples(task)
    batch = task.batch_sizes[0]
    task.outputs = run_samples(task, task.backend(), wanted, task.instances, step)
    return f"{len(wanted)} samples at batch {batch} on {task.instances} instance(s)"


def score_accuracy(task: Task, step: Step) -> str:
    """The data set's own metrics, with their intervals."""
    details, dataset = task.report.details, opened(task)
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
    found = compare(_computed(task, task.reference), _computed(task, task.outputs))
    overall, tolerance = found.overall, accepted(task)
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
        data=opened(task).name,
        samples=found.samples,
        outputs=_by_output(found),
        tolerance=tolerance.value,
        tolerance_definition=tolerance.definition,
        tolerance_by_output={name: tolerance.of(name) for name in found.outputs},
        within_tolerance=within,
        verdict=_numeric_verdict(task, found, tolerance),
        worst=[f"sample {w.sample}, {w.output}: {w.max_diff:.4g}" for w in found.worst],
        by_sample_file=save_table(found, task.report_file.parent / "numeric-by-sample.csv").name,
    )
    block.diff_dist = _plot(task, found, tolerance)
    return (
        f"max |diff| {overall.max_diff:.3g} over {found.samples} samples, "
        f"{'within' if within else 'outside'} tolerance {tolerance}"
    )


def _computed(task: Task, outputs: Outputs) -> Outputs:
    """Leave out the positions that the backend does not compute; all of them are the rule."""
    name = task.compiled.padding_mask
    if name is None:
        return outputs
    computed: Outputs = {}
    for sample in task.reference.keys() & outputs.keys():
        mask = opened(task).feeds([sample])[name][0] != 0
        computed[sample] = {
            output: array[mask] if array.shape[:1] == mask.shape else array
            for output, array in outputs[sample].items()
        }
    return computed


def _numeric_verdict(task: Task, found: NumericReport, tolerance: Tolerance) -> VerdictDetail:
    """A difference makes the run invalid where it is said what is accepted at this precision."""
    precision, overall, stated = task.compiled.precision, found.overall, tolerance.stated
    judged = stated or not found.within(math.inf)
    detail = f"largest difference {overall.max_diff:.3g} over {found.samples} samples"
    if not overall.finite:
        detail += f", {overall.nan_candidate} NaN and {overall.inf_candidate} infinite values"
    return VerdictDetail(
        name="numeric",
        ok=found.within(tolerance),
        detail=f"{detail}, tolerance {tolerance}"
        + ("" if stated else f" at {task.card.precision}; the card has none at {precision}"),
        remedy=f"the outputs are not those of {task.model.source_name}: look at the worst samples"
        if judged
        else f"judge by the accuracy, or give the card a tolerance at {precision}",
        severity="invalid" if judged else "advice",
    )


def _plot(task: Task, found: NumericReport, tolerance: Tolerance) -> str | None:
    """Draw the differences beside the report; None where there is no package to draw with."""
    precision = task.compiled.precision.lower().replace("/", "-")
    file = task.report_file.parent / f"{task.card.name}-to-{precision}.png"
    simulated = " (SIMULATED, a device model)" if task.simulated else ""
    title = f"{task.card.title} on {task.request.backend.name}, {precision}{simulated}"
    try:
        draw(found, tolerance.largest, title, file)
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
