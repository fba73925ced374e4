"""Backends by name: shipped, in a folder, in an installed package, and broken ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bytemlperf.backend import RuntimeBackend
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.registry import find_backend, list_backends


def test_shipped_backends_are_found_by_any_case() -> None:
    names = [backend.name for backend in list_backends()]
    assert {"CPU", "HPU", "IPU", "SPU", "STC"} <= set(names)
    assert names == sorted(names)
    assert find_backend("cpu").name == "CPU"


@pytest.mark.parametrize(
    ("name", "message"),
    [("SPUU", "did you mean 'SPU'"), ("GOYA", "HPU"), ("X", r"known: BYTEIR, CPU")],
)
def test_unknown_hardware_gets_a_hint(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_backend(name)


OWN = """
from __future__ import annotations
from bytemlperf.backend import {base}
from .shared import VALUE
class {name}({base}):
    def version(self): return VALUE
    def compile(self, config, dataset): ...
    def load(self, batch_size): ...
    def get_loaded_batch_size(self): return 1
    def predict(self, feeds): return {{}}
"""


def own_backend(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "compile.py").write_text(OWN.format(base="CompileBackend", name="Compile"))
    (folder / "runtime.py").write_text(OWN.format(base="RuntimeBackend", name="Runtime"))
    (folder / "shared.py").write_text("VALUE = 'mine 1.0'\n")
    return folder


def test_a_users_folder_is_found_and_its_files_see_each_other(tmp_path: Path) -> None:
    own_backend(tmp_path / "MINE")
    for given in (tmp_path, tmp_path / "MINE"):
        backend = find_backend("mine", given)
        assert backend.compile_class()({}).version() == "mine 1.0"
        assert issubclass(backend.runtime_class(), RuntimeBackend)
    with pytest.raises(UsageError, match="no such folder"):
        list_backends(tmp_path / "none")


def test_a_broken_backend_is_listed_and_says_why_when_used(tmp_path: Path) -> None:
    folder = own_backend(tmp_path / "BROKEN")
    (folder / "compile.py").write_text("import sdk_that_is_not_there\n")
    (folder / "runtime.py").write_text("x = 1\n")
    backend = find_backend("BROKEN", tmp_path)
    with pytest.raises(BytemlperfError, match=r"compile\.py cannot be imported.*sdk_that_is_not"):
        backend.compile_class()
    with pytest.raises(BytemlperfError, match=r"no class Runtime\(RuntimeBackend\)"):
        backend.runtime_class()
    (folder / "device.json").write_text("[")
    with pytest.raises(BytemlperfError, match=r"device\.json: not JSON"):
        backend.device()
    assert backend.problem() == f"{folder}/compile.py defines no class Compile"


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("runtime.py", None, r"runtime\.py: No such file"),
        ("runtime.py", "class Runtim: ...", r"runtime\.py defines no class Runtime"),
        ("compile.py", "def", r"compile\.py: not Python: invalid syntax"),
        ("device.json", "{'a': 1}", r"device\.json: not JSON"),
    ],
)
def test_listing_tells_what_is_broken(
    file: str, text: str | None, problem: str, tmp_path: Path
) -> None:
    folder = own_backend(tmp_path / "BROKEN")
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    found = {backend.name: backend.problem() for backend in list_backends(tmp_path)}
    assert re.search(problem, found["BROKEN"] or "")
    assert found["CPU"] is None


def test_classes_may_come_from_elsewhere(tmp_path: Path) -> None:
    folder = own_backend(tmp_path / "MINE")
    for name in ("compile", "runtime"):
        (folder / f"{name}.py").rename(folder / f"my_{name}.py")
        (folder / f"{name}.py").write_text(
            f"from .my_{name} import {name.title()} as Mine\n{name.title()} = Mine\n"
        )
    backend = find_backend("MINE", tmp_path)
    assert backend.problem() is None
    assert backend.compile_class()({}).version() == "mine 1.0"


def packaged(site: Path, entry_point: str) -> None:
    """What an installer leaves behind: a package and the metadata that names it."""
    own_backend(site / "vendor" / "acme")
    (site / "vendor" / "__init__.py").write_text("raise SystemExit('imported')\n")
    metadata = site / "bytemlperf_acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: bytemlperf-acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[bytemlperf.backends]\nACME = {entry_point}\n")


@pytest.mark.parametrize(
    ("entry_point", "expected"),
    [
        ("vendor.acme", "ACME None"),
        ("vendor.acmee", "ACME its entry point names vendor.acmee, and there is no such package"),
        ("nothing", "ACME its entry point names nothing, and there is no such package"),
    ],
)
def test_an_installed_package_is_listed_and_not_imported(
    entry_point: str, expected: str, tmp_path: Path
) -> None:
    packaged(tmp_path, entry_point)
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "from bytemlperf.registry import list_backends\n"
        "print(*(f'{b.name} {b.problem()}' for b in list_backends()), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert expected in done.stdout.splitlines()


def test_listing_imports_no_framework_and_no_backend(tmp_path: Path) -> None:
    code = (
        "import sys; from bytemlperf.registry import list_backends\n"
        "assert all(b.problem() is None and b.device() for b in list_backends())\n"
        "print([m for m in sys.modules if m.startswith('bytemlperf.backends.')\n"
        "       or m in ('torch', 'tensorflow', 'onnxruntime', 'onnx')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"
