"""``device.json``: what a vendor says about a device, and what was published of it."""

from __future__ import annotations

from importlib import resources
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bytemlperf.errors import BytemlperfError


class PublishedPoint(BaseModel):
    """A published result: a fact about hardware, used to calibrate the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    card: str = Field(description="name of the model card")
    precision: str
    batch_size: int = Field(ge=1)
    samples_per_second: float = Field(gt=0)
    average_ms: float = Field(gt=0)
    p99_ms: float = Field(gt=0)
    in_flight: float = Field(default=1, ge=1, description="batches that were submitted at once")
    filled: float = Field(
        default=1, gt=0, le=1, description="share of a full-length sample, where samples are packed"
    )
    accuracy: dict[str, float] = Field(default_factory=dict)
    mean_diff: float | None = None
    max_diff: float | None = None
    compile_s: float | None = None

    @property
    def batch_s(self) -> float:
        """Seconds that the device is busy with one batch: throughput counts, not the queue."""
        return self.batch_size / self.samples_per_second


class Memory(BaseModel):
    """One level of the device's memory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    gb: float = Field(gt=0)
    gb_per_s: float | None = Field(default=None, gt=0)


class Assumed(BaseModel):
    """What nobody published. The report repeats it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    launch_overhead_s: float = Field(ge=0, description="least fixed cost of a batch")
    why: str


class DeviceCard(BaseModel):
    """The key parameters of one device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: str
    device: str
    sdk: str | None = Field(default=None, description="module that the vendor's SDK installs")
    check_task: str | None = Field(default=None, description="what check-backend takes by itself")
    precision: str = Field(description="what it computes in unless told otherwise")
    peak_tops: dict[str, float] = Field(description="10^12 operations a second by precision")
    peak_note: str
    max_sparsity: int = Field(
        default=1, ge=1, description="weights that one kept weight stands for, at most"
    )
    memory: tuple[Memory, ...]
    host_interface: str
    host_gb_per_s: float = Field(gt=0)
    tdp_w: float = Field(gt=0)
    unsupported_operators: tuple[str, ...] = ()
    assumed: Assumed | None = None
    published_source: str
    published: tuple[PublishedPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _peaks_are_there(self) -> Self:
        for precision in (self.precision, *(p.precision for p in self.published)):
            if not self.peak_tops.get(precision, 0) > 0:
                raise ValueError(f"peak_tops has no positive peak for {precision!r}")
        return self

    def packed(self, card: str) -> str | None:
        """Return how the published runs of a model packed its samples, None where they did not."""
        shares = [p.filled for p in self.published if p.card == card and p.filled < 1]
        if not shares:
            return None
        return (
            f"{self.device}'s published runs of {card} put several samples into one row: "
            f"{100 * shares[0]:.0f} % of a sample's length is not padding"
        )

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
