"""Checks that no backend passes which answers without computing: each of them has a name.

- ``depends on input``: different inputs have different answers.
- ``answers its own query``: the answer belongs to this input, not to the one before.
- ``order of the batch``: permuted rows give permuted answers.
- ``no answers by input``: an input that was seen before is not answered faster than a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.columns import Shared
from bytemlperf.errors import BackendError
from bytemlperf.loadgen import LoadGenerator, Progress
from bytemlperf.patterns import ClosedLoop
from bytemlperf.result import Result, Verdict

# The inputs A and B, and P: the rows of A in another order. An answer that comes one query late
# shows where the input changes.
_SEQUENCE = "AABBAP"
# How often a new input is asked. Not twice: what happens at every other call, such as the garbage
# collection of a backend, would then meet the new inputs alone or the repeated ones.
_ASKED = 3
_NEW, _FEW_NEW, _SLOW_S = 14, 4, 0.1
# A repeated input in less than this share of a new one's time is no computation. The host's own
# caches explain some microseconds, whatever the share.
_SHARE, _LEAST_NS = 0.5, 20_000


def check_honesty(
    backend: Any,
    draw: Callable[[Sequence[int]], Feeds],
    *,
    batch_size: int,
    tolerance: float,
    rows: int | None = None,
    shared: frozenset[str] = frozenset(),
    timed: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Verdict, ...]:
    """Run a few queries through one instance and judge what comes back, and when.

    Args:
        backend: as :class:`LoadGenerator` takes it.
        draw: model inputs of these samples, stacked; every sample number gives another input, and
            none that the backend has seen before (``Synthetic(card, count, seed).feeds``).
        batch_size: samples that the backend is loaded for.
        tolerance: largest absolute difference between two honest answers to one input.
        rows: samples of a query, where that is less than a batch; with one sample the order of
            rows is not checked.
        shared: names of inputs without a sample dimension.
        timed: False where the backend's speed is modelled; leaves ``no answers by input`` out.
        progress: called as :meth:`LoadGenerator.run` does.

    Raises:
        BackendError: where the backend fails on one of the queries.
    """
    size = batch_size if rows is None else min(rows, batch_size)
    queries = _queries(draw, size, shared, _FEW_NEW + _NEW if timed else 0)
    samples = queries if size < batch_size else _columns(queries, shared)
    few = len(_SEQUENCE) + (_ASKED * _FEW_NEW if timed else 0)
    with LoadGenerator(backend, samples, batch_size=batch_size) as generator:
        result = generator.run(ClosedLoop(), queries=few, keep_outputs=True, progress=progress)
        answers = _answers(result)
        verdicts = [_depends(answers), _own(answers), _order(answers, size, tolerance)]
        if timed:
            first = len(_SEQUENCE)
            if result.service_time.p50 <= _SLOW_S:
                # More of them, of inputs that are still new.
                first = few
                result = generator.run(ClosedLoop(), queries=few + _ASKED * _NEW)
                _must_answer(result)
            verdicts.append(_by_input(result, first))
    return tuple(verdicts)


def _queries(
    draw: Callable[[Sequence[int]], Feeds], size: int, shared: frozenset[str], count: int
) -> list[Feeds]:
    """The rows of the sequence, and after them ``count`` new inputs, each as often as it is asked."""
    batches = [draw(range(i * size, (i + 1) * size)) for i in range(2 + count)]
    order = np.roll(np.arange(size), 1)
    a, b, *new = batches
    permuted = {name: x if name in shared else x[order] for name, x in a.items()}
    named = {"A": a, "B": b, "P": permuted}
    return [named[letter] for letter in _SEQUENCE] + [x for x in new for _ in range(_ASKED)]


def _columns(queries: Sequence[Feeds], shared: frozenset[str]) -> dict[str, Array | Shared]:
    return {
        name: Shared(x) if name in shared else np.concatenate([q[name] for q in queries])
        for name, x in queries[0].items()
    }


def _must_answer(result: Result) -> None:
    if result.errors:
        kind, first = next(iter(result.error_types.items()))
        raise BackendError(f"the backend failed on {result.errors} queries: {kind}: {first.first}")


def _answers(result: Result) -> list[Mapping[str, Array]]:
    _must_answer(result)
    answers = result.outputs
    assert isinstance(answers, list)
    for answer in answers:
        if not isinstance(answer, dict) or not answer:
            raise BackendError("predict() must return a dictionary of output name to array")
    return answers


def distance(
    one: Mapping[str, Array], other: Mapping[str, Array], scales: Mapping[str, float] | None = None
) -> float:
    """Return the largest absolute difference over all outputs, in units of ``scales`` where an
    output has one; a NaN equals a NaN only.
    """
    largest = 0.0
    for name in one.keys() | other.keys():
        if name not in one or name not in other or one[name].shape != other[name].shape:
            return float("inf")
        a, b = one[name].astype(np.float64), other[name].astype(np.float64)
        with np.errstate(invalid="ignore"):
            differences = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        if differences.size:
            scale = scales.get(name, 1.0) if scales else 1.0
            largest = max(largest, float(np.nan_to_num(differences, nan=np.inf).max()) / scale)
    return largest


def _depends(answers: Sequence[Mapping[str, Array]]) -> Verdict:
    seen = max(distance(answers[0], other) for other in answers[1:])
    return Verdict(
        "depends on input",
        seen > 0.0,
        f"two different inputs are answered with a difference of {seen:.3g}",
        "the answers are the same whatever is asked: predict() must compute from its feeds",
    )


def _own(answers: Sequence[Mapping[str, Array]]) -> Verdict:
    """An answer is nearer to the other one for its own input than to the one before."""
    own_b, before_b = distance(answers[2], answers[3]), distance(answers[2], answers[1])
    own_a, before_a = distance(answers[4], answers[1]), distance(answers[4], answers[3])
    return Verdict(
        "answers its own query",
        own_b <= before_b and own_a <= before_a,
        f"difference to the same input's other answer {max(own_a, own_b):.3g}, to the answer "
        f"before {min(before_a, before_b):.3g}",
        "the answer of an earlier query came back: outputs must be those of the feeds of the call",
    )


def _order(answers: Sequence[Mapping[str, Array]], size: int, tolerance: float) -> Verdict:
    name = "order of the batch"
    if size == 1:
        return Verdict(name, True, "not checked: batches of one sample")
    order = np.roll(np.arange(size), 1)
    rows = {k: v for k, v in answers[1].items() if v.ndim and len(v) == size}
    expected = {k: v[order] for k, v in rows.items()}
    found = distance(expected, {k: v for k, v in answers[5].items() if k in rows})
    return Verdict(
        name,
        found <= tolerance,
        f"rows in another order are answered with a difference of {found:.3g} (accepted "
        f"{tolerance:g}; the order itself makes {distance(expected, rows):.3g})",
        "row i of an output must belong to row i of the inputs",
    )


def _by_input(result: Result, first: int) -> Verdict:
    """Compare the first time of one input with the others, so that costly inputs do not matter.

    Args:
        first: the query with which the new inputs begin.
    """
    stamps = result.stamps
    assert stamps is not None
    stamps = np.sort(stamps, order="query")["stamps"]
    times = (stamps["completed"] - stamps["entered"])[first:].reshape(-1, _ASKED)
    firsts, others = times[:, 0], times[:, 1:].mean(axis=1)
    new, repeated = float(np.median(firsts)), float(np.median(others))
    share = float(np.median(others / np.maximum(firsts, 1)))
    return Verdict(
        "no answers by input",
        share >= _SHARE or new - repeated < _LEAST_NS,
        f"{new * 1e-6:.4g} ms for a new input, {repeated * 1e-6:.4g} ms for the same again "
        f"(medians of {len(times)} inputs, ratio {share:.2f})",
        "answers are kept by input: every query must be computed",
    )
