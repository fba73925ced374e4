"""From a picture to the array that a model reads, as its card says."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bytemlperf.backend import Array
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card

_FILTERS = {"bilinear": "BILINEAR", "bicubic": "BICUBIC", "area": "BOX", "nearest": "NEAREST"}


class Transform(BaseModel):
    """How pictures become inputs: what a card's ``preprocessing`` holds for them.

    The shorter side is resized to ``resize``, a square of ``crop`` is cut from the middle, and
    ``(pixel / scale - mean) / std`` is computed for each of the three channels.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    resize: int = Field(ge=1)
    crop: int = Field(ge=1)
    interpolation: str = "bilinear"
    scale: float = Field(default=255.0, gt=0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layout: str = "NCHW"

    @classmethod
    def of(cls, card: Card) -> Transform:
        """Read a card's ``preprocessing``.

        Raises:
            UsageError: naming the card and the key that is missing or wrong.
        """
        try:
            found = cls.model_validate(card.preprocessing)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{card.name}: preprocessing: {key}: {first['msg']}") from error
        problems = {
            "interpolation": found.interpolation in _FILTERS,
            "layout": found.layout in ("NCHW", "NHWC"),
            "crop": found.crop <= found.resize,  # a larger one would need an invented border
        }
        for key, ok in problems.items():
            if not ok:
                raise UsageError(
                    f"{card.name}: preprocessing: {key}: cannot be {getattr(found, key)!r}"
                )
        return found

    def pixels(self, picture: BinaryIO | Array) -> Array:
        """Decode (or take uint8 [height, width, 3]), resize and crop: uint8 [crop, crop, 3].

        Raises:
            OSError: where it is not a picture, or is cut off.
        """
        images = require("PIL.Image", extra="data", purpose="reading pictures")
        if isinstance(picture, np.ndarray):
            image = images.fromarray(picture)
        else:
            image = images.open(picture)
            image = image.convert("RGB")
        width, height = image.size
        # The longer side is cut down to a whole number, as the models' own pipelines do.
        if width <= height:
            size = (self.resize, self.resize * height // width)
        else:
            size = (self.resize * width // height, self.resize)
        if size != image.size:
            image = image.resize(size, getattr(images.Resampling, _FILTERS[self.interpolation]))
        left, top = (round((side - self.crop) / 2) for side in size)
        return np.asarray(image.crop((left, top, left + self.crop, top + self.crop)))

    def inputs(self, pixels: Array, dtype: Any) -> Array:
        """Normalise uint8 [n, crop, crop, 3] to ``dtype`` in the model's layout."""
        scale = np.asarray([1.0 / (self.scale * s) for s in self.std], np.float32)
        shift = np.asarray([m / s for m, s in zip(self.mean, self.std, strict=True)], np.float32)
        normal = pixels * scale - shift
        if self.layout == "NCHW":
            normal = normal.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(normal, dtype)
