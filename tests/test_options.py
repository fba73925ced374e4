"""A backend's options: defaults, a profile file, --set, a dialog, and what depends on what."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bytemlperf.backend import Question
from bytemlperf.engine.options import Answers
from bytemlperf.errors import BytemlperfError, UsageError

QUESTIONS = (
    Question("quantize", "compute in integers", default=False),
    Question("bits", "of an integer", default=8, choices=(4, 8), depends=("quantize",)),
    Question("clip", "range of an integer", default=3.0, depends=("bits",)),
    Question("target", "name of the card", default="s30"),
)
DEFAULTS = {"quantize": False, "bits": 8, "clip": 3.0, "target": "s30"}


def complete(*, profile: Path | None = None, ask: Any = None, **settings: str) -> dict[str, Any]:
    return Answers(settings, profile, ask).complete("ACME", QUESTIONS)


def file(folder: Path, **values: Any) -> Path:
    path = folder / "profile.json"
    path.write_text(json.dumps(values))
    return path


def test_set_wins_over_the_profile_and_that_over_the_default(tmp_path: Path) -> None:
    assert complete() == DEFAULTS
    profile = file(tmp_path, quantize=True, bits=4, clip=2)
    found = complete(profile=profile, bits="8", target="s40")
    assert found == {"quantize": True, "bits": 8, "clip": 2.0, "target": "s40"}
    assert type(found["clip"]) is float


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bit": "8"}, "--set bit: ACME has no such option; did you mean 'bits'"),
        ({"quantize": "maybe"}, "--set quantize=maybe: expected bool"),
        ({"quantize": "1", "bits": "5"}, "--set bits=5: one of 4, 8"),
        ({"bits": "4"}, "--set bits: applies only where quantize is set, and it is False"),
        ({"clip": "1"}, "--set clip: applies only where bits is set"),
    ],
)
def test_a_wrong_setting_says_why(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        complete(**settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantize": 1}, "profile.json: quantize=1: expected bool"),
        ({"quantize": True, "bits": True}, "bits=True: expected int"),
        ({"targets": "s40"}, "profile.json: targets: ACME has no such option"),
    ],
)
def test_a_wrong_profile_names_file_and_option(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        complete(profile=file(tmp_path, **values))


def test_a_profile_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        complete(profile=tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError, match="a profile is a JSON object"):
        complete(profile=tmp_path / "list.json")


def test_only_what_applies_and_was_not_said_is_asked() -> None:
    asked: list[str] = []

    def ask(question: Question) -> Any:
        asked.append(question.name)
        return question.default

    complete(ask=ask, target="s40")
    assert asked == ["quantize"]
    asked.clear()
    complete(ask=ask, quantize="yes")
    assert asked == ["bits", "clip", "target"]


def test_an_option_that_depends_on_a_later_one_is_the_backends_mistake() -> None:
    with pytest.raises(BytemlperfError, match="ACME: option bits depends on quantize, which is"):
        Answers().complete("ACME", QUESTIONS[1:])


COMMAND = (
    sys.executable, "-m", "bytemlperf", "predict", "--task", "digits-onnx-fp32",
    "--hardware_type", "SPU", "--interactive",
)  # fmt: skip


def test_a_dialog_needs_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--interactive needs a terminal" in done.stderr


def test_a_dialog_asks_on_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    ours, theirs = pty.openpty()
    os.write(ours, b"\n3\n4\n")
    done = subprocess.run(
        COMMAND, cwd=tmp_path, stdin=theirs, capture_output=True, text=True, check=False, timeout=60
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "sparsity: weights that one kept weight stands for" in done.stderr
    assert "'3' is not one of '1', '2', '4'" in done.stderr
    assert "logits" in done.stdout
