from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bytemlperf import zoo
from bytemlperf.backend import CompileConfig, CompileInfo, RuntimeBackend, Segment
from bytemlperf.numeric import compare
from bytemlperf.registry import find_backend
from bytemlperf.workload import Workload

MODELS = [
    ("digits-onnx-fp32", "onnxruntime"),
    ("digits-torch-fp32", "torch"),
    ("digits-tf-fp32", "tensorflow"),
]


def compiled(
    hardware: str, model: zoo.Model, folder: Path, **options: Any
) -> tuple[CompileInfo, Any]:
    workload = Workload.load(model.card.name)
    backend = find_backend(hardware)
    compiler = backend.compile_class()
    config = CompileConfig(model, workload, workload.batch_sizes, folder, options)
    defaults = {q.name: q.default for q in compiler(options).get_interact_profile(config)}
    config = replace(config, options=defaults | options)
    info = compiler(config.options).compile(config, None)

    def runtime() -> RuntimeBackend:
        return backend.runtime_class()(info, model, workload)

    return info, runtime


@pytest.mark.parametrize(("name", "framework"), MODELS)
def test_the_cpu_computes_what_the_source_does(name: str, framework: str, tmp_path: Path) -> None:
    pytest.importorskip(framework)
    model = zoo.open_model(name)
    info, runtime = compiled("CPU", model, tmp_path / "c")
    again, _ = compiled("CPU", model, tmp_path / "c")
    assert again.artifact == info.artifact
    assert info.coverage == 100.0
    assert info.notes["threads_per_instance"] >= 1
    source = model.load_source()
    first, second = runtime(), runtime()
    for batch in (1, 3, 8):
        feeds = zoo.synthetic_feeds(model.card, range(batch), seed=batch)
        for array in feeds.values():
            array.flags.writeable = False
        for instance in (first, second):
            instance.load(batch)
            assert instance.get_loaded_batch_size() == batch
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda i, f=feeds: i.predict(f), [first, second] * 4))
        expected = source(feeds)
        for outputs in found:
            assert set(outputs) == set(model.card.outputs)
            report = compare({0: expected}, {0: outputs})
            assert report.within(1e-3)
            assert all(o.flags.c_contiguous for o in outputs.values())
    first.unload()
    second.unload()


def test_a_compilation_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = zoo.open_model("digits-onnx-fp32")
    info, _ = compiled("CPU", model, tmp_path / "c")
    (tmp_path / "c" / "compiled.json").unlink()
    again, _ = compiled("CPU", model, tmp_path / "c")
    assert again.artifact.exists()
    assert info.artifact == again.artifact


def test_coverage_is_counted_in_operators() -> None:
    segments = (Segment(0, False, 30), Segment(1, True, 10))
    assert CompileInfo("fp32", segments, None).coverage == 75.0
    assert CompileInfo("fp32", (), None).coverage == 0.0
