"""How long a batch takes on a device that is not here."""

from __future__ import annotations

from dataclasses import dataclass

from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate.architectures import ARCHITECTURES, Architecture
from bytemlperf.simulate.calibration import (
    Work,
    leave_one_model_out,
    leave_one_out,
    line_of,
)
from bytemlperf.simulate.device_card import DeviceCard
from bytemlperf.zoo import Model, synthetic_feeds


@dataclass(frozen=True)
class Roofline:
    """Service time of a batch of b samples: ``t(b) = fixed + b per_sample``.

    Attributes:
        fixed_s: cost of a batch, whatever its size.
        per_sample_s: cost of one more sample.
        efficiency: share of the peak at which samples are computed, None where their operations
            are unknown. Above 1 the published run did less than its architecture says.
        basis: where the two times come from, for the report.
        error: relative error of such a prediction on published points it had not seen.
        median_error: its median over these points; None where there are too few.
    """

    fixed_s: float
    per_sample_s: float
    efficiency: float | None
    basis: str
    error: str
    median_error: float | None

    def seconds(self, batch_size: int) -> float:
        return self.fixed_s + batch_size * self.per_sample_s

    @classmethod
    def fit(cls, device: DeviceCard, model: Model, precision: str | None = None) -> Roofline:
        """Fit the device's model to one neural network at one of the device's precisions.

        Raises:
            BytemlperfError: where nothing is known of the network's operations.
        """
        precision = precision or device.precision
        name = model.card.name
        own = [p for p in device.published if p.card == name and p.precision == precision]
        # A model that was published is timed at its full size, whatever was built here.
        architecture = ARCHITECTURES.get(name) or _architecture(model)
        filled = own[0].filled if own else 1.0
        work = Work.of(device, architecture, precision, filled)
        line = line_of(device, device.published, name, precision, work, architecture)
        if line is None:
            raise BytemlperfError(
                f"{name}: its operations are not counted and {device.device} has no published "
                f"result for it in {precision}: nothing to simulate its speed from"
            )
        fixed_s, per_sample_s, basis = line
        if own:
            basis += f" ({device.published_source})"
        if name in ARCHITECTURES:
            basis += "; of the model at its full size"
        way, unseen = (
            ("leave one out", leave_one_out(device))
            if own
            else ("leave one model out", leave_one_model_out(device))
        )
        efficiency = None if work is None else work.sample_s / per_sample_s
        return cls(fixed_s, per_sample_s, efficiency, basis, f"{way}: {unseen}", unseen.median)


def _architecture(model: Model) -> Architecture:
    """What the built model says of itself: its counted operations, its inputs' bytes."""
    flops = model.flops_per_sample
    return Architecture(
        None if flops is None else flops / 1e9,
        sum(array.nbytes for array in synthetic_feeds(model.card, [0], seed=0).values()),
    )
