"""The precisions that device models compute in: what is rounded, and to which grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bytemlperf.backend import Array
from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate.rounding import bfloat16, float8_e4m3, float16, int8_per_channel

Grid = Literal["int8", "fp8", "fp16", "bf16"]

_WEIGHTS: dict[Grid, Callable[[Array, int], Array]] = {
    "int8": int8_per_channel,
    "fp8": lambda weight, _axis: float8_e4m3(weight),
    "fp16": lambda weight, _axis: float16(weight),
    "bf16": lambda weight, _axis: bfloat16(weight),
}


@dataclass(frozen=True)
class Precision:
    """One way of computing.

    Attributes:
        product: grid of the weights and inputs of dense and convolution layers.
        result: grid of every layer's result.
        description: said in the report.
    """

    product: Grid
    result: Literal["fp16", "bf16"]
    description: str

    def round_weight(self, weight: Array, axis: int) -> Array:
        """Round a layer's weight; ``axis`` counts its output channels."""
        return _WEIGHTS[self.product](weight, axis)


_PRECISIONS = {
    "int8/bf16": Precision(
        "int8",
        "bf16",
        "weights of dense and convolution layers in INT8 (per channel), their inputs in INT8 "
        "(per tensor, dynamic), results in BF16; attention products on BF16 values in FP32",
    ),
    "bf16": Precision(
        "bf16", "bf16", "weights, inputs and results of layers in BF16, sums in FP32"
    ),
    "fp16": Precision(
        "fp16", "fp16", "weights, inputs and results of layers in FP16, sums in FP32"
    ),
    "fp8": Precision(
        "fp8",
        "fp16",
        "weights and inputs of dense and convolution layers in FP8 E4M3 (scaled per tensor), "
        "results in FP16, sums in FP32",
    ),
}


def precision_named(name: str) -> Precision:
    """Return the precision.

    Raises:
        BytemlperfError: where it is not emulated.
    """
    try:
        return _PRECISIONS[name]
    except KeyError:
        known = ", ".join(_PRECISIONS)
        raise BytemlperfError(f"precision {name!r} is not emulated (known: {known})") from None
