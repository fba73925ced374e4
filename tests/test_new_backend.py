"""A vendor's first hour: the guide typed as it stands, and what new-backend refuses."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bytemlperf

pytest.importorskip("onnxruntime")
pytest.importorskip("sklearn")
pytest.importorskip("setuptools")

GUIDE = Path(__file__).parent.parent / "docs" / "vendor-guide.md"
SKELETONS = Path(bytemlperf.__file__).parent / "skeletons"
MODULES = {
    "python": "", "pip": "-m pip", "pytest": "-m pytest -q -p no:cacheprovider",
    "bytemlperf": "-m bytemlperf",
}  # fmt: skip


def blocks(language: str, *, without: str = "") -> list[str]:
    """Code blocks of the guide; sections whose heading contains ``without`` are left out."""
    sections = re.split(r"(?m)^## ", GUIDE.read_text(encoding="utf-8"))
    kept = [s for s in sections if not without or without not in s.splitlines()[0]]
    return re.findall(rf"```{language}\n(.*?)```", "".join(kept), re.DOTALL)


def environment(folder: Path) -> dict[str, str]:
    """This interpreter's commands first on the path; pip installs into the folder, offline."""
    commands = folder / "bin"
    commands.mkdir()
    for name, module in MODULES.items():
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "PIP_TARGET": str(folder / "site"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def shell(script: str, folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guide_typed_as_it_stands(tmp_path: Path) -> None:
    native = shutil.which("cmake") is not None
    variables = environment(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    said = shell("".join(blocks("bash", without="" if native else "native")), work, variables)
    assert re.search(r"ACME +ACME +the host, until the card is here +SDK onnxruntime", said)
    assert said.count("leak                   passed") == 1 + native
    assert "failed" not in said
    assert "18 of 18 checks" in said
    assert "2 passed" in said  # the tests that new-backend wrote
    for name in ("ACME", "SWIFT")[: 1 + native]:
        assert (work / "reports" / name / "digits-onnx-fp32" / "result-fp32.json").exists()
    listed = shell("bytemlperf backends list", tmp_path, variables)
    assert re.search(r"ACME +ACME", listed)  # the installed package, without --backend_dir
    assert (tmp_path / "site" / "bytemlperf_acme" / "device.json").exists()


def test_the_guide_shows_the_code_that_is_written() -> None:
    for name, shown in zip(("compile.py", "runtime.py"), blocks("python"), strict=True):
        assert shown == (SKELETONS / "python" / name).read_text(encoding="utf-8")


def test_every_check_stands_in_the_guide() -> None:
    from bytemlperf.conformance import CHECKS

    rows = re.findall(r"^\| ([a-z ,]+) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for row in rows for name in row.split(", ")]
    assert named[1:] == [check.name for check in CHECKS]  # the first row is the heading


def lines_of_code(file: Path) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    text = file.read_text(encoding="utf-8")
    prose: set[int] = set()
    if file.suffix == ".c":
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    else:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                prose |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    comment = "//" if file.suffix == ".c" else "#"
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for n, t in lines if n not in prose and t.strip() and not t.strip().startswith(comment)
    )


@pytest.mark.parametrize(("kind", "most"), [("python", 60), ("native", 150)])
def test_a_vendor_writes_few_lines(kind: str, most: int) -> None:
    code = [
        f for f in (SKELETONS / kind).iterdir() if f.name in ("compile.py", "runtime.py", "acme.c")
    ]
    assert 30 < sum(lines_of_code(file) for file in code) < most


@pytest.mark.parametrize("flags", [(), ("--native",)], ids=["python", "native"])
def test_what_is_written_passes_its_own_tests(flags: tuple[str, ...], tmp_path: Path) -> None:
    """In a clean folder and with this interpreter alone: the path offers commands of another."""
    if flags and shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    assert new_backend(tmp_path, "NOVA", *flags).returncode == 0
    command = (sys.executable, "-m", "pytest", "NOVA")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def new_backend(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bytemlperf", "new-backend", *arguments)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_new_backend_overwrites_nothing_and_wants_a_name(tmp_path: Path) -> None:
    first = new_backend(tmp_path, "Nova", "--dir", "mine")
    assert first.returncode == 0, first.stderr
    assert "mine/Nova/ (README.md says what to change)" in first.stdout
    written = {file.name for file in (tmp_path / "mine" / "Nova").iterdir()}
    expected = {"__init__.py", "compile.py", "runtime.py", "test_nova.py", "pyproject.toml"}
    assert expected <= written
    text = "".join(f.read_text() for f in (tmp_path / "mine" / "Nova").iterdir())
    assert "acme" not in text.lower()
    (tmp_path / "mine" / "Nova" / "compile.py").write_text("mine")
    for name, message in (
        ("Nova", "exists already, and nothing is overwritten"),
        ("cpu", "there is a backend cpu already"),
        ("../x", "a name is letters, digits and _"),
    ):
        again = new_backend(tmp_path, name, "--dir", "mine")
        assert again.returncode == 2
        assert message in again.stderr
    assert (tmp_path / "mine" / "Nova" / "compile.py").read_text() == "mine"
