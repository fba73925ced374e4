"""``bytemlperf models verify``: models built, exported, compared with their sources and run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from bytemlperf.errors import BytemlperfError, UsageError

_WARMUP_QUERIES = 3  # TorchScript optimises itself over its first calls
_QUERIES = 10
_AT_MOST_S = 30.0


@dataclass(frozen=True)
class Row:
    """What was found of one model.

    Attributes:
        artifact_bytes: size of the exported model.
        build_s: seconds to build, export and verify it, when that was last done.
        latency_ms: median of ``queries`` queries of one sample, one at a time, in the plain
            loader of its framework.
        max_difference: largest absolute difference export vs source, at two batch sizes; None
            for a model that is built in memory.
        failure: why there are no figures.
    """

    model: str
    preset: str
    seed: int
    parameters: int | None = None
    artifact_bytes: int | None = None
    build_s: float | None = None
    cached: bool | None = None
    latency_ms: float | None = None
    queries: int | None = None
    max_difference: float | None = None
    tolerance: float | None = None
    failure: str | None = None


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every model of the zoo.")
@click.option("--preset", type=click.Choice(["full", "tiny"]), default="full", show_default=True)
@click.option("--weights", type=click.Path(path_type=Path), help="A checkpoint, for one model.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def verify(
    names: tuple[str, ...],
    every: bool,
    preset: Literal["full", "tiny"],
    weights: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Build models, compare their exports with their sources at two batch sizes, and run them.

    A model that fails does not stop the others. At full size each of several models has a process
    of its own, so that its memory is free for the next one.
    """
    from bytemlperf.zoo import list_cards

    chosen = list_cards() if every else list(names)
    if not chosen or (every and names):
        raise UsageError("name the models to verify, or give --all")
    if weights is not None and len(chosen) > 1:
        raise UsageError("--weights belongs to one model: name it")
    rows: list[Row] = []
    try:
        for number, name in enumerate(chosen, 1):
            click.echo(f"{name} ({number}/{len(chosen)})", err=True)
            if preset == "full" and len(chosen) > 1:
                rows.append(_in_a_process(name, seed))
            else:
                rows.append(_caught(name, preset, weights, seed))
    finally:  # also what was found until Ctrl-C
        if as_json:
            click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        elif rows:
            _show(rows)
    failed = [row.model for row in rows if row.failure]
    if failed:
        raise BytemlperfError(f"{len(failed)} of {len(rows)} failed: {', '.join(failed)}")


def _caught(name: str, preset: Literal["full", "tiny"], weights: Path | None, seed: int) -> Row:
    try:
        return _verify(name, preset, weights, seed)
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the others have their turn
        reason = str(error) if isinstance(error, BytemlperfError) else repr(error)
        return Row(name, preset, seed, failure=reason)


def _verify(name: str, preset: Literal["full", "tiny"], weights: Path | None, seed: int) -> Row:
    from bytemlperf.loadgen import LoadGenerator
    from bytemlperf.patterns import ClosedLoop
    from bytemlperf.screen import Screen
    from bytemlperf.zoo import open_model, synthetic_feeds
    from bytemlperf.zoo.cache import artifact_bytes
    from bytemlperf.zoo.verify import load_artifact, verify_export

    with Screen().step("model") as step:
        model = open_model(name, preset=preset, weights=weights, seed=seed, progress=step.update)
        difference = model.export_difference
        if model.cached:
            step.update("comparing with the source again")
            difference = verify_export(model.card, model.path, model.load_source())
        step.outcome = "from the cache" if model.cached else f"built in {model.build_s:.1f} s"
    with Screen().step("run") as step:
        samples = [synthetic_feeds(model.card, [i], seed) for i in range(4)]
        with LoadGenerator(load_artifact(model.card, model.path), samples) as generator:
            step.update("warming up")
            generator.run(ClosedLoop(), queries=_WARMUP_QUERIES)
            step.update(f"{_QUERIES} queries")
            result = generator.run(ClosedLoop(), queries=_QUERIES, max_duration=_AT_MOST_S)
        if result.errors or not result.completed:
            kind, first = next(iter(result.error_types.items()), ("nothing", None))
            raise BytemlperfError(f"{name}: a query failed: {kind}: {first.first if first else ''}")
        step.outcome = f"{result.completed} queries"
    return Row(
        model=model.card.name,
        preset=preset,
        seed=seed,
        parameters=model.parameters,
        artifact_bytes=artifact_bytes(model.path.parent),
        build_s=model.build_s,
        cached=model.cached,
        latency_ms=1e3 * result.latency.p50,
        queries=result.completed,
        max_difference=difference,
        tolerance=model.card.tolerance,
    )


def _in_a_process(name: str, seed: int) -> Row:
    command = [sys.executable, "-m", "bytemlperf", "models", "verify", name, "--json"]
    done = subprocess.run(
        [*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        (row,) = json.loads(done.stdout)
        return Row(**row)
    except (ValueError, TypeError):
        ending = f"exit code {done.returncode}"
        if done.returncode < 0:
            ending = f"signal {signal.Signals(-done.returncode).name}"
            ending += " (out of memory?)" if done.returncode == -signal.SIGKILL else ""
        return Row(name, "full", seed, failure=f"its process ended with {ending}")


def _show(rows: Iterable[Row]) -> None:
    from bytemlperf.commands.tables import print_table

    numbers = ("parameters", "file", "build", "batch 1", "max |diff|", "tolerance")
    print_table(("model", *numbers, "outcome"), [_cells(row) for row in rows], numbers=numbers)


def _cells(row: Row) -> list[str]:
    if row.failure is not None:
        return [row.model, *[""] * 6, f"FAILED: {row.failure}"]
    assert row.artifact_bytes is not None
    return [
        row.model,
        f"{row.parameters:,}",
        f"{row.artifact_bytes / 1e6:.1f} MB",
        f"{row.build_s:.1f} s",
        f"{row.latency_ms:.2f} ms",
        "none" if row.max_difference is None else f"{row.max_difference:.2g}",
        f"{row.tolerance:g}",
        "ok",
    ]
