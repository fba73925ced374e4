"""XLA's compiler for the CPU (of jaxlib), on StableHLO modules."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs
from bytemlperf.fixed_batch import cut, fill
from bytemlperf.zoo.card import Card
from bytemlperf.zoo.stablehlo import Modules, import_jax, portable, signature

# jax's settings belong to the process.
_SETTINGS = threading.Lock()


def version() -> str:
    """Name and version of the compiler."""
    import_jax()
    return f"XLA (jaxlib {metadata.version('jaxlib')})"


def compile_module(path: Path, cache: Path | None) -> Any:
    """Compile one module; from and into the cache folder where one is given."""
    jax = import_jax()
    artifact = portable(path)
    found = signature(artifact)
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in found.inputs]
    results = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in found.outputs]
    with _SETTINGS, enable_x64(), _cached_in(jax, cache):
        # The public way to a callable from a module: an export of the same types, its module
        # replaced. Its body is never compiled.
        placeholder = jax.jit(
            lambda *_: tuple(jax.numpy.zeros(r.shape, r.dtype) for r in results), keep_unused=True
        )
        exported = dataclasses.replace(
            jax.export.export(placeholder, platforms=["cpu"])(*arguments),
            mlir_module_serialized=artifact,
        )
        return jax.jit(exported.call).lower(*arguments).compile()


def enable_x64() -> Any:
    """Let jax have 64-bit types inside: without it, int64 token ids would be refused."""
    return import_jax().enable_x64(True)


@contextmanager
def _cached_in(jax: Any, folder: Path | None) -> Iterator[None]:
    from jax.experimental.compilation_cache import compilation_cache

    wanted = {
        "jax_compilation_cache_dir": None if folder is None else str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    try:
        for name, value in wanted.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # it keeps the first folder that it saw
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


class Executable:
    """A model of static-batch modules as a predict function for every batch up to the largest.

    A batch without a module of its own (the last one of a data set) is filled up to the next larger.
    Weights are held once for all modules; a module is compiled when it is first needed.
    """

    def __init__(self, card: Card, folder: Path, cache: Path | None = None) -> None:
        self._card = card
        self._modules = Modules.of(card, folder)
        self._cache = cache
        self._compiled: dict[int, Any] = {}
        self._lock = threading.Lock()
        jax = import_jax()
        with enable_x64():
            self._weights = [jax.device_put(array) for array in self._modules.load_weights()]

    def prepare(self, batch_size: int) -> None:
        """Compile the module of exactly this batch size.

        Raises:
            BytemlperfError: where there is none.
        """
        with self._lock:
            if batch_size not in self._compiled:
                path = self._modules.path(batch_size)
                self._compiled[batch_size] = compile_module(path, self._cache)

    def __call__(self, feeds: Feeds) -> Outputs:
        rows = next(len(feeds[t.name]) for t in self._card.inputs if t.batched)
        batch = next((size for size in self._modules.files if size >= rows), rows)
        if batch not in self._compiled:
            self.prepare(batch)
        filled, rows = fill(feeds, self._card, batch)
        inputs = [filled[tensor.name] for tensor in self._card.inputs]
        with enable_x64():
            results = [np.asarray(r) for r in self._compiled[batch](*inputs, *self._weights)]
        return cut(dict(zip(self._card.outputs, results, strict=True)), rows)
