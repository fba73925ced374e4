"""How long a batch takes on a device that is not here: a roofline met to published results."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from bytemlperf.backend import Feeds
from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate.device_card import DeviceCard, PublishedPoint
from bytemlperf.zoo import Model, synthetic_feeds


@dataclass(frozen=True)
class Roofline:
    """Service time of a batch of b samples:

    ``t(b) = launch + b (flops / (peak efficiency) + bytes / host_bandwidth)``

    The efficiency is solved so that the model's own published point is met exactly. A model
    without one gets the median efficiency of the device's points; ``basis`` says which.

    Attributes:
        launch_s: fixed cost of a batch (assumed).
        per_sample_s: cost of one more sample.
        efficiency: share of the peak that is reached.
        basis: where the efficiency comes from, for the report.
    """

    launch_s: float
    per_sample_s: float
    efficiency: float
    basis: str

    def seconds(self, batch_size: int) -> float:
        return self.launch_s + batch_size * self.per_sample_s

    @classmethod
    def fit(cls, device: DeviceCard, model: Model) -> Roofline:
        """Fit the device's model to one neural network.

        Raises:
            BytemlperfError: where nothing is known of the network's operations.
        """
        launch = device.assumed.launch_overhead_s
        transfer = _bytes(synthetic_feeds(model.card, [0], seed=0)) / (1e9 * device.host_gb_per_s)
        own = next((p for p in device.published if p.card == model.card.name), None)
        if own is not None:
            flops = 1e9 * own.gflops_per_sample
            efficiency = _efficiency(device, own, transfer)
            basis = f"published result at batch {own.batch_size} ({device.published_source})"
        else:
            if model.flops_per_sample is None:
                raise BytemlperfError(
                    f"{model.card.name}: its operations are not counted and {device.device} has "
                    "no published result for it: nothing to simulate its speed from"
                )
            flops = model.flops_per_sample
            efficiency = statistics.median(_efficiency(device, p, 0.0) for p in device.published)
            basis = "estimated: no published result; median efficiency of the device's others"
        compute = flops / (1e12 * device.peak_tops * efficiency)
        return cls(launch, compute + transfer, efficiency, basis)


def _efficiency(device: DeviceCard, point: PublishedPoint, transfer_s: float) -> float:
    """Share of the peak at which the published time comes out."""
    per_batch = 1e-3 * point.average_ms - device.assumed.launch_overhead_s
    compute = per_batch / point.batch_size - transfer_s
    if compute <= 0:
        raise BytemlperfError(
            f"device.json of {device.device}: the published {point.average_ms} ms of {point.card} "
            "leave no time to compute beside the assumed overhead and the transfer"
        )
    return 1e9 * point.gflops_per_sample / (compute * 1e12 * device.peak_tops)


def _bytes(feeds: Feeds) -> int:
    return sum(array.nbytes for array in feeds.values())
