"""Shared libraries in processes of their own: what they answer, and what happens when they die."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytemlperf as bmp

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "csrc" / "examples"
X = np.arange(10, dtype=np.float32).reshape(10, 1)
Compile = Callable[..., Path]


@pytest.fixture(scope="module")
def libraries(compiled: Compile, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp
    planted = HERE / "planted_native.c"
    return {
        "synchronous": compiled(planted, folder("synchronous")),
        "asynchronous": compiled(planted, folder("asynchronous"), "-DASYNCHRONOUS"),
        "doubler": compiled(EXAMPLES / "doubler.c", folder("doubler")),
        "pipeline": compiled(EXAMPLES / "pipeline.cpp", folder("pipeline")),
    }


def run(
    library: Path, deed: str = "", samples: Any = None, clients: int = 1, **arguments: Any
) -> bmp.Result:
    names = ("batch_size", "batching", "instances")
    options = {k: arguments.pop(k) for k in names if k in arguments}
    isolated = {k: arguments.pop(k) for k in ("hang_after", "log_dir") if k in arguments}
    backend = bmp.Isolated(bmp.NativeBackend(library, {"deed": deed}), **isolated)
    with bmp.LoadGenerator(backend, {"x": X} if samples is None else samples, **options) as gen:
        return gen.run(
            bmp.ClosedLoop(clients), queries=arguments.pop("queries", 20), keep_outputs=True,
            **arguments,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["synchronous", "asynchronous", "doubler", "pipeline"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_library_answers_as_it_does_at_home(
    libraries: dict[str, Path], name: str, batch_size: int, check_outputs: Callable[..., None]
) -> None:
    result = run(libraries[name], batch_size=batch_size, clients=4, instances=2, queries=60)
    assert (result.completed, result.errors) == (60, 0), result.error_types
    check_outputs(result, batch_size)
    assert result.environment["isolation"]["hop_p50_us"] > 0


def test_queries_are_merged_and_it_is_loaded_for_the_largest_batch(
    libraries: dict[str, Path], check_outputs: Callable[..., None]
) -> None:
    batching = bmp.Dynamic(max_samples=6, max_delay=0.002)
    result = run(libraries["pipeline"], queries=100, clients=8, batching=batching)
    assert result.completed == 100
    assert result.batches < 100
    check_outputs(result)
    result = run(libraries["synchronous"], "batch size", queries=3, batching=batching)
    assert [outputs["y"].item() for outputs in result.outputs or []] == [6.0] * 3


def test_ready_queries(libraries: dict[str, Path]) -> None:
    ready = [{"x": X[:2]}, {"x": X[4:5]}]
    result = run(libraries["synchronous"], samples=ready, queries=4, batch_size=2)
    assert result.errors == 0, result.error_types
    for outputs, query in zip(result.outputs or [], ready * 2, strict=True):
        np.testing.assert_array_equal(outputs["y"], 2 * query["x"])


def test_bfloat16_is_widened_here_and_there(
    libraries: dict[str, Path], check_outputs: Callable[..., None]
) -> None:
    """numpy does not have it; nothing is lost."""
    backend = bmp.NativeBackend(libraries["synchronous"], {"deed": "bfloat16"})
    for kind in (backend, bmp.Isolated(backend)):
        with bmp.LoadGenerator(kind, {"x": X}, batch_size=2) as generator:
            result = generator.run(bmp.ClosedLoop(), queries=10, keep_outputs=True)
        assert result.outputs is not None
        assert result.outputs[0]["y"].dtype == np.float32
        check_outputs(result, 2)


DEATHS = {
    "segfault": ("BackendCrashed", "SIGSEGV"),
    "abort": ("BackendCrashed", "SIGABRT; it wrote:\n  the device is on fire"),
    "exit": ("BackendCrashed", "exited with code 7"),
    "write": ("BackendCrashed", "SIGSEGV"),
}
FAULTS = {
    "fail": ("NativeError", "the fan stopped"),
    "rows": ("BadOutputs", "output 'y': expected an array with 1 rows"),
    "dtype": ("BadOutputs", "output 'y' has an unknown dtype"),
    "no data": ("BadOutputs", "output 'y' has no data"),
}


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous"])
@pytest.mark.parametrize("deed", [*DEATHS, *FAULTS])
def test_a_planted_fault_fails_its_query_only(
    libraries: dict[str, Path], kind: str, deed: str, check_two_faults: Callable[..., None]
) -> None:
    result = run(libraries[kind], deed)
    check_two_faults(result, *(DEATHS | FAULTS)[deed], dies=deed in DEATHS)


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous"])
def test_a_hang_is_ended_and_named(
    libraries: dict[str, Path], kind: str, check_outputs: Callable[..., None]
) -> None:
    result = run(libraries[kind], "hang", queries=10, hang_after=0.3)
    assert (result.completed, result.errors) == (9, 1)
    first = result.error_types["BackendHung"].first
    assert "no answer within 0.3 s" in first
    if kind == "synchronous":
        assert re.search(r'native\.py", line \d+ in call', first)  # it hangs in the library
    check_outputs(result)


def test_a_refused_submit_is_an_error(libraries: dict[str, Path]) -> None:
    result = run(libraries["asynchronous"], "refuse")
    assert (result.completed, result.errors) == (18, 2)
    assert result.error_types["NativeError"].first == "submit refused"


def test_an_answer_from_inside_submit_and_a_second_one(
    libraries: dict[str, Path], tmp_path: Path, check_outputs: Callable[..., None]
) -> None:
    result = run(libraries["asynchronous"], "inside")
    assert (result.completed, result.verdicts[0].ok) == (20, True), result.verdicts
    result = run(libraries["asynchronous"], "twice", queries=50, log_dir=tmp_path)
    assert (result.completed, result.errors, result.late) == (50, 0, 0)
    assert not result.verdicts[0].ok
    assert "were completed twice" in result.verdicts[0].detail
    check_outputs(result)
    said = (tmp_path / "instance-0.log").read_text()
    assert "done() was called twice for one batch (handle 1)" in said


def test_it_is_destroyed_at_the_end(libraries: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("synchronous", "asynchronous"):
        run(libraries[kind], "tell", log_dir=tmp_path / kind)
        assert (tmp_path / kind / "instance-0.log").read_text() == "destroyed\n"


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("fail to create", "NativeError: planted 1.0: create failed: create refused"),
        ("null instance", "NativeError: planted 1.0: create failed: create refused"),
        ("fail to load", "NativeError: planted 1.0: load failed: create refused"),
        ("die in load", "BackendCrashed: while it was loaded: SIGABRT"),
    ],
)
def test_a_library_that_cannot_be_loaded(
    libraries: dict[str, Path], deed: str, message: str
) -> None:
    with pytest.raises(bmp.BackendError, match=message):
        run(libraries["synchronous"], deed)


@pytest.mark.parametrize(
    ("define", "message"),
    [
        ("-DVERSION=99", r"planted_native\.so: was built for version 99 of the interface, this is"),
        (
            "-DDIES_WHEN_LOADED",
            r"planted_native\.so: SIGABRT while it was loaded\n  no such device",
        ),
    ],
)
def test_a_library_that_cannot_be_used_says_why(
    compiled: Compile, tmp_path: Path, define: str, message: str
) -> None:
    library = compiled(HERE / "planted_native.c", tmp_path, define)
    with pytest.raises(bmp.BackendError, match=message):
        run(library)


def test_what_a_library_cannot_be_given_is_refused(
    compiled: Compile, libraries: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(bmp.BackendError, match=r"none\.so: cannot be loaded"):
        run(tmp_path / "none.so")
    source = tmp_path / "empty.c"
    source.write_text("int nothing(void) { return 0; }\n")
    with pytest.raises(bmp.BackendError, match=r"exports no function bytemlperf_backend\(\)"):
        run(compiled(source, tmp_path))
    for samples in ({"x": X.astype(complex)}, [{"x": X.astype(complex)}]):
        with pytest.raises(bmp.UsageError, match="complex128: not one of the C API"):
            run(libraries["doubler"], samples=samples)


CRASH = """    static int calls;
    if (++calls == 90 && batch->samples == 4) *(volatile int*)(intptr_t)(calls - 90) = 1;
    outputs->count = 1;
"""


def test_a_task_survives_a_library_that_dies(compiled: Compile, tmp_path: Path) -> None:
    """The honesty checks ask up to 78 times: it dies under load."""
    pytest.importorskip("onnx")
    python = (sys.executable, "-m", "bytemlperf")
    made = (*python, "new-backend", "FRAIL", "--native")
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    folder = tmp_path / "FRAIL"
    source = folder / "frail.c"
    source.write_text(source.read_text().replace("    outputs->count = 1;\n", CRASH))
    compiled(source, folder).rename(folder / "libfrail.so")
    done = subprocess.run(
        [
            *(*python, "--task", "digits-onnx-fp32", "--hardware_type", "FRAIL"),
            *("--backend_dir", ".", "--quick", "--isolate", "--batch_sizes", "4"),
            *("--clients", "1", "--iterations", "150"),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    file = tmp_path / "reports" / "FRAIL" / "digits-onnx-fp32" / "result-fp32.json"
    details = json.loads(file.read_text())["Details"]
    assert details["status"] == "complete", done.stdout + done.stderr
    (row,) = details["performance"]
    assert row["isolation"]["restarts"] >= 1
    assert row["isolation"]["deaths"][0].startswith("BackendCrashed: SIGSEGV")
    assert row["completed"] + row["errors"] == 150
    assert row["completed"] >= 140
