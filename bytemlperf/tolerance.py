"""What difference from the reference is accepted: absolute, or relative to an output's scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bytemlperf.backend import Array

# Largest |d| over the RMS of the output, by the coarsest format that is computed in. Rounding errors
# of a network 64 layers deep add up as independent ones: 6 sqrt(64) = 48 times the error of one,
# where 6 standard deviations hold the largest of some millions of elements. One error is the unit
# roundoff (fp16 2**-11, bf16 2**-8); of fp32, where sums of some thousand products are rounded in
# the same format, about 2**-18, taken as 2e-5 since orders of summation and approximations differ;
# of int8 the step of 127 levels up to four times the RMS, over sqrt(12).
RELATIVE = {"fp32": 1e-3, "fp16": 0.03, "bf16": 0.2, "int8": 0.5}


@dataclass(frozen=True)
class Tolerance:
    """Largest accepted |d| = |candidate - reference| of an element.

    Attributes:
        value: the same for all outputs; with ``scales`` relative to them.
        scales: of each output by name, the RMS of its reference; empty: ``value`` is absolute.
        stated: it holds at the precision that was computed in; else a difference beyond it is
            worth a note and no more.
    """

    value: float
    scales: Mapping[str, float] = field(default_factory=dict)
    stated: bool = True

    def of(self, output: str) -> float:
        """Return the largest accepted |d| of this output, absolute."""
        return self.value * self.scales.get(output, 1.0)

    @property
    def largest(self) -> float:
        """Over all outputs, absolute."""
        return max(map(self.of, self.scales), default=self.value)

    @property
    def definition(self) -> str:
        """The rule as a formula."""
        if not self.scales:
            return "|d| <= tolerance"
        return "|d| <= tolerance x sqrt(mean(r**2)) of the output's reference r"

    def __str__(self) -> str:
        return f"{self.value:g}" + (" of each output's RMS" if self.scales else "")


def relative_tolerance(precision: str) -> float | None:
    """Return the rule's value at a precision such as ``fp16`` or ``int8/bf16`` (its coarsest
    format decides), or None where it has none.
    """
    formats = precision.lower().split("/")
    if not all(name in RELATIVE for name in formats):
        return None
    return max(RELATIVE[name] for name in formats)


def scales_of(reference: Mapping[int, Mapping[str, Array]]) -> dict[str, float]:
    """Return sqrt(mean(r**2)) of each output over all samples' finite elements; 1 where it is 0, as
    in the field's relative difference.
    """
    squares: dict[str, float] = {}
    elements: dict[str, int] = {}
    for outputs in reference.values():
        for name, array in outputs.items():
            r = np.asarray(array, np.float64)
            finite = r[np.isfinite(r)]
            squares[name] = squares.get(name, 0.0) + float(np.square(finite).sum())
            elements[name] = elements.get(name, 0) + finite.size
    return {name: math.sqrt(squares[name] / max(1, elements[name])) or 1.0 for name in squares}
