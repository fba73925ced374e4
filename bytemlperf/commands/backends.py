"""``bytemlperf backends``: which backends there are, and what each of them would run on here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bytemlperf.registry import Backend


@click.group()
def backends() -> None:
    """List backends."""


@backends.command("list")
@click.option(
    "--backend_dir",
    "--backend-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with backends of your own.",
)
def list_(backend_dir: Path | None) -> None:
    """Show every backend, without importing any."""
    show_backends(backend_dir)


def show_backends(backend_dir: Path | None) -> None:
    """Print the table of backends; a broken one stands in it with its reason."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from bytemlperf.registry import list_backends

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "vendor", "device"):
        table.add_column(heading, no_wrap=True)
    table.add_column("here", overflow="fold")
    for backend in list_backends(backend_dir):
        problem = backend.problem()
        device = {} if problem else backend.device()
        here = f"[red]broken[/]: {escape(problem)}" if problem else _here(backend)
        table.add_row(backend.name, device.get("vendor", ""), device.get("device", ""), here)
    Console(highlight=False).print(table)


def _here(backend: Backend) -> str:
    """What ``device.json`` tells without an import: SDK there, or a device model in its place."""
    device = backend.device()
    sdk = device.get("sdk")
    if sdk is not None and importlib.util.find_spec(sdk) is not None:
        return f"SDK {sdk} installed"
    lacks = f"SDK {sdk} not installed" if sdk is not None else ""
    if "peak_tops" in device:
        return f"[yellow]simulated[/]: {lacks or 'a device model'}"
    return f"[yellow]{lacks}[/]" if lacks else "ready"
