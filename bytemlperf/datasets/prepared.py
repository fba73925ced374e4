"""Preprocessed rows on disk: prepared once, in parallel, and read from there ever after."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.zoo import cache_root
from bytemlperf.zoo.cache import content_key

# Disk space that the cache leaves to others.
_LEFT_FREE = 2 << 30


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def identity(path: Path) -> dict[str, Any]:
    """What says that a source file is still the same, without reading it."""
    found = path.stat()
    return {"path": str(path.resolve()), "size": found.st_size, "changed": found.st_mtime_ns}


def cache_folder(key: dict[str, Any]) -> Path:
    """The folder of what was prepared from these sources in this way."""
    return cache_root() / "datasets" / content_key(key)


class PreparedRows:
    """``count`` rows of one shape and dtype, each made by ``prepare`` on its first use.

    Rows lie in a sparse file that is mapped into memory, so a subset takes the space of a subset
    and memory stays bounded by what is asked for at once. A row is marked as ready after it was
    written; two processes that prepare the same row write the same bytes. Where the disk is short
    of space nothing is kept, and rows are prepared each time.

    Args:
        key: what the rows depend on: sources, parameters, versions of libraries.
        prepare: makes one row; called from several threads (it should release the GIL).
    """

    def __init__(
        self,
        key: dict[str, Any],
        count: int,
        shape: tuple[int, ...],
        dtype: Any,
        prepare: Callable[[int], Array],
    ) -> None:
        self._count, self._shape, self._dtype = count, shape, np.dtype(dtype)
        self._prepare = prepare
        size = count * self._dtype.itemsize * int(np.prod(shape))
        folder = cache_folder(key | {"rows": count, "shape": shape, "dtype": self._dtype.name})
        self._kept = (
            folder.is_dir() or shutil.disk_usage(_existing(folder)).free > size + _LEFT_FREE
        )
        if self._kept:
            self._rows, self._ready = self._map(folder)

    def _map(self, folder: Path) -> tuple[Array, Array]:
        folder.mkdir(parents=True, exist_ok=True)
        maps = []
        for name, dtype, shape in (
            ("rows.bin", self._dtype, (self._count, *self._shape)),
            ("ready.bin", np.dtype(np.uint8), (self._count,)),
        ):
            file = folder / name
            size = dtype.itemsize * int(np.prod(shape))
            with file.open("ab") as handle:  # makes it, without touching what another wrote
                if handle.seek(0, os.SEEK_END) != size:
                    handle.truncate(size)
            maps.append(np.memmap(file, dtype, "r+", shape=shape))
        return maps[0], maps[1]

    def rows(self, samples: Sequence[int]) -> Array:
        """Return these rows in this order: [len(samples), *shape]."""
        if not self._kept:
            with ThreadPoolExecutor(cores()) as pool:
                return np.stack(list(pool.map(self._prepare, samples)))
        missing = [s for s in samples if not self._ready[s]]
        if missing:
            with ThreadPoolExecutor(cores()) as pool:
                for _ in pool.map(self._make, missing):
                    pass
        return np.asarray(self._rows[list(samples)])

    def _make(self, sample: int) -> None:
        self._rows[sample] = self._prepare(sample)
        self._ready[sample] = 1


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
