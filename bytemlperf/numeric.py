"""The numeric check: how far a backend's outputs are from the reference, sample by sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from bytemlperf import _numeric
from bytemlperf.backend import Array
from bytemlperf.errors import BytemlperfError
from bytemlperf.tolerance import Tolerance

_SIXTEEN_BITS = ("float16", "bfloat16")
_SCANNED = {*_SIXTEEN_BITS, "float32", "float64", "int32", "int64", "uint8"}
_EXACT_IN = {"bool": np.uint8, "int8": np.int32, "int16": np.int32, "uint16": np.int32}
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
        ulps: pairs by units in the last place: key k counts distances of less than 2**k and at
            least 2**(k-1) representable numbers, key 0 equal ones. The format is the coarser one
            of the two arrays; a reference in a finer one is rounded to it first.
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
    ulps: Mapping[int, int] = field(default_factory=dict, repr=False)

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
            exponents=Counter(self.exponents) + Counter(other.exponents),
            ulps=Counter(self.ulps) + Counter(other.ulps),
        )


@dataclass(frozen=True)
class WorstSample:
    """A sample whose outputs are far from the reference; NaN where finite values were lost."""

    sample: int
    output: str
    max_diff: float


@dataclass(frozen=True)
class NumericReport:
    """The comparison of all samples.

    Attributes:
        overall: over all outputs.
        outputs: by output name.
        by_sample: by sample and output name.
    """

    overall: Difference
    outputs: Mapping[str, Difference]
    by_sample: Mapping[int, Mapping[str, Difference]] = field(repr=False)

    @property
    def samples(self) -> int:
        """How many were compared."""
        return len(self.by_sample)

    @property
    def worst(self) -> tuple[WorstSample, ...]:
        """Up to five samples and outputs, those that lost finite values first, then by |d|."""
        found = [
            WorstSample(sample, name, d.max_diff if d.finite else math.nan)
            for sample, outputs in self.by_sample.items()
            for name, d in outputs.items()
        ]
        found.sort(key=lambda w: -math.inf if math.isnan(w.max_diff) else -w.max_diff)
        return tuple(found[:_WORST])

    def within(self, tolerance: float | Tolerance) -> bool:
        """True where every |d| is accepted (a number: for all outputs) and the candidate lost no
        finite value.
        """
        accepted = tolerance if isinstance(tolerance, Tolerance) else Tolerance(tolerance)
        near = all(d.max_diff <= accepted.of(name) for name, d in self.outputs.items())
        return self.overall.elements > 0 and self.overall.finite and near


def difference(reference: Array, candidate: Array) -> Difference:
    """Compare two arrays of one shape: floats of 16, 32 or 64 bits, bool or integers, any layout.

    Raises:
        ValueError: where shapes differ or the dtype cannot be compared.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shape {candidate.shape} instead of {reference.shape}")
    r, c = _scannable(reference), _scannable(candidate)
    if r.dtype == c.dtype:
        return _scan(r, c)
    kind = np.promote_types(r.dtype, c.dtype)
    found = _scan(r.astype(kind), c.astype(kind))
    coarser = min(r.dtype, c.dtype, key=_digits)
    if coarser == kind or coarser.kind in "iu":
        return found
    with np.errstate(over="ignore"):  # what is too large for the coarser format counts as infinite
        return replace(found, ulps=_scan(r.astype(coarser), c.astype(coarser)).ulps)


def _scan(reference: Array, candidate: Array) -> Difference:
    """Compare two arrays of one dtype that the kernel takes."""
    r, c = (np.ascontiguousarray(array).reshape(-1) for array in (reference, candidate))
    sums, maxima = np.empty(6), np.empty(2)
    counts, exponents, ulps = (
        np.empty(6, np.int64),
        np.empty(2048, np.int64),
        np.empty(65, np.int64),
    )
    if r.dtype.name in _SIXTEEN_BITS:
        brain = r.dtype.name == "bfloat16"
        r, c = r.view(np.uint16), c.view(np.uint16)
        _numeric.scan16(r, c, brain, sums, maxima, counts, exponents, ulps)
    else:
        _numeric.scan(r, c, sums, maxima, counts, exponents, ulps)
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
        ulps={int(k): int(ulps[k]) for k in np.nonzero(ulps)[0]},
    )


def _scannable(array: Array) -> Array:
    name = array.dtype.name
    if name in _SCANNED:
        return array
    if name in _EXACT_IN:
        return array.astype(_EXACT_IN[name])
    raise ValueError(f"dtype {name} cannot be compared; return float16, bfloat16, float32 or 64")


def _digits(dtype: np.dtype[Any]) -> int:
    """Bits of the significand; an integer has more than any float."""
    known = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
    return known.get(dtype.name, 64)


Keyed = Mapping[int, Mapping[str, Array]]


def compare(reference: Keyed, candidate: Keyed) -> NumericReport:
    """Compare outputs that are keyed by sample number and output name.

    Raises:
        BytemlperfError: naming the sample and output that is missing or of another shape.
    """
    outputs: dict[str, Difference] = {}
    by_sample: dict[int, dict[str, Difference]] = {}
    for sample in sorted(reference):
        if sample not in candidate:
            raise BytemlperfError(f"numeric check: sample {sample} has no outputs of the backend")
        for name, expected in reference[sample].items():
            found = _difference_of(sample, name, expected, candidate[sample])
            outputs[name] = outputs[name].merge(found) if name in outputs else found
            by_sample.setdefault(sample, {})[name] = found
    return NumericReport(_merged(outputs.values()), outputs, by_sample)


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
