"""``bytemlperf models verify``: figures of every row, one failure does not stop the others."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

from bytemlperf.cli import main
from bytemlperf.commands import verify


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["models", "verify", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_rows_have_figures_and_a_failed_one_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    code, out, err = run(capsys, "digits-onnx-fp32", "nothing", "--preset", "tiny", "--json")
    assert code == 1
    assert "1 of 2 failed: nothing" in err
    first, second = json.loads(out)
    assert first["failure"] is None
    assert first["parameters"] == 38282
    assert first["queries"] == 10
    assert 0 < first["latency_ms"] < 1e3
    assert 0 < first["max_difference"] <= first["tolerance"]
    assert first["artifact_bytes"] > 4 * 38282
    assert "unknown model 'nothing'" in second["failure"]


def test_a_cached_model_is_compared_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    assert run(capsys, "digits-onnx-fp32", "--preset", "tiny")[0] == 0
    monkeypatch.setattr("bytemlperf.zoo.verify.compare", _nothing_agrees)
    code, out, _ = run(capsys, "digits-onnx-fp32", "--preset", "tiny")
    assert code == 1
    assert "FAILED: digits-onnx-fp32: the export differs from its source" in out


def _nothing_agrees(reference: Any, candidate: Any) -> Any:
    from bytemlperf.numeric import compare

    shifted = {k: {n: a + 1 for n, a in v.items()} for k, v in candidate.items()}
    return compare(reference, shifted)


def test_full_models_have_a_process_each_and_a_killed_one_is_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ended(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        name = command[command.index("verify") + 1]
        asked.append(name)
        if name == "b":
            return subprocess.CompletedProcess(command, -signal.SIGKILL, stdout="")
        row = {"model": name, "preset": "full", "seed": 0, "failure": "x"}
        return subprocess.CompletedProcess(command, 1, stdout=json.dumps([row]))

    monkeypatch.setattr(verify.subprocess, "run", ended)
    code, out, _ = run(capsys, "a", "b", "c", "--json")
    assert code == 1
    assert asked == ["a", "b", "c"]
    assert [row["failure"] for row in json.loads(out)] == [
        "x",
        "its process ended with signal SIGKILL (out of memory?)",
        "x",
    ]


def test_what_was_found_until_ctrl_c_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    real = verify._verify

    def interrupted(name: str, *rest: Any) -> verify.Row:
        if name == "second":
            raise KeyboardInterrupt
        return real(name, *rest)

    monkeypatch.setattr(verify, "_verify", interrupted)
    code, out, _ = run(capsys, "digits-onnx-fp32", "second", "--preset", "tiny")
    assert code == 130
    assert "38,282" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "or give --all"),
        (["--all", "a"], "or give --all"),
        (["a", "b", "--weights", "x"], "--weights belongs to one model"),
    ],
)
def test_what_cannot_be_asked_for(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
