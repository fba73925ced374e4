"""Compile for the host processor."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question, Segment
from bytemlperf.datasets import Dataset

from .runner import runner_for

_DONE = "compiled.json"


class Compile(CompileBackend):
    """Optimises the graph once and keeps it; the host runs every operator of its framework."""

    def version(self) -> str:
        return "CPU"

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        card = config.model.card
        return (
            Question(
                "precision",
                "what the host computes in; inputs and outputs stay as they are",
                card.precision,
                choices=(card.precision, *runner_for(card).precisions),
            ),
        )

    def pre_optimize(self, config: CompileConfig) -> CompileConfig:
        """Import the framework: seconds that are no part of a compilation."""
        runner_for(config.model.card).version()
        return config

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        card, model = config.model.card, config.model
        runner = runner_for(card)
        compiled = _cached(config.cache_dir)
        if compiled is None:
            shutil.rmtree(config.cache_dir, ignore_errors=True)
            config.cache_dir.mkdir(parents=True)
            compiled = runner.compile(config, dataset)
            done = config.cache_dir / _DONE
            done.write_text(json.dumps({"artifact": compiled.name}), encoding="utf-8")
        threads = runner.threads(len(os.sched_getaffinity(0)), config.workload.clients)
        return CompileInfo(
            precision=config.options["precision"],
            segments=(Segment.whole(model),),
            artifact=compiled,
            optimizations=runner.optimizations,
            notes={
                "runtime": runner.version(),
                "threads_per_instance": threads,
                "thread_pool": "shared by all instances" if runner.shared_pool else "its own",
            },
        )


def _cached(folder: Path) -> Path | None:
    try:
        done = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    artifact = folder / done["artifact"]
    return artifact if artifact.exists() else None
