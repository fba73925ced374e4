"""The two classes that stand in for a vendor's own while its SDK or its device is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from bytemlperf.errors import BackendError, BytemlperfError, UsageError, did_you_mean
from bytemlperf.simulate.device_card import DeviceCard
from bytemlperf.simulate.host_segments import host_cost
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
        notes = _notes(device, model, roofline) | {"simulated_because": self.because}
        host_s = _host_seconds(device, config, lacking)
        if host_s:
            notes["host_segments_s"] = {str(b): round(s, 9) for b, s in host_s.items()}
            notes["host_segments"] = _host_basis(device, model)
        return CompileInfo(
            precision=precision,
            segments=_segments(model, lacking),
            artifact=SimulatedArtifact(roofline, lacking, host_s),
            fallback_operators={k: n for k, n in model.operators.items() if k in lacking},
            optimizations=optimizations,
            notes=notes,
        )


@dataclass(frozen=True)
class SimulatedArtifact:
    """What a device model's runtime loads.

    Attributes:
        roofline: the device's times.
        host_operators: kinds of operator that the device lacks.
        host_s: seconds that they take on the host by batch size; empty where it lacks none.
    """

    roofline: Roofline
    host_operators: frozenset[str]
    host_s: Mapping[int, float]

    def seconds(self, batch_size: int) -> float:
        """Seconds of a batch on the device and, after it, on the host.

        Raises:
            BackendError: where the host's share was not measured at this batch size.
        """
        if self.host_operators and batch_size not in self.host_s:
            sizes = ", ".join(map(str, self.host_s))
            raise BackendError(
                f"the host's segments were not timed at batch {batch_size} (compiled: {sizes})"
            )
        return self.roofline.seconds(batch_size) + self.host_s.get(batch_size, 0.0)


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


def _notes(device: DeviceCard, model: Model, roofline: Roofline) -> dict[str, object]:
    """What a report says of a device model: where its figures come from and what they are worth."""
    notes: dict[str, object] = {
        "device": f"{device.vendor} {device.device}",
        "service_time": roofline.basis,
        "service_time_error": roofline.error,
        "service_time_median_error": roofline.median_error,
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
    if packed := device.packed(model.card.name):
        notes["caveat"] = f"these times are of packed samples: {packed}"
    return notes


def _host_seconds(
    device: DeviceCard, config: CompileConfig, lacking: frozenset[str]
) -> dict[int, float]:
    """Time the host's segments at every batch size that the workload asks for."""
    if not lacking:
        return {}
    sizes = {*config.batch_sizes, *(load.batch_size for load in config.workload.loads)}
    return {
        size: host_cost(config.model, lacking, size).seconds(device.host_gb_per_s)
        for size in sorted(sizes)
    }


def _host_basis(device: DeviceCard, model: Model) -> str:
    said = (
        "measured on this host with ONNX Runtime, and their tensors across the host interface at "
        f"{device.host_gb_per_s:g} GB/s; added to the device's time, of which nothing is taken off"
    )
    return said if model.preset == "full" else f"{said}; of the {model.preset} preset"


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
        """Seconds that the device would take for a batch, with the host's part of it."""
        artifact: SimulatedArtifact = self.compiled.artifact
        return artifact.seconds(batch_size)


def device_model(package: str, because: str) -> type[SimulatedCompile]:
    """Return the compiler of a backend's device model.

    Args:
        package: of the backend; holds ``device.json``.
        because: why the hardware is not used: what is not installed or not found.
    """
    return type("Compile", (SimulatedCompile,), {"package": package, "because": because})
