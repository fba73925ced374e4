"""Compile StableHLO modules with ByteIR, or with XLA in its place."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib import metadata

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.errors import UsageError
from bytemlperf.zoo import xla
from bytemlperf.zoo.stablehlo import Modules, portable

from . import sdk

# The newest version of the portable form that ByteIR's parser knows.
_STABLEHLO = "0.16.2"
_DONE = "compiled"


class Compile(CompileBackend):
    """One compiled module a batch size."""

    def version(self) -> str:
        if not sdk.installed():
            return f"{xla.version()} in place of ByteIR"
        try:
            return f"ByteIR {metadata.version('byteir')}"
        except metadata.PackageNotFoundError:
            return "ByteIR"

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        if not sdk.installed():
            return ()
        return (Question("target", "what ByteIR compiles for", "cpu", choices=("cpu", "cuda")),)

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        card, model = config.model.card, config.model
        if card.format != "stablehlo":
            raise UsageError(
                f"{card.name} is {card.format}, and ByteIR takes StableHLO: choose a task whose "
                "framework is mhlo"
            )
        done = config.cache_dir / _DONE
        if not done.exists():
            shutil.rmtree(config.cache_dir, ignore_errors=True)
            config.cache_dir.mkdir(parents=True)
            if sdk.installed():
                self._with_byteir(config)
            else:
                self._with_xla(config)
            done.touch()
        return CompileInfo(
            precision=card.precision,
            segments=(Segment.whole(model),),
            artifact=config.cache_dir,
            optimizations={"compiler": self.version()},
            notes={
                "compiler": self.version(),
                **({} if sdk.installed() else {"stand_in": self.version()}),
                **self.options,
            },
        )

    def _with_byteir(self, config: CompileConfig) -> None:
        modules = Modules.read(config.model.path)
        for batch_size in config.batch_sizes:
            source = config.cache_dir / f"batch-{batch_size}.stablehlo.mlirbc"
            source.write_bytes(portable(modules.path(batch_size), _STABLEHLO))
            sdk.compiler().compile(
                str(source),
                str(config.cache_dir / f"batch-{batch_size}.mlir"),
                entry_func="main",
                target=self.options["target"],
            )

    def _with_xla(self, config: CompileConfig) -> None:
        executable = xla.Executable(config.model.card, config.model.path, config.cache_dir)
        for batch_size in config.batch_sizes:
            executable.prepare(batch_size)
