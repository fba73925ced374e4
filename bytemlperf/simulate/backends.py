"""The two classes that stand in for a vendor's own while its SDK or its device is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from bytemlperf.errors import BytemlperfError, UsageError, did_you_mean
from bytemlperf.simulate.device_card import DeviceCard
from bytemlperf.simulate.numerics import emulate
from bytemlperf.simulate.partition import partition_model
from bytemlperf.simulate.precisions import precision_named
from bytemlperf.simulate.roofline import Roofline
from bytemlperf.zoo import Model


class SimulatedCompile(CompileBackend):
    """Checks the model against the device card of ``package``."""

    simulated = True
    #: the backend's package, which holds device.json
    package: ClassVar[str]
    #: why the hardware itself is not used, for the report
    because: ClassVar[str]

    def version(self) -> str:
        return f"device model of {self._device.device}, bytemlperf"

    @cached_property
    def _device(self) -> DeviceCard:
        return DeviceCard.of_package(self.package)

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        device = self._device
        questions = [
            Question(
                "host_operators",
                "kinds of operator, with commas, that run on the host as if the device lacked them",
                default="",
            )
        ]
        if len(device.peak_tops) > 1:
            questions.append(
                Question(
                    "precision",
                    "what the device computes in",
                    default=device.precision,
                    choices=tuple(device.peak_tops),
                )
            )
        if device.max_sparsity > 1:
            powers = tuple(1 << i for i in range(device.max_sparsity.bit_length()))
            questions.append(
                Question(
                    "sparsity",
                    "weights that one kept weight stands for (1: dense); prunes without fine-tuning",
                    default=1,
                    choices=powers,
                )
            )
        return questions

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        device, model = self._device, config.model
        precision = str(config.options.get("precision", device.precision))
        sparsity = int(config.options.get("sparsity", 1))
        if not 1 <= sparsity <= device.max_sparsity:
            raise UsageError(f"--set sparsity={sparsity}: 1 to {device.max_sparsity}")
        lacking = _host_operators(device, config)
        roofline = Roofline.fit(device, model, precision)
        optimizations: dict[str, object] = {"precision": precision_named(precision).description}
        if device.max_sparsity > 1:
            optimizations["sparsity"] = sparsity
        notes: dict[str, object] = {
            "device": f"{device.vendor} {device.device}",
            "simulated_because": self.because,
            "service_time": roofline.basis,
            "service_time_error": roofline.error,
            "fixed_s": roofline.fixed_s,
            "per_sample_s": roofline.per_sample_s,
            "peak": device.peak_note,
            "tdp_w": device.tdp_w,
        }
        published = [p for p in device.published if p.card == model.card.name]
        if published and published[0].compile_s is not None:
            notes["published_compile_s"] = published[0].compile_s
        if device.assumed is not None:
            notes["launch_overhead_s"] = f"at least {device.assumed.launch_overhead_s:g}, assumed"
            notes["launch_overhead_why"] = device.assumed.why
        if roofline.efficiency is not None:
            notes["efficiency_of_peak"] = round(roofline.efficiency, 4)
        return CompileInfo(
            precision=precision,
            segments=_segments(model, lacking),
            artifact=SimulatedArtifact(roofline, lacking),
            fallback_operators={k: n for k, n in model.operators.items() if k in lacking},
            optimizations=optimizations,
            notes=notes,
        )


@dataclass(frozen=True)
class SimulatedArtifact:
    """What a device model's runtime loads.

    Attributes:
        roofline: the device's times; what the host's segments take is not in them.
        host_operators: kinds of operator that the device lacks.
    """

    roofline: Roofline
    host_operators: frozenset[str]


def _host_operators(device: DeviceCard, config: CompileConfig) -> frozenset[str]:
    asked = [k for k in str(config.options.get("host_operators", "")).split(",") if k]
    there = config.model.operators
    if unknown := [kind for kind in asked if kind not in there]:
        raise UsageError(
            f"--set host_operators: {config.model.card.name} has no {unknown[0]}"
            f"{did_you_mean(unknown[0], there)} (it has {', '.join(there)})"
        )
    lacking = frozenset((*asked, *device.unsupported_operators)) & there.keys()
    if lacking and config.model.card.format != "onnx":
        raise BytemlperfError(
            f"{config.model.card.name}: {device.device} lacks {', '.join(sorted(lacking))}, and "
            f"only ONNX models are split into segments, not {config.model.card.format}"
        )
    return lacking


def _segments(model: Model, lacking: frozenset[str]) -> tuple[Segment, ...]:
    if lacking:
        return tuple(segment for segment, _ in partition_model(model, lacking))
    inputs = tuple(tensor.name for tensor in model.card.inputs)
    return (Segment(0, False, sum(model.operators.values()), inputs, model.card.outputs),)


class SimulatedRuntime(RuntimeBackend):
    """Outputs with the device's rounding from predict(); its speed from simulated_service()."""

    _emulated: Predict | None = None
    _batch_size = 0

    def version(self) -> str:
        return "device model"

    def load(self, batch_size: int) -> None:
        if self._emulated is None:
            precision = precision_named(self.compiled.precision)
            sparsity = int(self.compiled.optimizations.get("sparsity", 1))
            artifact: SimulatedArtifact = self.compiled.artifact
            self._emulated = emulate(self.model, precision, sparsity, artifact.host_operators)
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        if self._emulated is None:
            raise RuntimeError("predict() before load()")
        return self._emulated(feeds)

    def simulated_service(self, batch_size: int) -> float:
        """Seconds that the device would take for a batch."""
        artifact: SimulatedArtifact = self.compiled.artifact
        return artifact.roofline.seconds(batch_size)


def device_model(package: str, because: str) -> type[SimulatedCompile]:
    """Return the compiler of a backend's device model.

    Args:
        package: of the backend; holds ``device.json``.
        because: why the hardware is not used: what is not installed or not found.
    """
    return type("Compile", (SimulatedCompile,), {"package": package, "because": because})
