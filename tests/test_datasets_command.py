"""``bytemlperf datasets`` and accuracy of the zoo's models on our samples, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bytemlperf.cli import cli
from bytemlperf.datasets import SOURCES

pytest.importorskip("PIL")
pytest.importorskip("tokenizers")


def test_the_list_says_where_files_go(tmp_path: Path) -> None:
    (tmp_path / "open_squad").mkdir()
    (tmp_path / "open_squad" / "dev-v1.1.json").write_text("{}")
    done = CliRunner(env={"COLUMNS": "200"}).invoke(
        cli, ["datasets", "list", "--data_dir", str(tmp_path)]
    )
    assert done.exit_code == 0
    lines = done.output.splitlines()
    for source in SOURCES.values():
        assert any(source.title in line for line in lines)
        assert source.files[0][0] in done.output
    assert "yes" in next(line for line in lines if "SQuAD" in line)
    assert "no" in next(line for line in lines if "Criteo" in line).split()


def test_verify_reads_everything_and_names_what_is_broken(
    tmp_path: Path, empty_cache: Path
) -> None:
    pytest.importorskip("farmhash")
    done = CliRunner().invoke(cli, ["datasets", "verify", "--sample_data"])
    assert done.exit_code == 0, done.output
    assert len(done.stderr.splitlines()) == len(SOURCES)
    assert "24 samples read" in done.stderr
    (tmp_path / "open_squad").mkdir()
    (tmp_path / "open_squad" / "dev-v1.1.json").write_text('{"data": [')
    for arguments, message in (
        (["--data_dir", str(tmp_path)], "not JSON"),
        (["--data_dir", str(tmp_path), "criteo"], "lacks open_criteo_kaggle/eval.csv"),
        (["--data_dir", str(tmp_path), "squat"], "did you mean 'squad'"),
        (["--data_dir", str(tmp_path / "open_squad")], "no data set is there"),
        ([], "--data_dir is missing"),
    ):
        failed = CliRunner().invoke(cli, ["datasets", "verify", *arguments])
        assert message in str(failed.exception)
