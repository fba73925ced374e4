"""A network of torch that is built in memory and called as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from bytemlperf.backend import CompileConfig, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.zoo import Card
from bytemlperf.zoo.generation import Generator
from bytemlperf.zoo.recipe import load_recipe
from bytemlperf.zoo.torch_build import import_torch

from .runner import Runner


def _version() -> str:
    return f"torch {import_torch().__version__}"


def _compile(config: CompileConfig, dataset: Dataset | None) -> Path:
    """Nothing is compiled: the recipe is what is loaded."""
    return Path(shutil.copy(config.model.path, config.cache_dir))


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    import_torch().set_num_threads(threads)
    found = load_recipe(card, compiled)
    if isinstance(found, Generator):
        found.prepare()
    return found


RUNNER = Runner(_version, _compile, _load, {})
