"""Two ways to hand a batch to PopRT's runner: as it is, or sample by sample, to be packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds, Outputs
from bytemlperf.fixed_batch import cut, fill
from bytemlperf.zoo import Card

from .packing import POSITIONS, mask_of, positions_of, tokens_of


class WholeBatches:
    """The graph's rows are the batch's samples; a smaller batch is filled up.

    Every batch has output buffers of its own, so that no two of them can share one.
    """

    def __init__(self, executable: Path, card: Card, batch_size: int) -> None:
        from poprt.runtime import Runner, RuntimeConfig

        self._runner = Runner(str(executable), RuntimeConfig())
        self._card, self._batch_size = card, batch_size
        self._inputs = _types(self._runner.get_model_inputs())
        self._outputs = [
            (d.name, tuple(d.shape), d.numpy_data_type()) for d in self._runner.get_model_outputs()
        ]

    def launch(self, feeds: Feeds) -> Callable[[], Outputs]:
        """Queue the batch; returns what waits for its outputs."""
        filled, rows = fill(feeds, self._card, self._batch_size)
        given = _narrowed(filled, self._inputs)
        taken = {name: np.empty(shape, dtype) for name, shape, dtype in self._outputs}
        future = self._runner.executeAsync(given, taken)

        def wait() -> Outputs:
            future.wait()
            return _host(given, taken, rows)

        return wait


class PackedSamples:
    """Samples go to the runner one by one, and it packs those of all batches in flight.

    What a mask excludes is not computed: there the outputs hold the lowest value, which no
    search for the best answer takes.
    """

    def __init__(self, executable: Path, card: Card, options: Mapping[str, Any]) -> None:
        from poprt.runtime import PackAlgorithm, PackRunnerConfig, Runner

        mask = mask_of(card).name
        config = PackRunnerConfig()
        config.dynamic_input_name = tokens_of(card).name
        config.algorithm = PackAlgorithm.first_fit
        config.timeout_microseconds = options["pack_timeout_us"]
        config.max_valid_num = options["pack_samples"]
        config.enable_input_single_row_mode(mask)
        others = [tensor.name for tensor in card.inputs if tensor.name != mask]
        config.enable_padding_remove_mode(mask, [*others, POSITIONS])
        self._runner = Runner(str(executable), config)
        self._positions = positions_of(card)
        self._inputs = _types(self._runner.get_model_inputs())
        self._outputs = [
            (d.name, tuple(d.shape[1:]), d.numpy_data_type())
            for d in self._runner.get_model_outputs()
        ]

    def launch(self, feeds: Feeds) -> Callable[[], Outputs]:
        """Queue every sample; returns what waits for all of them."""
        rows = len(next(iter(feeds.values())))
        positions = np.broadcast_to(self._positions, (rows, self._positions.shape[1]))
        given = _narrowed({**feeds, POSITIONS: positions}, self._inputs)
        taken = {
            name: np.full((rows, *shape), np.finfo(dtype).min, dtype)
            for name, shape, dtype in self._outputs
        }
        futures = [
            self._runner.executeAsync(_row(given, row), _row(taken, row)) for row in range(rows)
        ]

        def wait() -> Outputs:
            for future in futures:
                future.wait()
            return _host(given, taken, rows)

        return wait


def _types(descriptions: list[Any]) -> dict[str, Any]:
    return {d.name: d.numpy_data_type() for d in descriptions}


def _narrowed(feeds: Feeds, types: Mapping[str, Any]) -> dict[str, Array]:
    """PopRT narrows some types (int64 to int32) and may drop inputs that nothing reads."""
    return {
        name: np.ascontiguousarray(feeds[name].astype(dtype, copy=False))
        for name, dtype in types.items()
    }


def _row(arrays: Mapping[str, Array], row: int) -> dict[str, Array]:
    return {name: array[row : row + 1] for name, array in arrays.items()}


def _host(_given: dict[str, Array], taken: dict[str, Any], rows: int) -> Outputs:
    """Return the outputs of a device that has finished; until then it reads ``_given``.

    Half-precision results are compared and scored in float32.
    """
    return cut(
        {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in taken.items()
        },
        rows,
    )
