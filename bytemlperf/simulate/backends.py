"""The two classes that a vendor's backend derives from while its SDK is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from bytemlperf.backend import (
    CompileBackend,
    CompileConfig,
    CompileInfo,
    Feeds,
    Outputs,
    Predict,
    Question,
    RuntimeBackend,
    Segment,
)
from bytemlperf.datasets import Dataset
from bytemlperf.errors import UsageError
from bytemlperf.simulate.device_card import DeviceCard
from bytemlperf.simulate.numerics import DESCRIPTION, emulate
from bytemlperf.simulate.roofline import Roofline


class SimulatedCompile(CompileBackend):
    """Checks the model against the device card. Set ``package`` to the backend's package."""

    simulated = True
    package: ClassVar[str]

    def version(self) -> str:
        return f"device model of {self._device.device}, bytemlperf"

    @cached_property
    def _device(self) -> DeviceCard:
        return DeviceCard.of_package(self.package)

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        powers = tuple(1 << i for i in range(self._device.max_sparsity.bit_length()))
        return (
            Question(
                "sparsity",
                "weights that one kept weight stands for (1: dense); prunes without fine-tuning",
                default=1,
                choices=powers,
            ),
        )

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        device, model = self._device, config.model
        sparsity = int(config.options.get("sparsity", 1))
        if not 1 <= sparsity <= device.max_sparsity:
            raise UsageError(f"--set sparsity={sparsity}: 1 to {device.max_sparsity}")
        refused = {k: n for k, n in model.operators.items() if k in device.unsupported_operators}
        fallback = sum(refused.values())
        taken = sum(model.operators.values()) - fallback
        segments = [Segment(0, False, taken, outputs=model.card.outputs)]
        if fallback:
            segments.append(Segment(1, True, fallback))
        roofline = Roofline.fit(device, model)
        return CompileInfo(
            precision=device.precision,
            segments=tuple(segments),
            artifact=roofline,
            fallback_operators=refused,
            optimizations={"sparsity": sparsity, "quantization": DESCRIPTION},
            notes={
                "device": f"{device.vendor} {device.device}",
                "service_time": roofline.basis,
                "efficiency_of_peak": round(roofline.efficiency, 4),
                "peak": device.peak_note,
                "launch_overhead_s": device.assumed.launch_overhead_s,
                "launch_overhead": f"assumed: {device.assumed.why}",
            },
        )


class SimulatedRuntime(RuntimeBackend):
    """Outputs with the device's rounding from predict(); its speed from simulated_service()."""

    _emulated: Predict | None = None
    _batch_size = 0

    def version(self) -> str:
        return "device model"

    def load(self, batch_size: int) -> None:
        if self._emulated is None:
            self._emulated = emulate(self.model, int(self.compiled.optimizations["sparsity"]))
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        if self._emulated is None:
            raise RuntimeError("predict() before load()")
        return self._emulated(feeds)

    def simulated_service(self, batch_size: int) -> float:
        """Seconds that the device would take for a batch."""
        roofline: Roofline = self.compiled.artifact
        return roofline.seconds(batch_size)
