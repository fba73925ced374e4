"""``device.json``: what a vendor says about a device, what was published, what is assumed."""

from __future__ import annotations

from importlib import resources
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bytemlperf.errors import BytemlperfError


class PublishedPoint(BaseModel):
    """A published result: a fact about hardware, used to calibrate the model.

    ``gflops_per_sample`` are the dense operations of the model, which its architecture fixes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    card: str = Field(description="name of the model card")
    batch_size: int = Field(ge=1)
    samples_per_second: float = Field(gt=0)
    average_ms: float = Field(gt=0)
    p99_ms: float = Field(gt=0)
    compile_s: float | None = None
    gflops_per_sample: float = Field(gt=0)


class Assumed(BaseModel):
    """Figures that nobody published. The report repeats them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    launch_overhead_s: float = Field(ge=0, description="fixed cost of a batch")
    why: str


class DeviceCard(BaseModel):
    """The key parameters of one device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: str
    device: str
    precision: str = Field(description="what it computes in, e.g. 'int8/bf16'")
    peak_tops: float = Field(gt=0, description="10^12 operations a second at that precision")
    peak_note: str
    max_sparsity: int = Field(ge=1, description="weights that one kept weight stands for, at most")
    memory_gb: float = Field(gt=0)
    host_interface: str
    host_gb_per_s: float = Field(gt=0)
    tdp_w: float = Field(gt=0)
    unsupported_operators: tuple[str, ...] = ()
    assumed: Assumed
    published_source: str
    published: tuple[PublishedPoint, ...]

    @classmethod
    def of_package(cls, package: str) -> Self:
        """Read ``device.json`` of a backend's package.

        Raises:
            BytemlperfError: naming the field that is wrong.
        """
        text = (resources.files(package) / "device.json").read_text(encoding="utf-8")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise BytemlperfError(f"{package}: device.json: {field}: {first['msg']}") from error
