"""``--show_task_list``: the tasks, with what each runs."""

from __future__ import annotations

from pathlib import Path

from bytemlperf.commands.tables import print_table
from bytemlperf.errors import BytemlperfError
from bytemlperf.workload import Workload, list_workloads
from bytemlperf.zoo import load_card

_HEADINGS = ("task", "model", "domain", "purpose", "framework", "data set", "precision")


def show_tasks(workload_dir: Path | None) -> None:
    """Print every task; one that cannot be read says why instead."""
    print_table(_HEADINGS, [_row(name, workload_dir) for name in list_workloads(workload_dir)])


def _row(name: str, workload_dir: Path | None) -> tuple[str, ...]:
    try:
        card = load_card(Workload.load(name, workload_dir).model)
    except BytemlperfError as error:
        return (name, f"cannot be read: {error}", *[""] * (len(_HEADINGS) - 2))
    data = card.dataset or "none"
    return name, card.title, card.domain, card.purpose, card.framework, data, card.precision
