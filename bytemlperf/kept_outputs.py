"""Copies of what a backend answered, for :attr:`Result.outputs`."""

from __future__ import annotations

from typing import Any

import numpy as np


class KeptOutputs:
    """The outputs of one run by query. Filled by the instances' threads, under the GIL."""

    def __init__(self) -> None:
        self._by_query: dict[int, Any] = {}

    def clear(self) -> None:
        self._by_query.clear()

    def keep(self, queries: list[int | None], samples: list[int], outputs: Any) -> None:
        """Keep a copy of each query's part of a batch's outputs; None is a warm-up query."""
        first = 0
        for query, count in zip(queries, samples, strict=True):
            if query is not None:
                rows = slice(first, first + count) if len(queries) > 1 else None
                self._by_query[query] = _copy(outputs, rows)
            first += count

    def taken(self, planned: int, asked: bool | float) -> list[Any] | dict[int, Any] | None:
        """Return a list with an item for each of ``planned`` queries where all were ``asked``
        for, a dictionary where a share was, None where none were.
        """
        if isinstance(asked, bool):
            return [self._by_query.get(k) for k in range(planned)] if asked else None
        return dict(self._by_query) if asked else None


def _copy(outputs: Any, rows: slice | None) -> Any:
    if isinstance(outputs, dict):
        return {name: _copy(value, rows) for name, value in outputs.items()}
    if isinstance(outputs, np.ndarray):
        return np.array(outputs if rows is None else outputs[rows])
    return outputs
