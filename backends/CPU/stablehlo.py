"""StableHLO modules on the host, compiled by XLA."""

from __future__ import annotations

from pathlib import Path

from bytemlperf.backend import CompileConfig, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.zoo import Card, xla

from .runner import Runner

_CACHE = "xla"


def _compile(config: CompileConfig, dataset: Dataset | None) -> Path:
    """Compile the module of every batch size; loading takes them from XLA's cache."""
    folder = config.cache_dir
    executable = xla.Executable(config.model.card, config.model.path, folder / _CACHE)
    for batch_size in config.batch_sizes:
        executable.prepare(batch_size)
    compiled = folder / "modules"
    compiled.symlink_to(config.model.path)
    return compiled


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    return xla.Executable(card, compiled, compiled.parent / _CACHE)


# XLA's pool belongs to the process and has a thread a core: all instances share it.
RUNNER = Runner(xla.version, _compile, _load, {"XLA": "ahead of time"}, shared_pool=True)
