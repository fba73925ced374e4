"""Models in parts: order, fallback, and the same answers as the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.backend import CompileConfig, Segment
from bytemlperf.errors import BackendError, BytemlperfError, UsageError
from bytemlperf.numeric import compare
from bytemlperf.registry import find_backend
from bytemlperf.segments import Segmented
from bytemlperf.simulate.host_segments import HostCost, host_cost
from bytemlperf.workload import Workload

A = Segment(0, False, 2, ("x",), ("y",))
B = Segment(1, True, 1, ("x", "y"), ("z",))


def test_segments_run_in_order_and_take_what_was_given_before() -> None:
    order = []

    def first(feeds: Any) -> Any:
        order.append(sorted(feeds))
        return {"y": feeds["x"] + 1}

    def second(feeds: Any) -> Any:
        order.append(sorted(feeds))
        return {"z": feeds["x"] * feeds["y"]}

    model = Segmented([A, B], [first, second], ["x"], ["z"])
    np.testing.assert_array_equal(model({"x": np.array([2.0])})["z"], [6.0])
    assert order == [["x"], ["x", "y"]]


@pytest.mark.parametrize(
    ("segments", "outputs", "message"),
    [
        ([Segment(0, True, 1, ("x", "y"), ("z",)), Segment(1, False, 2, ("x",), ("y",))], ["z"],
         "segment 0 takes y, which nothing before it gives"),
        ([B, A], ["z"], "numbered from 0"),
        ([A], ["z"], "no segment gives the output z"),
    ],
)  # fmt: skip
def test_segments_that_do_not_join_are_refused(
    segments: list[Segment], outputs: list[str], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        Segmented(segments, [dict] * len(segments), ["x"], outputs)


def test_a_segment_that_gives_too_little_is_named() -> None:
    model = Segmented([A], [lambda feeds: {}], ["x"], ["y"])
    with pytest.raises(BackendError, match="segment 0 gave no y"):
        model({"x": np.zeros(1)})


def compiled(host_operators: str, name: str = "digits-onnx-fp32") -> Any:
    model = zoo.open_model(name)
    workload = Workload.load(name)
    options = {"host_operators": host_operators}
    backend = find_backend("STC")
    config = CompileConfig(model, workload, (4,), Path("unused"), options)
    info = backend.compile_class()(options).compile(config, None)
    runtime = backend.runtime_class()(info, model, workload)
    return model, info, runtime


def test_what_the_device_lacks_runs_on_the_host_and_is_named() -> None:
    pytest.importorskip("onnxruntime")
    model, info, runtime = compiled("Relu")
    assert info.fallback_operators == {"Relu": model.operators["Relu"]}
    kinds = [segment.is_fallback for segment in info.segments]
    assert kinds == [i % 2 == 1 for i in range(len(kinds))]
    assert len(kinds) == 2 * model.operators["Relu"] + 1
    total = sum(model.operators.values())
    assert sum(segment.operators for segment in info.segments) == total
    assert info.coverage == pytest.approx(100 * (1 - model.operators["Relu"] / total))
    feeds = zoo.synthetic_feeds(model.card, range(4), seed=0)
    runtime.load(4)
    _, _, whole = compiled("")
    whole.load(4)
    # The host computes its part exactly, and Relu rounds nothing.
    report = compare({0: whole.predict(feeds)}, {0: runtime.predict(feeds)})
    assert report.within(1e-6)


def test_the_host_s_time_is_in_the_simulated_service_time() -> None:
    pytest.importorskip("onnxruntime")
    _, info, runtime = compiled("Relu")
    _, _, whole = compiled("")
    host_s = info.notes["host_segments_s"]["4"]
    assert host_s > 0
    added = runtime.simulated_service(4) - whole.simulated_service(4)
    assert added == pytest.approx(host_s, abs=1e-9)
    assert "measured on this host" in info.notes["host_segments"]
    with pytest.raises(BackendError, match=r"not timed at batch 5 \(compiled: 4\)"):
        runtime.simulated_service(5)


def test_tensors_that_cross_to_the_host_count_once() -> None:
    pytest.importorskip("onnxruntime")
    model = zoo.open_model("digits-onnx-fp32")
    crossing = [host_cost(model, {"Relu"}, batch).crossing_bytes for batch in (1, 4)]
    assert crossing[1] == 4 * crossing[0] > 0
    assert host_cost(model, set(), 4) == HostCost(0.0, 0)
    assert host_cost(model, set(model.operators), 4).crossing_bytes == 0
    assert HostCost(1e-3, 32_000_000).seconds(32) == pytest.approx(2e-3)


def test_products_on_the_host_are_exact() -> None:
    pytest.importorskip("onnxruntime")
    model = zoo.open_model("digits-onnx-fp32")
    products = [kind for kind in model.operators if kind in {"Conv", "Gemm", "MatMul"}]
    _, info, runtime = compiled(",".join(products))
    feeds = zoo.synthetic_feeds(model.card, range(4), seed=0)
    runtime.load(4)
    report = compare({0: model.load_source()(feeds)}, {0: runtime.predict(feeds)})
    assert report.within(1e-4)
    assert info.segments[0].is_fallback


def test_operators_that_the_model_does_not_have_are_refused() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UsageError, match="has no Rel; did you mean 'Relu'"):
        compiled("Rel")


def test_other_formats_are_not_split() -> None:
    pytest.importorskip("torch")
    with pytest.raises(BytemlperfError, match="only ONNX models are split"):
        compiled("aten::relu", "digits-torch-fp32")
