"""LoadGen's early stopping: its own table, and its verdicts on distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import bdtr

import bytemlperf as bmp
from bytemlperf import _core
from bytemlperf.early_stopping import early_stopping, passes, queries_needed

OVER = (0, 1, 2, 5, 10, 100, 1000)
# Computed with LoadGen 6.0.17's own code.
LOADGEN = {
    0.90: (44, 64, 81, 127, 197, 1246, 10722),
    0.95: (90, 130, 165, 259, 398, 2504, 21483),
    0.97: (152, 219, 277, 433, 667, 4182, 35831),
    0.99: (459, 662, 838, 1307, 2010, 12571, 107569),
    0.999: (4603, 6636, 8403, 13105, 20140, 125826, 1076032),
}


@pytest.mark.parametrize("percentile", LOADGEN)
def test_queries_needed_are_those_of_loadgen(percentile: float) -> None:
    assert tuple(queries_needed(percentile, over) for over in OVER) == LOADGEN[percentile]


@given(st.sampled_from(sorted(LOADGEN)), st.integers(0, 300))
def test_one_query_fewer_would_not_do(percentile: float, over: int) -> None:
    n = queries_needed(percentile, over)
    assert bdtr(over, n, 1 - percentile) < 0.01
    assert bdtr(over, n - 1, 1 - percentile) >= 0.01


def of(values: np.ndarray) -> bmp.Distribution:
    return bmp.Distribution.from_core(_core.Histogram(values.astype(np.int64)), lambda: None)


def test_the_estimate_is_the_latency_that_may_be_exceeded_so_often() -> None:
    latency = of(np.arange(1, 663) * 1_000_000)
    found = early_stopping(latency, 0.99)
    assert (found.discarded, found.needed) == (0, 662)
    assert found.estimate == pytest.approx(0.662, rel=1e-3)
    more = early_stopping(of(np.arange(1, 2011) * 1_000_000), 0.99)
    assert more.discarded == 9  # the 10th largest
    assert more.estimate == pytest.approx(2.001, rel=1e-3)
    few = early_stopping(of(np.arange(1, 662)), 0.99)
    assert few.estimate is None


def test_the_server_verdict_counts_queries_over_the_limit() -> None:
    values = np.full(1306, 1_000_000)
    values[:5] = 9_000_000
    assert not passes(of(values), 0.99, 5e-3)
    assert passes(of(np.append(values, 1_000_000)), 0.99, 5e-3)
