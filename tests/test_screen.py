"""Progress: what is said reaches the user as it was written."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bytemlperf.screen import Screen


@pytest.mark.parametrize("terminal", [False, True])
def test_brackets_are_text_and_not_markup(terminal: bool) -> None:
    file = io.StringIO()
    screen = Screen(Console(file=file, force_terminal=terminal, width=120, highlight=False))
    screen.say("pip install 'bytemlperf[report]'")
    with screen.step("data") as step:
        step.update("reading part[1]", 0.5)
        step.outcome = "[bold]3[/bold] samples"
    said = file.getvalue()
    assert "pip install 'bytemlperf[report]'" in said
    assert "[bold]3[/bold] samples" in said
