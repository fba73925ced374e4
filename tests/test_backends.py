from __future__ import annotations

import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.backend import CompileConfig, CompileInfo, RuntimeBackend, Segment
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.numeric import compare
from bytemlperf.registry import find_backend, list_backends
from bytemlperf.simulate import DeviceCard, Roofline
from bytemlperf.simulate.rounding import bfloat16, int8_per_channel, prune
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
    config = CompileConfig(model, workload, workload.batch_sizes, folder, options)
    info = backend.compile_class()(options).compile(config, None)

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


def test_shipped_backends_are_found_by_any_case() -> None:
    names = [backend.name for backend in list_backends()]
    assert {"CPU", "SPU"} <= set(names)
    assert names == sorted(names)
    assert find_backend("cpu").name == "CPU"


@pytest.mark.parametrize(
    ("name", "message"), [("SPUU", "did you mean 'SPU'"), ("GOYA", "HPU"), ("X", "known: CPU")]
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


def test_coverage_is_counted_in_operators() -> None:
    segments = (Segment(0, False, 30), Segment(1, True, 10))
    assert CompileInfo("fp32", segments, None).coverage == 75.0
    assert CompileInfo("fp32", (), None).coverage == 0.0


SPU = DeviceCard.of_package("bytemlperf.backends.SPU")


def test_a_published_result_is_met() -> None:
    pytest.importorskip("transformers")
    model = zoo.open_model("roberta-torch-fp32", preset="tiny")
    point = next(p for p in SPU.published if p.card == model.card.name)
    roofline = Roofline.fit(SPU, model)
    seconds = roofline.seconds(point.batch_size)
    assert seconds == pytest.approx(1e-3 * point.average_ms, rel=1e-9)
    assert point.batch_size / seconds == pytest.approx(point.samples_per_second, rel=0.02)
    times = [roofline.seconds(b) for b in (1, 2, 4, 8, 64)]
    assert times == sorted(times)
    assert 0 < roofline.efficiency < 1
    assert "published" in roofline.basis


def test_without_a_published_result_the_others_stand_in() -> None:
    pytest.importorskip("onnx")
    roofline = Roofline.fit(SPU, zoo.open_model("digits-onnx-fp32"))
    assert "no published result" in roofline.basis
    assert roofline.efficiency > 0


@pytest.mark.parametrize("name", ["digits-onnx-fp32", "digits-torch-fp32"])
def test_reduced_precision_costs_something_and_not_much(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch" if "torch" in name else "onnxruntime")
    pytest.importorskip("sklearn")
    from bytemlperf.datasets.digits import split

    model = zoo.open_model(name)
    images, labels = split()[1]
    found: dict[int, np.ndarray] = {}
    for sparsity in (1, 32):
        _, runtime = compiled("SPU", model, tmp_path, sparsity=sparsity)
        instance = runtime()
        instance.load(1)
        found[sparsity] = instance.predict({"image": images})["logits"]
    exact = model.load_source()({"image": images})
    dense = compare({0: exact}, {0: {"logits": found[1]}}).overall
    pruned = compare({0: exact}, {0: {"logits": found[32]}}).overall
    assert 1e-4 < dense.max_diff < model.card.tolerance_at("INT8/BF16")
    assert dense.cosine > 0.999
    assert (found[1].argmax(1) == labels).mean() >= 0.96
    assert pruned.cosine < dense.cosine - 0.01


def test_formats_without_emulation_are_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    _, runtime = compiled("SPU", zoo.open_model("digits-tf-fp32"), tmp_path)
    with pytest.raises(BytemlperfError, match="saved_model is not supported"):
        runtime().load(1)
    with pytest.raises(UsageError, match="sparsity=33"):
        compiled("SPU", zoo.open_model("digits-tf-fp32"), tmp_path, sparsity=33)


def test_rounding_stays_on_its_grid() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 40)).astype(np.float32)
    rounded = int8_per_channel(weight)
    scale = np.abs(weight).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(rounded / scale, np.rint(rounded / scale), atol=1e-4)
    assert np.abs(rounded - weight).max() <= scale.max() / 2 * 1.001
    np.testing.assert_array_equal(int8_per_channel(np.zeros((2, 3), np.float32)), 0)


def test_bfloat16_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(10_000) * 10.0**k for k in (-30, -3, 0, 3, 30)])
    values = np.concatenate([values, [np.inf, -np.inf, 0.0, -0.0]]).astype(np.float32)
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(bfloat16(values), expected)
    assert np.isnan(bfloat16(np.array([np.nan], np.float32)))[0]


def test_pruning_keeps_the_largest_of_each_group() -> None:
    weight = np.arange(1, 17, dtype=np.float32).reshape(2, 8) * np.array([1, -1] * 4)
    pruned = prune(weight, 4)
    assert (pruned != 0).sum() == 4
    assert set(np.abs(pruned[pruned != 0])) == {4, 8, 12, 16}
    np.testing.assert_array_equal(prune(weight, 1), weight)


def test_a_wrong_device_card_names_its_field(tmp_path: Path, monkeypatch: Any) -> None:
    card = json.loads((find_backend("SPU").path / "device.json").read_text())
    package = tmp_path / "wrong_device_card"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "device.json").write_text(json.dumps(card | {"peak_tops": -1}))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BytemlperfError, match=r"device\.json: peak_tops"):
        DeviceCard.of_package("wrong_device_card")
    assert statistics.median([p.batch_size for p in SPU.published]) == 64
