from typing import Any

import numpy as np

_Array = np.ndarray[Any, np.dtype[Any]]

def scan(
    reference: _Array,
    candidate: _Array,
    sums: _Array,
    maxima: _Array,
    counts: _Array,
    exponents: _Array,
    ulps: _Array,
) -> None: ...
def scan16(
    reference: _Array,
    candidate: _Array,
    brain: bool,
    sums: _Array,
    maxima: _Array,
    counts: _Array,
    exponents: _Array,
    ulps: _Array,
) -> None: ...
