"""A built model: what flows from the zoo to compilers, references and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bytemlperf.backend import Predict
from bytemlperf.zoo.card import Card


@dataclass(frozen=True)
class Weights:
    """Where a model's weights come from.

    Attributes:
        kind: ``seeded`` (random from a seed: accuracy means nothing), ``checkpoint`` (the user's
            ``--weights``), ``embedded`` (trained, in the package) or ``artifact`` (``--weights``
            gave a finished model, which is used as it is).
        sha256: hash of the state, names and bytes; of the files where kind is ``artifact``.
        source: the seed, the checkpoint's path or the package file, for people.
    """

    kind: Literal["seeded", "checkpoint", "embedded", "artifact"]
    sha256: str
    source: str


@dataclass(frozen=True)
class Model:
    """A model that is built, exported and verified.

    Attributes:
        card: its model card.
        preset: ``full`` or ``tiny``.
        path: the exported artifact (a file, or a folder for a SavedModel).
        weights: provenance of the weights.
        parameters: counted in the built model.
        operators: kind of operator to its count in the exported graph.
        flops_per_sample: floating-point operations of one sample, or None where not counted.
        build_s: seconds that building, exporting and verifying took when it was built.
        export_difference: largest absolute difference export vs source when it was verified; None
            where nothing was exported.
        cached: true where nothing had to be built.
        tokenizer: path of the checkpoint's ``tokenizer.json``, where it has one.
        load_source: loads the eager source model as a predict function (slow: call it once).
    """

    card: Card
    preset: Literal["full", "tiny"]
    path: Path
    weights: Weights
    parameters: int
    operators: dict[str, int]
    flops_per_sample: float | None
    build_s: float
    export_difference: float | None
    cached: bool
    tokenizer: Path | None
    load_source: Callable[[], Predict]

    def without_source(self) -> Model:
        """Return what a process of its own can be sent: everything but ``load_source``."""
        return replace(self, load_source=_no_source)

    @property
    def source_name(self) -> str:
        """What :attr:`load_source` runs, in a report's words."""
        if self.weights.kind == "artifact":
            return "the given artifact itself in its own framework on the CPU: it has no source"
        return "the eager source model on the CPU"


def _no_source() -> Predict:
    raise RuntimeError("the eager source model is not there in an isolated backend's process")
