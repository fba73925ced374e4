"""Native backends: the shipped examples, compiled and driven, and libraries that lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytemlperf as bmp

EXAMPLES = Path(__file__).parent.parent / "csrc" / "examples"
Compile = Callable[..., Path]


@pytest.fixture(scope="module")
def doubler(compiled: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(EXAMPLES / "doubler.c", tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def pipeline(compiled: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(EXAMPLES / "pipeline.cpp", tmp_path_factory.mktemp("native"))


X = np.arange(30, dtype=np.float32).reshape(10, 3)


def check_rows(result: bmp.Result, batch_size: int) -> None:
    assert result.outputs is not None
    for query, outputs in enumerate(result.outputs):
        rows = (query * batch_size + np.arange(batch_size)) % len(X)
        np.testing.assert_array_equal(outputs["y"], 2 * X[rows])


@pytest.mark.parametrize("batch_size", [1, 4, 5])
def test_the_example_in_c_computes(doubler: Path, batch_size: int) -> None:
    backend = bmp.NativeBackend(doubler)
    with bmp.LoadGenerator(backend, {"x": X}, batch_size=batch_size, instances=2) as gen:
        result = gen.run(bmp.ClosedLoop(2), queries=40, keep_outputs=True)
        assert result.completed == 40, result.error_types
        check_rows(result, batch_size)
        assert result.gil_wait.max == 0
        assert gen.run(bmp.Poisson(2000.0), queries=100).completed == 100


@pytest.mark.parametrize("batching", [None, bmp.Dynamic(6, 0.001)])
def test_the_asynchronous_example_computes(pipeline: Path, batching: Any) -> None:
    backend = bmp.NativeBackend(pipeline)
    with bmp.LoadGenerator(backend, {"x": X}, batch_size=2, batching=batching) as gen:
        result = gen.run(bmp.ClosedLoop(6), queries=300, keep_outputs=True)
    assert result.completed == 300, result.error_types
    check_rows(result, 2)
    if batching:
        assert result.batches < 300


@pytest.mark.parametrize("batching", [None, bmp.Dynamic(5, 0.001)])
@pytest.mark.parametrize("example", ["doubler", "pipeline"])
def test_queries_of_a_mix_get_their_own_rows(
    example: str, batching: Any, request: pytest.FixtureRequest
) -> None:
    mix = bmp.mix_queries({"x": X}, {1: 0.5, 2: 0.3, 5: 0.2}, count=10)
    backend = bmp.NativeBackend(request.getfixturevalue(example))
    with bmp.LoadGenerator(backend, mix, batching=batching, instances=2) as gen:
        result = gen.run(bmp.ClosedLoop(6), queries=200, keep_outputs=True)
    assert result.errors == 0, result.error_types
    assert isinstance(result.outputs, list)
    for query, outputs in enumerate(result.outputs):
        np.testing.assert_array_equal(outputs["y"], 2 * mix[query % 10]["x"])
    assert (result.batches < 200) == (batching is not None)


def test_shared_inputs_and_other_dtypes_arrive_as_they_are(doubler: Path) -> None:
    samples = {"x": X.astype(np.int64)}
    with bmp.LoadGenerator(bmp.NativeBackend(doubler), samples) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=5)
    assert result.error_types["NativeError"].first == "expected one float32 input"
    both = {"x": X, "w": bmp.Shared(np.zeros(2))}
    with bmp.LoadGenerator(bmp.NativeBackend(doubler), both) as gen:
        assert gen.run(bmp.ClosedLoop(), queries=5).errors == 5


def test_what_a_native_backend_cannot_take_is_refused(doubler: Path, tmp_path: Path) -> None:
    for samples in ([{"x": X}], {"x": X.astype(complex)}):
        with pytest.raises(bmp.UsageError, match=r"samples|native"):
            bmp.LoadGenerator(bmp.NativeBackend(doubler), samples).run(bmp.ClosedLoop(), queries=1)
    with pytest.raises(bmp.BackendError, match="create failed: the configuration asks to refuse"):
        bmp.LoadGenerator(bmp.NativeBackend(doubler, {"refuse": True})).run(
            bmp.ClosedLoop(), queries=1
        )
    with pytest.raises(bmp.BackendError, match=r"none\.so: cannot be loaded"):
        bmp.LoadGenerator(bmp.NativeBackend(tmp_path / "none.so")).run(bmp.ClosedLoop(), queries=1)


LIAR = """
#include <bytemlperf/backend.h>
struct bytemlperf_instance { int x; };
static bytemlperf_instance the_one;
static int64_t shape[2] = {ROWS, 1};
static float data[64];
static bytemlperf_tensor tensor = {sizeof(bytemlperf_tensor), "y", DTYPE, 1, shape, DATA};
static int create(const char* c, const bytemlperf_host* h, bytemlperf_instance** i) {
    (void)c; (void)h; (void)data; *i = &the_one; return 0;
}
static int load(bytemlperf_instance* i, uint32_t b) { (void)i; (void)b; return LOAD; }
static int predict(bytemlperf_instance* i, const bytemlperf_batch* b, bytemlperf_outputs* o) {
    (void)i; (void)b; o->count = 1; o->tensors = &tensor; return 0;
}
static void destroy(bytemlperf_instance* i) { (void)i; }
static const char* last_error(bytemlperf_instance* i) { (void)i; return "the fan stopped"; }
const bytemlperf_backend_api* bytemlperf_backend(void) {
    static bytemlperf_backend_api api = {sizeof(api), BYTEMLPERF_ABI_VERSION, CAPABILITIES, "liar",
        create, load, PREDICT, destroy, last_error, 0, 0};
    (void)predict;
    api.size = SIZE; api.abi_version = VERSION;
    return &api;
}
"""
HONEST = {
    "ROWS": "2", "DTYPE": "BYTEMLPERF_FLOAT32", "DATA": "data", "LOAD": "0", "SIZE": "sizeof(api)",
    "VERSION": "BYTEMLPERF_ABI_VERSION", "CAPABILITIES": "0", "PREDICT": "predict",
}  # fmt: skip


@pytest.fixture
def liar(compiled: Compile, tmp_path: Path) -> Callable[..., bmp.NativeBackend]:
    def tell(**lies: str) -> bmp.NativeBackend:
        source = tmp_path / "liar.c"
        source.write_text(LIAR)
        defined = [f"-D{name}={value}" for name, value in (HONEST | lies).items()]
        return bmp.NativeBackend(compiled(source, tmp_path, *defined))

    return tell


def test_an_honest_library_passes(liar: Any) -> None:
    with bmp.LoadGenerator(liar(), {"x": X}, batch_size=2) as gen:
        assert gen.run(bmp.ClosedLoop(), queries=3).completed == 3


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        ({"VERSION": "99"}, "built for version 99 of the interface, this is 1"),
        ({"SIZE": "24"}, "its table says it has 24 bytes"),
        ({"PREDICT": "0"}, "predict is NULL"),
        ({"CAPABILITIES": "1"}, "asynchronous and has no submit"),
        ({"LOAD": "7"}, "load failed: the fan stopped"),
    ],
)
def test_a_library_that_cannot_be_used_says_why(
    lies: dict[str, str], message: str, liar: Any
) -> None:
    gen = bmp.LoadGenerator(liar(**lies), {"x": X}, batch_size=2)
    with pytest.raises(bmp.BackendError, match=message):
        gen.run(bmp.ClosedLoop(), queries=1)


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        ({"ROWS": "3"}, "output 'y' has 3 rows for a batch of 2 samples"),
        ({"DTYPE": "77"}, "unknown dtype"),
        ({"DATA": "0"}, "has no data"),
    ],
)
def test_outputs_that_cannot_be_right_are_errors(
    lies: dict[str, str], message: str, liar: Any
) -> None:
    with bmp.LoadGenerator(liar(**lies), {"x": X}, batch_size=2) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=4)
    assert result.errors == 4
    assert message in result.error_types["BadOutputs"].first


def test_a_library_without_the_entry_point_is_named(compiled: Compile, tmp_path: Path) -> None:
    source = tmp_path / "empty.c"
    source.write_text("int nothing(void) { return 0; }\n")
    gen = bmp.LoadGenerator(bmp.NativeBackend(compiled(source, tmp_path)))
    with pytest.raises(
        bmp.BackendError, match=r"empty\.so: exports no function bytemlperf_backend"
    ):
        gen.run(bmp.ClosedLoop(), queries=1)
