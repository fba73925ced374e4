"""The shape of the code itself: who may import whom, what an import costs, what is installed."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import pytest

import bytemlperf

PACKAGE = Path(bytemlperf.__file__).parent

# A file imports only from entries above its own.
ORDER = (
    "_core",
    "_numeric",
    "errors",
    "bytemlperf_child",  # in isolation; runs in other interpreters too and imports nothing of ours
    "extras",
    "host",
    "jsonc",
    "power",
    "backend",
    "stats",
    "hdr",
    "distribution",
    "attribution",
    "early_stopping",
    "export",
    "windows",
    "stationarity",
    "result",
    "comparison",
    "device",
    "patterns",
    "batching",
    "pinning",
    "progress",
    "columns",
    "query_mix",
    "samples",
    "instances",
    "isolation",
    "core_backend",
    "kept_outputs",
    "overhead",
    "littles_law",
    "stopping",
    "verdicts",
    "outcome",
    "loadgen",
    "",  # bytemlperf itself: the library's names
    "selftest",
    "honesty",
    "tolerance",
    "numeric",
    "load",
    "workload",
    "fixed_batch",
    "zoo",
    "completion",
    "segments",
    "datasets",
    "simulate",
    "registry",
    "report",
    "stamp",
    "screen",
    "engine",
    "conformance",
    "commands",
    "cli",
    "__main__",
)
# Results print themselves: the one place where a lower file looks up, when it is asked to.
LATE = {("result", "report"), ("comparison", "report")}


def part_of(parts: Sequence[str]) -> str:
    """Of a module's path below ``bytemlperf``: the entry of ORDER that it belongs to."""
    if "bytemlperf_child" in parts:
        return "bytemlperf_child"
    return parts[0] if parts else ""


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of this package that a file imports, type checking aside."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bytemlperf"):
            if node.module == "bytemlperf":
                yield from (f"bytemlperf.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("bytemlperf"))
        yield from imports(node)


def files() -> list[Path]:
    found = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] in known()]
    assert len(found) > 50
    return sorted(found)


def known() -> set[str]:
    names = {f"{name}.py" for name in ORDER} | set(ORDER)
    return (names - {"", ".py"}) | {"__init__.py"}


@pytest.mark.parametrize("file", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_only_from_above(file: Path) -> None:
    relative = file.relative_to(PACKAGE).with_suffix("").parts
    own = "" if relative == ("__init__",) else part_of(relative)
    for module in imports(ast.parse(file.read_text(encoding="utf-8"))):
        part = part_of(module.split(".")[1:])
        if part not in ORDER:  # a name of the library: from bytemlperf import __version__
            part = ""
        if part == own or (own, part) in LATE:
            continue
        assert ORDER.index(part) < ORDER.index(own), f"{own} imports {module}"


@pytest.mark.parametrize("root", ["backends", "model_zoo"])
def test_backends_and_models_use_the_public_rooms_only(root: str) -> None:
    allowed = {
        "backend",
        "completion",
        "datasets",
        "errors",
        "extras",
        "fixed_batch",
        "model_zoo",
        "segments",
        "simulate",
        "zoo",
    }
    folder = Path(str(resources.files(f"bytemlperf.{root}") / "__init__.py")).parent
    for file in folder.rglob("*.py"):
        for module in imports(ast.parse(file.read_text(encoding="utf-8"))):
            assert part_of(module.split(".")[1:]) in allowed, f"{file.name} imports {module}"


def test_importing_the_library_imports_no_framework() -> None:
    code = (
        "import sys, bytemlperf; "
        "print([m for m in ('torch', 'tensorflow', 'onnxruntime', 'onnx', 'scipy', 'pydantic', "
        "'rich', 'click', 'sklearn') if m in sys.modules])"
    )
    assert run(code) == "[]\n"


def test_importing_the_library_costs_little_beside_numpy() -> None:
    """At most 60 ms more than numpy's own import; the median of 7 interleaved pairs."""
    timed = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    extra = [
        float(run(timed.format("bytemlperf"))) - float(run(timed.format("numpy"))) for _ in range(7)
    ]
    assert statistics.median(extra) < 0.060


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout


@pytest.mark.parametrize(
    ("package", "files"),
    [
        ("bytemlperf", ["py.typed", "_core.pyi", "_numeric.pyi"]),
        ("bytemlperf.workloads", ["roberta-torch-fp32.json", "digits-onnx-fp32.json"]),
        ("bytemlperf.model_zoo", ["roberta-torch-fp32.json", "digits.safetensors", "digits.py"]),
        ("bytemlperf.backends", ["CPU/runtime.py", "SPU/device.json"]),
        ("bytemlperf.skeletons", ["shared/pyproject.toml", "native/acme.c", "native/compile.py"]),
        ("bytemlperf.datasets", ["sample/squad-v1.1.json"]),
    ],
)
def test_the_installed_package_is_whole(package: str, files: list[str]) -> None:
    for name in files:
        assert (resources.files(package) / name).is_file(), name


def test_the_c_header_is_installed_and_is_c(tmp_path: Path) -> None:
    source = tmp_path / "use.c"
    source.write_text(
        "#include <bytemlperf/backend.h>\n"
        "int main(void) { return BYTEMLPERF_ABI_VERSION == 1 ? 0 : 1; }\n"
    )
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", bytemlperf.get_include()]
    subprocess.run([*command, str(source), "-o", str(tmp_path / "use")], check=True)
    assert subprocess.run([str(tmp_path / "use")], check=False).returncode == 0


def test_every_name_of_the_library_is_there_when_it_is_asked_for() -> None:
    assert len(bytemlperf.__all__) > 30
    for name in bytemlperf.__all__:
        assert getattr(bytemlperf, name).__name__ == name
    with pytest.raises(AttributeError):
        bytemlperf.nothing  # noqa: B018
