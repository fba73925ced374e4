"""Which part of a data set a run scores."""

from __future__ import annotations

import numpy as np


def seeded_subset(count: int, percent: float, seed: int) -> list[int]:
    """Return ``percent`` of 0..count-1, one at least, drawn without replacement, ascending."""
    if percent >= 100.0:
        return list(range(count))
    size = max(1, round(count * percent / 100.0))
    return sorted(int(i) for i in np.random.default_rng(seed).permutation(count)[:size])
