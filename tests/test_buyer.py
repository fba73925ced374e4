"""Several hardware types in one command: two groups, one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bytemlperf.cli import cli
from bytemlperf.report.buyer import best_row, sentence
from bytemlperf.report.schema import Performance, Report


def report(backend: str, rows: list[tuple[int, float, float]], *, simulated: bool) -> Report:
    return Report(
        model="M",
        backend=backend,
        host_info="h",
        simulated=simulated,
        version="0",
        execution_date="now",
        performance=[
            Performance(bs=bs, qps=qps, avg_latency=p99 / 2, p99_latency=p99)
            for bs, qps, p99 in rows
        ],
    )


CPU = report("CPU", [(1, 10.0, 90.0), (8, 20.0, 400.0)], simulated=False)
OLD = report("OLD", [(1, 5.0, 200.0)], simulated=False)
SPU = report("SPU", [(64, 8107.4, 7.9)], simulated=True)


def test_the_sentence_keeps_measured_and_simulated_apart() -> None:
    said = sentence("RoBERTa base", [SPU, OLD, CPU], None)
    assert said == (
        "For RoBERTa base: measured on this host, CPU answers 20 samples a second at batch 8, 99 % "
        "of queries within 400 ms, OLD answers 5 samples a second at batch 1, 99 % of queries within "
        "200 ms (4 times slower than CPU); device models, which are no measurement, expect that SPU "
        "answers 8,107 samples a second at batch 64, 99 % of queries within 7.9 ms."
    )


def test_an_objective_chooses_the_batch_size() -> None:
    row = best_row(CPU, 100.0)
    assert row is not None
    assert row.bs == 1
    assert best_row(OLD, 100.0) is None
    said = sentence("M", [CPU, OLD], 100.0)
    assert "with p99 within 100 ms" in said
    assert "OLD does not meet it at any batch size" in said
    assert sentence("M", [], None) == "For M, there is no result."


def test_one_command_runs_them_all_and_a_missing_one_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    command = "--task digits-onnx-fp32 --quick --batch_sizes 8 --hardware_type"
    done = CliRunner().invoke(cli, [*command.split(), "CPU,GPU,STC"])
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("For Digits CNN: measured on this host, CPU answers")
    assert "device models, which are no measurement, expect that STC" in lines[-1]
    assert re.search(r"STC answers .*\(such a model is off by \d+% in the median\)\.$", lines[-1])
    assert lines[-2].startswith("no result: GPU: there is no NVIDIA GPU")
    measured = lines.index(next(line for line in lines if line.startswith("measured on")))
    simulated = lines.index(next(line for line in lines if line.startswith("SIMULATED by")))
    assert any(line.startswith("CPU") for line in lines[measured:simulated])
    assert not any(line.startswith("STC ") for line in lines[measured:simulated])
    assert (tmp_path / "reports/CPU/digits-onnx-fp32/result-fp32.json").exists()
    assert (tmp_path / "reports/STC-simulated/digits-onnx-fp32/result-fp16.json").exists()
    # Nothing is written under the model's precision before the device's is known.
    reports = (tmp_path / "reports/STC-simulated").rglob("result*.json")
    assert [file.name for file in reports] == ["result-fp16.json"]
    dry = CliRunner().invoke(cli, [*command.split(), "CPU,STC", "--dry_run"])
    assert dry.exit_code == 0
    assert "on CPU" in dry.stdout
    assert "on STC, simulated" in dry.stdout
