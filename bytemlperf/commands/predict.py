"""``bytemlperf predict``: one batch, to look at what a backend answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bytemlperf.commands.flags import (
    FOLDER,
    flag,
    model_flags,
    option_flags,
    preset_flag,
    request,
)
from bytemlperf.errors import BackendError

_FIRST = 4


@click.command()
@flag("task", metavar="NAME|PATH", required=True, help="Task whose model is run.")
@flag("hardware_type", metavar="NAME", required=True, help="Backend to run it on.")
@flag("batch_size", type=click.IntRange(min=1), default=1, show_default=True)
@flag("data_dir", type=FOLDER, help="Folder with data sets; without one, data is synthetic.")
@model_flags
@preset_flag("full")
@option_flags
def predict(
    task: str, hardware_type: str, batch_size: int, data_dir: Path | None, **flags: Any
) -> None:
    """Run one batch and print its outputs."""
    from rich.console import Console

    from bytemlperf import __version__
    from bytemlperf.datasets import Synthetic, open_dataset
    from bytemlperf.engine.feeding import columns
    from bytemlperf.engine.runner import prepare
    from bytemlperf.loadgen import LoadGenerator
    from bytemlperf.patterns import Offline
    from bytemlperf.report.terminal import simulated_banner
    from bytemlperf.report.units import seconds
    from bytemlperf.screen import Screen

    screen = Screen()
    ready = prepare(request(task, hardware_type, flags), screen, __version__)
    if ready.simulated:
        simulated_banner(screen.console, ready.request.backend.name)
    if data_dir is None:
        dataset: Any = Synthetic(ready.card, batch_size, ready.workload.seed)
    else:
        dataset = open_dataset(
            ready.model, data_dir=data_dir, sample_data=False, seed=ready.workload.seed
        )
    samples = columns(ready.card, dataset.feeds([i % len(dataset) for i in range(batch_size)]))
    with screen.step("predict") as step:
        with LoadGenerator(ready.runtime(), samples, batch_size=batch_size) as generator:
            result = generator.run(Offline(), queries=1, keep_outputs=True)
        if not result.outputs:
            kind, first = next(iter(result.error_types.items()))
            raise BackendError(f"predict() failed: {kind}: {first.first}")
        step.outcome = f"{dataset.name}, batch {batch_size}, {seconds(result.service_time.max)}"
    Console(highlight=False).print(_table(result.outputs[0]))


def _table(outputs: Any) -> Any:
    import numpy as np
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("output", "shape", "dtype", "first values"):
        table.add_column(heading)
    for heading in ("min", "max", "mean", "NaN"):
        table.add_column(heading, justify="right")
    named = outputs if isinstance(outputs, dict) else {"(not a dictionary)": outputs}
    for name, output in named.items():
        array = np.asarray(output)
        numbers = array.reshape(-1).astype(np.float64)
        finite = numbers[~np.isnan(numbers)]
        values = [f"{v:.5g}" for v in numbers[:_FIRST]]
        more = " ..." if numbers.size > _FIRST else ""
        figures = [f"{f(finite):.5g}" if finite.size else "" for f in (np.min, np.max, np.mean)]
        table.add_row(
            name,
            str(list(array.shape)),
            str(array.dtype),
            " ".join(values) + more,
            *figures,
            str(numbers.size - finite.size),
        )
    return table
