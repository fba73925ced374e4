"""A device's published results, fitted by least squares; and how far such a fit can be trusted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bytemlperf.simulate.architectures import ARCHITECTURES, Architecture
from bytemlperf.simulate.device_card import DeviceCard, PublishedPoint


@dataclass(frozen=True)
class Work:
    """What a batch of b samples asks of the device, in seconds at its peaks.

    Attributes:
        batch_s: operations needed once a batch / peak.
        sample_s: operations of a sample / peak.
        transfer_s: bytes of a sample / bandwidth of the host interface.
    """

    batch_s: float
    sample_s: float
    transfer_s: float

    @classmethod
    def of(
        cls, device: DeviceCard, architecture: Architecture, precision: str, filled: float = 1.0
    ) -> Work | None:
        """Return None where the operations are unknown."""
        if architecture.gflops is None:
            return None
        peak = 1e12 * device.peak_tops[precision]
        return cls(
            1e9 * architecture.gflops_per_batch / peak,
            1e9 * architecture.gflops * filled / peak,
            architecture.host_bytes * filled / (1e9 * device.host_gb_per_s),
        )


@dataclass(frozen=True)
class Fit:
    """``t(b) = launch + (batch_s + b sample_s) / efficiency + b transfer_s / host_share``.

    The three unknowns minimise the sum of squared errors of log t over the published points. The
    launch is not below what the card assumes, the share not negative, the efficiency at most 1.

    Attributes:
        launch_s: fixed cost of a batch.
        slowdown: 1 / efficiency.
        transfer_slowdown: 1 / share of the host interface's bandwidth; 0 where it costs nothing.
    """

    launch_s: float
    slowdown: float
    transfer_slowdown: float

    @property
    def efficiency(self) -> float:
        """Share of the peak that is reached."""
        return 1.0 / self.slowdown

    def fixed_s(self, work: Work) -> float:
        return self.launch_s + self.slowdown * work.batch_s

    def per_sample_s(self, work: Work) -> float:
        return self.slowdown * work.sample_s + self.transfer_slowdown * work.transfer_s


def fit_device(device: DeviceCard, points: Sequence[PublishedPoint]) -> Fit:
    """Fit all points whose operations are known and possible.

    A point above the peak did less than its architecture says (shorter inputs, most likely).
    """
    rows, seconds = [], []
    for point in points:
        work = _work(device, point)
        if work is None:
            continue
        b = point.batch_size
        compute_s = work.batch_s + b * work.sample_s
        if compute_s <= point.batch_s:
            rows.append([1.0, compute_s, b * work.transfer_s])
            seconds.append(point.batch_s)
    launch = device.assumed.launch_overhead_s if device.assumed else 0.0
    return Fit(*_least_squares(rows, seconds, (launch, 1.0, 0.0)))


def fit_line(points: Sequence[PublishedPoint]) -> tuple[float, float]:
    """Return (fixed, per sample) seconds of one model's points at several batch sizes."""
    rows = [[1.0, float(point.batch_size)] for point in points]
    fixed, per_sample = _least_squares(rows, [p.batch_s for p in points], (0.0, 0.0))
    return fixed, per_sample


def line_of(
    device: DeviceCard,
    points: Sequence[PublishedPoint],
    card: str,
    precision: str,
    work: Work | None,
    architecture: Architecture | None = None,
) -> tuple[float, float, str] | None:
    """Return (fixed seconds, seconds a sample, basis) of a model on a device.

    From the model's own points at this precision, else from those of models of the same
    operations: a line through several batch sizes, or the device's fit scaled to meet the one
    there is. Without any: the device's fit. None where there is nothing to go by.
    """
    same = [p for p in points if p.precision == precision]
    near, of = [p for p in same if p.card == card], "published result"
    if not near and architecture is not None and architecture.gflops is not None:
        near = [p for p in same if _like(ARCHITECTURES[p.card], architecture)]
        twins = ", ".join(sorted({p.card for p in near}))
        of = f"estimated: no published result; from those of the same operations ({twins})"
    if near and near[0].filled < 1:
        share = f"{100 * near[0].filled:.0f} %"
        of += f" (packed: {share} of a sample's length is not padding)"
    sizes = sorted({p.batch_size for p in near})
    listed = ", ".join(map(str, sizes))
    if len(sizes) > 1:
        return *fit_line(near), f"{of} at batch {listed}, least squares"
    if work is None:
        if not near:
            return None
        return 0.0, 1.0 / near[0].samples_per_second, f"{of} at batch {listed} alone"
    fit = fit_device(device, points)
    fixed, per_sample = fit.fixed_s(work), fit.per_sample_s(work)
    if not near:
        return fixed, per_sample, "estimated: no published result; fit of the device's others"
    seconds = statistics.median(p.batch_s for p in near)
    scale = seconds / (fixed + sizes[0] * per_sample)
    basis = f"{of} at batch {listed}; its split from the device's fit"
    return scale * fixed, scale * per_sample, basis


def _like(one: Architecture, other: Architecture) -> bool:
    """Same operations; what crosses the host interface may differ."""
    return (one.gflops, one.gflops_per_batch) == (other.gflops, other.gflops_per_batch)


@dataclass(frozen=True)
class LeaveOneOut:
    """Relative errors of points that the fit has not seen."""

    errors: tuple[float, ...]

    @property
    def median(self) -> float | None:
        return statistics.median(self.errors) if self.errors else None

    def __str__(self) -> str:
        if self.median is None:
            return "not computable"
        return (
            f"median {100 * self.median:.0f} %, "
            f"largest {100 * max(self.errors):.0f} % of {len(self.errors)} points"
        )


def leave_one_out(device: DeviceCard) -> LeaveOneOut:
    """Each point predicted from all others, of the same model too."""
    return _errors(device, lambda point, other: other is not point)


def leave_one_model_out(device: DeviceCard) -> LeaveOneOut:
    """Each point predicted from those of other models: what an unpublished model can expect."""
    return _errors(device, lambda point, other: other.card != point.card)


def _errors(
    device: DeviceCard, seen: Callable[[PublishedPoint, PublishedPoint], bool]
) -> LeaveOneOut:
    errors = []
    for point in device.published:
        others = [other for other in device.published if seen(point, other)]
        work, architecture = _work(device, point), ARCHITECTURES[point.card]
        line = line_of(device, others, point.card, point.precision, work, architecture)
        if line is not None:
            predicted = line[0] + point.batch_size * line[1]
            errors.append(abs(predicted / point.batch_s - 1.0))
    return LeaveOneOut(tuple(errors))


def _work(device: DeviceCard, point: PublishedPoint) -> Work | None:
    return Work.of(device, ARCHITECTURES[point.card], point.precision, point.filled)


def _least_squares(
    rows: Sequence[Sequence[float]], seconds: Sequence[float], lowest: Sequence[float]
) -> list[float]:
    """Coefficients, none below its ``lowest``, with the least sum of squared log errors.

    A logarithm weighs twice as slow and twice as fast alike, and short batches like long ones.
    """
    from scipy.optimize import least_squares, nnls

    target = np.asarray(seconds)
    matrix = np.asarray(rows)
    relative = matrix / target[:, None]
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    start, _ = nnls(relative / scale, np.ones(len(target)))
    bottom = np.asarray(lowest) * scale
    begin = np.maximum(start, bottom) + 1e-3
    found = least_squares(
        lambda x: np.log(relative @ (x / scale)), begin, bounds=(bottom, np.inf), xtol=1e-12
    )
    # A term that only the solver's distance to its bound keeps is none.
    solution = np.where(found.x - bottom < 1e-6, bottom, found.x)
    return [float(c) for c in solution / scale]
