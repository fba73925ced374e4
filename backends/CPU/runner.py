"""One loaded model on the host, in the framework of its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bytemlperf.backend import Predict
from bytemlperf.zoo import Card

#: (card, artifact, threads) -> predict
Loader = Callable[[Card, Path, int], Predict]


@dataclass(frozen=True)
class Runner:
    """How a format is compiled for the host and loaded.

    Attributes:
        version: name and version of the framework.
        compile: writes the optimised artifact into a folder and returns it.
        load: loads that artifact; the returned function may be called from several threads.
        optimizations: what compile does, by name.
        shared_pool: the framework computes every instance on one pool of a thread a core.
    """

    version: Callable[[], str]
    compile: Callable[[Card, Path, Path], Path]
    load: Loader
    optimizations: dict[str, str]
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
    else:
        from .saved_model import RUNNER
    return RUNNER
