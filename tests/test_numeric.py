from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bytemlperf.errors import BytemlperfError
from bytemlperf.numeric import Difference, compare, difference


def pairs(dtype: Any, **limits: Any) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    elements = st.floats(width=np.dtype(dtype).itemsize * 8, **limits)
    shape = hnp.array_shapes(max_dims=3, max_side=20)
    return shape.flatmap(
        lambda s: st.tuples(
            hnp.arrays(dtype, s, elements=elements), hnp.arrays(dtype, s, elements=elements)
        )
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(data=st.data())
def test_statistics_equal_their_formulas(dtype: str, data: st.DataObject) -> None:
    bound = 100.0
    r, c = data.draw(pairs(dtype, min_value=-bound, max_value=bound, allow_subnormal=False))
    found = difference(r, c)
    # A relative difference to something tiny overflows, in the formula too.
    assume(not ((r != 0) & (np.abs(r) < 1e-100)).any())
    r64, c64 = r.astype(np.float64), c.astype(np.float64)
    d = np.abs(c64 - r64)
    relative = d / np.where(r64 == 0, 1.0, np.abs(r64))
    assert found.elements == r.size
    assert found.mean_diff == pytest.approx(d.mean(), rel=1e-12)
    assert found.std_diff == pytest.approx(d.std(), rel=1e-6, abs=1e-6 * (1 + d.max()))
    assert found.max_diff == d.max()
    assert found.max_rel_diff == relative.max()
    assert found.mean_rel_diff == pytest.approx(relative.mean(), rel=1e-12)
    if d.max() > 0:
        assert d.reshape(-1)[found.max_at] == d.max()
    assert sum(found.exponents.values()) == r.size
    assert found.exponents.get(None, 0) == int((d == 0).sum())


@given(pairs("float32", allow_nan=True, allow_infinity=True))
def test_what_is_not_finite_is_counted_and_left_out(pair: tuple[np.ndarray, np.ndarray]) -> None:
    r, c = pair
    with np.errstate(over="ignore"):
        found = difference(r, c)
    assert found.nan_reference == np.isnan(r).sum()
    assert found.nan_candidate == np.isnan(c).sum()
    assert found.inf_reference == np.isinf(r).sum()
    assert found.inf_candidate == np.isinf(c).sum()
    assert found.elements == good(r, c).sum()


def good(r: np.ndarray, c: np.ndarray) -> np.ndarray:
    return np.isfinite(r) & np.isfinite(c)


@given(pairs("float64", min_value=-1e3, max_value=1e3), st.integers(0, 400))
def test_a_whole_is_the_merge_of_its_parts(pair: tuple[np.ndarray, np.ndarray], cut: int) -> None:
    r, c = (a.reshape(-1) for a in pair)
    whole = difference(r, c)
    merged = difference(r[:cut], c[:cut]).merge(difference(r[cut:], c[cut:]))
    assert merged.elements == whole.elements
    assert merged.sum_abs == pytest.approx(whole.sum_abs)
    assert (merged.max_diff, merged.max_rel_diff) == (whole.max_diff, whole.max_rel_diff)
    assert merged.exponents == whole.exponents


def test_a_long_sum_keeps_its_digits() -> None:
    r = np.zeros(3_000_000, np.float32)
    c = np.full(3_000_000, np.float32(0.1))
    assert difference(r, c).mean_diff == pytest.approx(float(np.float32(0.1)), rel=1e-15)


def test_derived_figures() -> None:
    r = np.array([3.0, 4.0])
    assert difference(r, r).cosine == pytest.approx(1.0)
    assert difference(r, r).snr_db == math.inf
    assert difference(r, -r).cosine == pytest.approx(-1.0)
    assert difference(r, r * 1.1).snr_db == pytest.approx(20.0)
    assert difference(np.zeros(2), np.ones(2)).snr_db == -math.inf
    assert math.isnan(Difference().mean_diff)
    assert difference(np.array([1, 2]), np.array([1, 4])).max_diff == 2.0
    with pytest.raises(ValueError, match="complex"):
        difference(np.zeros(1, complex), np.zeros(1, complex))


def keyed(rng: np.random.Generator, count: int) -> dict[int, dict[str, np.ndarray]]:
    return {k: {"a": rng.random(5), "b": rng.random((2, 3))} for k in range(count)}


def test_comparison_is_by_sample_not_by_order() -> None:
    reference = keyed(np.random.default_rng(0), 20)
    shuffled = dict(sorted(reference.items(), key=lambda item: -item[0]))
    report = compare(reference, shuffled)
    assert report.overall.max_diff == 0.0
    assert report.samples == 20
    assert report.within(0.0)
    assert set(report.outputs) == {"a", "b"}


def test_the_worst_samples_are_named() -> None:
    reference = keyed(np.random.default_rng(0), 20)
    candidate = {k: dict(v) for k, v in reference.items()}
    candidate[7]["b"] = reference[7]["b"] + 0.5
    candidate[3]["a"] = reference[3]["a"] + 0.25
    report = compare(reference, candidate)
    assert [(w.sample, w.output) for w in report.worst[:2]] == [(7, "b"), (3, "a")]
    assert not report.within(0.1)
    assert report.within(0.6)


def test_a_candidate_that_loses_finite_values_is_never_within() -> None:
    reference = {0: {"y": np.ones(4)}}
    candidate = {0: {"y": np.array([1.0, np.nan, 1.0, 1.0])}}
    report = compare(reference, candidate)
    assert report.overall.nan_candidate == 1
    assert not report.within(1e9)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({}, "sample 0 has no outputs"),
        ({0: {"z": np.ones(3)}}, "sample 0.*no output 'y'.*z"),
        ({0: {"y": np.ones((3, 1))}}, r"sample 0, output 'y': shape \(3, 1\) instead of \(3,\)"),
    ],
)
def test_what_cannot_be_compared_is_named(candidate: Any, message: str) -> None:
    with pytest.raises(BytemlperfError, match=message):
        compare({0: {"y": np.ones(3)}}, candidate)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_16_bit_number_is_read_right(name: str) -> None:
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name, name))
    bits = np.arange(1 << 16, dtype=np.uint16)
    r, c = bits.view(dtype), np.random.default_rng(0).permutation(bits).view(dtype)
    with np.errstate(invalid="ignore"):
        r64, c64 = r.astype(np.float64), c.astype(np.float64)
    both = good(r64, c64)
    d = np.abs(r64[both] - c64[both])
    found = difference(r, c)
    assert found.elements == both.sum()
    assert found.nan_candidate == np.isnan(c64).sum()
    assert found.inf_reference == np.isinf(r64).sum() == 2
    assert found.max_diff == d.max()
    assert found.mean_diff == pytest.approx(d.mean(), rel=1e-13)
    assert sum(found.ulps.values()) == both.sum()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(data=st.data(), steps=st.integers(0, 300))
def test_units_in_the_last_place_count_neighbours(
    dtype: Any, data: st.DataObject, steps: int
) -> None:
    width = np.dtype(dtype).itemsize * 8
    start = dtype(data.draw(st.floats(-1000, 1000, width=width)))  # type: ignore[arg-type]
    x = start
    for _ in range(steps):
        x = np.nextafter(x, dtype(np.inf))
    forth, back = (
        difference(np.array([start]), np.array([x])),
        difference(np.array([x]), np.array([start])),
    )
    assert forth.ulps == back.ulps == {steps.bit_length(): 1}


def test_units_are_those_of_the_coarser_format() -> None:
    reference = np.array([1.0, 1.0001, 3.0], np.float32)
    found = difference(reference, np.array([1.0, 1.0, 3.002], np.float16))
    assert found.ulps == {0: 2, 1: 1}
    assert found.max_diff == np.float16(3.002) - 3.0
    assert difference(np.array([1, 5]), np.array([1.0, 5.0], np.float32)).max_diff == 0.0


def test_a_sample_that_lost_finite_values_is_the_worst() -> None:
    reference = keyed(np.random.default_rng(0), 5)
    candidate = {k: dict(v) for k, v in reference.items()}
    candidate[2]["a"] = np.full(5, np.nan)
    candidate[1]["a"] = reference[1]["a"] + 9.0
    report = compare(reference, candidate)
    assert [(w.sample, w.output) for w in report.worst[:2]] == [(2, "a"), (1, "a")]
    assert not report.within(10.0)
    assert report.by_sample[2]["a"].nan_candidate == 5


def test_the_table_and_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from bytemlperf.report.differences import draw, save_table

    reference = keyed(np.random.default_rng(0), 5)
    candidate = {k: {n: a + 1e-3 * k for n, a in v.items()} for k, v in reference.items()}
    candidate[3]["a"][0] = np.nan
    report = compare(reference, candidate)
    with save_table(report, tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["sample"]), r["output"]) for r in rows[:3]] == [(0, "a"), (0, "b"), (1, "a")]
    assert float(rows[2]["max_diff"]) == pytest.approx(1e-3)
    assert sum(int(r["nan_candidate"]) for r in rows) == 1
    for name, drawn in (("a", report), ("b", compare(reference, reference))):
        draw(drawn, 1e-3, "title", tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
