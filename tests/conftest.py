"""What all tests share: never the user's cache, never the source folder instead of the package."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

import bytemlperf
from bytemlperf.cli import main

# A shared host stalls now and then; that is not what properties are about.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """One cache for the whole run, so that a model is built once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("BYTEMLPERF_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell starts background jobs deaf to Ctrl-C, and what the tests start inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def compiled() -> Callable[..., Path]:
    """Make a shared library of (source, folder, *flags) against the C interface; returns it."""
    flags = ("-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror")

    def make(source: Path, folder: Path, *more: str) -> Path:
        library = folder / f"{source.stem}.so"
        command = ["c++", "-std=c++17"] if source.suffix == ".cpp" else ["cc", "-std=c11"]
        include = f"-I{bytemlperf.get_include()}"
        arguments = [*command, *flags, *more, include, str(source), "-o", str(library)]
        subprocess.run(arguments, check=True)
        return library

    return make


@pytest.fixture(scope="session")
def check_outputs() -> Callable[..., None]:
    """Every query of a result that was answered has its own rows, doubled: x is 0 .. 9, [10, 1]."""

    def check(result: bytemlperf.Result, batch_size: int = 1) -> None:
        assert result.outputs is not None
        for query, outputs in enumerate(result.outputs):
            if outputs is not None:
                rows = (query * batch_size + np.arange(batch_size)) % 10
                np.testing.assert_array_equal(outputs["y"], 2.0 * rows[:, np.newaxis])

    return check


@pytest.fixture(scope="session")
def check_two_faults(check_outputs: Callable[..., None]) -> Callable[..., None]:
    """Two of 20 queries of an isolated backend failed, and nothing else."""

    def check(result: bytemlperf.Result, kind: str, message: str, *, dies: bool) -> None:
        assert (result.completed, result.errors) == (18, 2), result.error_types
        assert set(result.error_types) == {kind}
        assert message in result.error_types[kind].first
        assert result.environment["isolation"]["restarts"] == (2 if dies else 0)
        check_outputs(result)
        assert not result.valid

    return check


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BYTEMLPERF_CACHE", str(folder))
    return folder


@pytest.fixture
def command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in the test's folder, in this process: one of its own imports everything anew."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        code = 0
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run
