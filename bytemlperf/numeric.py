"""The numeric check: how far a backend's outputs are from the reference, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from bytemlperf import _numeric
from bytemlperf.backend import Array
from bytemlperf.errors import BytemlperfError

_SCANNED = {"float32", "float64", "int32", "int64", "uint8"}
_EXACT_IN = {"float16": np.float32, "bool": np.uint8, "int8": np.int32, "int16": np.int32}
_WORST = 5


@dataclass(frozen=True)
class Difference:
    """Statistics of d = candidate - reference over the pairs in which both are finite.

    They are kept as sums, so that the difference of a whole is exactly the merge of its parts.
    NaN and infinite values are counted and never replaced.

    Attributes:
        elements: pairs in which both are finite.
        sum_abs, sum_squares: sums of |d| and d**2.
        sum_relative: sum of |d| / |r|, with denominator 1 where r is 0 (the field's definition).
        reference_power, candidate_power, product: sums of r**2, c**2 and r c.
        max_diff, max_rel_diff: largest |d| and largest relative |d|.
        max_at: flat index of the largest |d| in its array, -1 where there is none.
        nan_reference, nan_candidate, inf_reference, inf_candidate: how many were not finite.
        exponents: pairs by binary exponent of |d|: 2**e <= |d| < 2**(e+1); None for |d| below 2**-1022.
    """

    elements: int = 0
    sum_abs: float = 0.0
    sum_squares: float = 0.0
    sum_relative: float = 0.0
    reference_power: float = 0.0
    candidate_power: float = 0.0
    product: float = 0.0
    max_diff: float = 0.0
    max_rel_diff: float = 0.0
    max_at: int = -1
    nan_reference: int = 0
    nan_candidate: int = 0
    inf_reference: int = 0
    inf_candidate: int = 0
    exponents: Mapping[int | None, int] = field(default_factory=dict, repr=False)

    @property
    def mean_diff(self) -> float:
        """Mean of |d|; NaN where nothing could be compared."""
        return self.sum_abs / self.elements if self.elements else math.nan

    @property
    def std_diff(self) -> float:
        """Population standard deviation of |d|."""
        if not self.elements:
            return math.nan
        mean = self.mean_diff
        return math.sqrt(max(0.0, self.sum_squares / self.elements - mean * mean))

    @property
    def mean_rel_diff(self) -> float:
        """Mean of |d| relative to the reference."""
        return self.sum_relative / self.elements if self.elements else math.nan

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two: 1 where they are equal up to a factor."""
        norm = math.sqrt(self.reference_power) * math.sqrt(self.candidate_power)
        if norm == 0.0:
            return 1.0 if self.sum_squares == 0.0 else 0.0
        return max(-1.0, min(1.0, self.product / norm))

    @property
    def snr_db(self) -> float:
        """Signal to noise, 10 log10(sum r**2 / sum d**2) in dB; infinite where they are equal."""
        if self.sum_squares == 0.0:
            return math.inf
        if self.reference_power == 0.0:
            return -math.inf
        return 10.0 * math.log10(self.reference_power / self.sum_squares)

    @property
    def finite(self) -> bool:
        """True where the candidate is finite wherever the reference is."""
        return self.nan_candidate <= self.nan_reference and self.inf_candidate <= self.inf_reference

    def merge(self, other: Difference) -> Difference:
        """Return the difference of both parts together; ``max_at`` is the larger part's."""
        larger = self if self.max_diff >= other.max_diff else other
        exponents = dict(self.exponents)
        for exponent, count in other.exponents.items():
            exponents[exponent] = exponents.get(exponent, 0) + count
        return Difference(
            elements=self.elements + other.elements,
            sum_abs=self.sum_abs + other.sum_abs,
            sum_squares=self.sum_squares + other.sum_squares,
            sum_relative=self.sum_relative + other.sum_relative,
            reference_power=self.reference_power + other.reference_power,
            candidate_power=self.candidate_power + other.candidate_power,
            product=self.product + other.product,
            max_diff=larger.max_diff,
            max_rel_diff=max(self.max_rel_diff, other.max_rel_diff),
            max_at=larger.max_at,
            nan_reference=self.nan_reference + other.nan_reference,
            nan_candidate=self.nan_candidate + other.nan_candidate,
            inf_reference=self.inf_reference + other.inf_reference,
            inf_candidate=self.inf_candidate + other.inf_candidate,
            exponents=exponents,
        )


@dataclass(frozen=True)
class WorstSample:
    """A sample whose outputs are far from the reference."""

    sample: int
    output: str
    max_diff: float


@dataclass(frozen=True)
class NumericReport:
    """The comparison of all samples.

    Attributes:
        overall: over all outputs.
        outputs: by output name.
        worst: up to five samples with the largest |d|, worst first.
        samples: how many were compared.
    """

    overall: Difference
    outputs: Mapping[str, Difference]
    worst: tuple[WorstSample, ...]
    samples: int

    def within(self, tolerance: float) -> bool:
        """True where every |d| is at most ``tolerance`` and the candidate lost no finite value."""
        return (
            self.overall.elements > 0 and self.overall.finite and self.overall.max_diff <= tolerance
        )


def difference(reference: Array, candidate: Array) -> Difference:
    """Compare two arrays of one shape: float16, float32, float64, bool or integers, any layout.

    Raises:
        ValueError: where shapes differ or the dtype cannot be compared.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shape {candidate.shape} instead of {reference.shape}")
    kind = np.promote_types(_scanned_as(reference), _scanned_as(candidate))
    r = np.ascontiguousarray(reference, kind).reshape(-1)
    c = np.ascontiguousarray(candidate, kind).reshape(-1)
    sums, maxima = np.empty(6), np.empty(2)
    counts, exponents = np.empty(6, np.int64), np.empty(2048, np.int64)
    _numeric.scan(r, c, sums, maxima, counts, exponents)
    seen = np.nonzero(exponents)[0]
    return Difference(
        elements=int(counts[0]),
        sum_abs=float(sums[0]),
        sum_squares=float(sums[1]),
        sum_relative=float(sums[2]),
        reference_power=float(sums[3]),
        candidate_power=float(sums[4]),
        product=float(sums[5]),
        max_diff=float(maxima[0]),
        max_rel_diff=float(maxima[1]),
        max_at=int(counts[5]),
        nan_reference=int(counts[1]),
        nan_candidate=int(counts[2]),
        inf_reference=int(counts[3]),
        inf_candidate=int(counts[4]),
        exponents={int(e) - 1023 if e else None: int(exponents[e]) for e in seen},
    )


def _scanned_as(array: Array) -> np.dtype[np.generic]:
    name = array.dtype.name
    if name in _SCANNED:
        return array.dtype
    if name in _EXACT_IN:
        return np.dtype(_EXACT_IN[name])
    raise ValueError(f"dtype {name} cannot be compared; return float16, float32 or float64")


Keyed = Mapping[int, Mapping[str, Array]]


def compare(reference: Keyed, candidate: Keyed) -> NumericReport:
    """Compare outputs that are keyed by sample number and output name.

    Raises:
        BytemlperfError: naming the sample and output that is missing or of another shape.
    """
    outputs: dict[str, Difference] = {}
    worst: list[WorstSample] = []
    for sample in sorted(reference):
        if sample not in candidate:
            raise BytemlperfError(f"numeric check: sample {sample} has no outputs of the backend")
        for name, expected in reference[sample].items():
            found = _difference_of(sample, name, expected, candidate[sample])
            outputs[name] = outputs[name].merge(found) if name in outputs else found
            worst.append(WorstSample(sample, name, found.max_diff))
    worst.sort(key=lambda w: -w.max_diff)
    return NumericReport(_merged(outputs.values()), outputs, tuple(worst[:_WORST]), len(reference))


def _difference_of(
    sample: int, name: str, expected: Array, found: Mapping[str, Array]
) -> Difference:
    if name not in found:
        raise BytemlperfError(
            f"numeric check: sample {sample}: the backend gave no output {name!r}, only "
            f"{', '.join(sorted(found)) or 'none'}"
        )
    try:
        return difference(expected, found[name])
    except ValueError as error:
        raise BytemlperfError(
            f"numeric check: sample {sample}, output {name!r}: {error}"
        ) from error


def _merged(parts: Iterable[Difference]) -> Difference:
    return reduce(Difference.merge, parts, Difference())
