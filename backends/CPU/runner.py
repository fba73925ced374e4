"""One loaded model on the host, in the framework of its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bytemlperf.backend import CompileConfig, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.zoo import Card

#: (configuration, data to calibrate with or None) -> the artifact, inside its cache_dir
Compiler = Callable[[CompileConfig, Dataset | None], Path]
#: (card, artifact, threads) -> predict
Loader = Callable[[Card, Path, int], Predict]


@dataclass(frozen=True)
class Runner:
    """How a format is compiled for the host and loaded.

    Attributes:
        version: name and version of the framework.
        compile: writes the optimised artifact at ``options["precision"]``.
        load: loads that artifact; the returned function may be called from several threads.
        optimizations: what compile does, by name.
        precisions: what it can compute in beside the card's own precision.
        shared_pool: the framework computes every instance on one pool of a thread a core.
    """

    version: Callable[[], str]
    compile: Compiler
    load: Loader
    optimizations: dict[str, str]
    precisions: tuple[str, ...] = ()
    shared_pool: bool = False

    def threads(self, cores: int, instances: int) -> int:
        """Threads that an instance computes with."""
        return cores if self.shared_pool else max(1, cores // instances)


def runner_for(card: Card) -> Runner:
    """Return the runner of the card's format; imports its framework."""
    if card.format == "torchscript":
        from .torchscript import RUNNER
    elif card.format == "onnx":
        from .onnx import RUNNER
    elif card.format == "eager":
        from .eager import RUNNER
    elif card.format == "stablehlo":
        from .stablehlo import RUNNER
    else:
        from .saved_model import RUNNER
    return RUNNER
