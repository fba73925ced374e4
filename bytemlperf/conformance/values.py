"""What answers say: the reference's values, the same ones again, each for its own query."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.conformance.bench import Answer, Bench, CheckFailed, NotApplicable
from bytemlperf.conformance.form import must_fit
from bytemlperf.honesty import distance


def must_agree(bench: Bench, answers: Iterable[Answer]) -> float:
    """Hold answers against the reference; return the largest absolute difference.

    Raises:
        CheckFailed: naming sample, output, element, expected and got.
    """
    largest = 0.0
    for answer in answers:
        must_fit(bench, answer.samples, answer.outputs)
        for row, sample in enumerate(answer.samples):
            for name, expected in bench.reference[sample].items():
                found = answer.outputs[name][row]
                largest = max(largest, _compared(bench, sample, name, expected, found))
    return largest


def _compared(bench: Bench, sample: int, name: str, expected: Array, found: Array) -> float:
    want, got = (np.asarray(a, np.float64).reshape(-1) for a in (expected, found))
    with np.errstate(invalid="ignore"):
        same = (want == got) | (np.isnan(want) & np.isnan(got))
        gaps = np.where(same, 0.0, np.abs(got - want))
    gaps = np.nan_to_num(gaps, nan=np.inf)
    worst = int(gaps.argmax())
    if gaps[worst] > bench.tolerance:
        place = [int(i) for i in np.unravel_index(worst, expected.shape)]
        raise CheckFailed(
            f"sample {sample}, output {name!r}, element {place}: expected {want[worst]:.6g}, got "
            f"{got[worst]:.6g} (tolerance {bench.tolerance:g})"
        )
    return float(gaps[worst])


def agreement(bench: Bench) -> str:
    answers = bench.answers(bench.size)
    largest = must_agree(bench, answers)
    samples = len({sample for answer in answers for sample in answer.samples})
    return f"largest difference {largest:.3g} over {samples} samples, tolerance {bench.tolerance:g}"


def determinism(bench: Bench) -> str:
    """The same batch again, on one instance and on a new one."""
    with bench.generator(bench.size) as generator:
        runs = [bench.ask(generator, 1)[0] for _ in range(3)]
    runs.append(bench.answers(bench.size, 1)[0])
    largest = max(distance(runs[0].outputs, other.outputs) for other in runs[1:])
    if largest > bench.tolerance:
        raise CheckFailed(
            f"samples 0 to {bench.size - 1} again: expected the same outputs, got a difference of "
            f"{largest:.3g} (tolerance {bench.tolerance:g})"
        )
    return (
        f"equal bit for bit, {len(runs)} times" if largest == 0 else f"equal within {largest:.3g}"
    )


def honest(name: str) -> Callable[[Bench], str]:
    """Return the check of :mod:`bytemlperf.honesty` that has this name."""

    def check(bench: Bench) -> str:
        if name not in bench.honesty:
            raise NotApplicable("its speed is modelled")
        verdict = bench.honesty[name]
        if not verdict.ok:
            raise CheckFailed(f"{verdict.detail}: {verdict.remedy}")
        return verdict.detail

    return check
