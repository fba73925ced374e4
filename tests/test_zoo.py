from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.zoo import opening
from bytemlperf.zoo.cache import MANIFEST, Entry, content_key
from bytemlperf.zoo.verify import load_artifact


def digits(name: str, **more: Any) -> zoo.Model:
    return zoo.open_model(name, **more)


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("digits-onnx-fp32", "onnx"),
        ("digits-torch-fp32", "torch"),
        ("digits-tf-fp32", "tensorflow"),
    ],
)
def test_the_embedded_model_is_right_on_held_out_data(name: str, framework: str) -> None:
    pytest.importorskip(framework)
    pytest.importorskip("sklearn")
    from bytemlperf.datasets.digits import split

    model = digits(name)
    images, labels = split()[1]
    exported = load_artifact(model.card, model.path)({"image": images})["logits"]
    source = model.load_source()({"image": images})["logits"]
    assert (exported.argmax(1) == labels).mean() >= 0.97
    np.testing.assert_allclose(exported, source, atol=model.card.tolerance)
    assert model.parameters == model.card.parameters == 38282
    assert model.weights.kind == "embedded"
    assert sum(model.operators.values()) >= 8


def test_a_second_opening_comes_from_the_cache(empty_cache: Path) -> None:
    pytest.importorskip("onnx")
    first = digits("digits-onnx-fp32")
    said: list[str] = []
    second = digits("digits-onnx-fp32", progress=lambda text, _: said.append(text))
    assert (first.cached, second.cached) == (False, True)
    assert said == []
    assert first.path == second.path
    assert first.weights == second.weights
    assert empty_cache in first.path.parents


def test_tiny_roberta_is_built_exported_verified_and_cached() -> None:
    pytest.importorskip("transformers")
    model = zoo.open_model("roberta-torch-fp32", preset="tiny", seed=3)
    assert model.weights.source == "seed 3"
    assert model.export_difference <= model.card.tolerance
    assert model.flops_per_sample is not None
    assert model.operators["aten::scaled_dot_product_attention"] == 2
    feeds = zoo.synthetic_feeds(model.card, range(5), seed=0)
    outputs = load_artifact(model.card, model.path)(feeds)
    for name, expected in model.load_source()(feeds).items():
        np.testing.assert_allclose(outputs[name], expected, atol=1e-5)
        assert expected.std() > 0.05  # random, but not vacuous
    other = zoo.open_model("roberta-torch-fp32", preset="tiny", seed=4)
    assert other.weights.sha256 != model.weights.sha256
    assert other.path != model.path


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'roberta-torch-fp32'"):
        zoo.load_card("roberta-torch-fp23")


@pytest.mark.parametrize("name", zoo.list_cards())
def test_every_card_is_valid_and_named_like_its_file(name: str) -> None:
    assert zoo.load_card(name).name == name


def test_a_wrong_card_names_its_field(tmp_path: Path) -> None:
    card = zoo.load_card("digits-onnx-fp32").model_dump(mode="json")
    for change, message in (({"max_batch_size": 0}, "max_batch_size"), ({"color": 1}, "color")):
        file = tmp_path / "card.json"
        file.write_text(json.dumps(card | change))
        with pytest.raises(UsageError, match=rf"card\.json: {message}"):
            zoo.load_card(str(file))


def own_card(tmp_path: Path, **changes: Any) -> str:
    card = zoo.load_card("digits-onnx-fp32").model_dump(mode="json")
    file = tmp_path / "card.json"
    file.write_text(json.dumps(card | {"name": "mine"} | changes))
    return str(file)


def test_a_model_that_is_not_what_its_card_says_is_refused(
    tmp_path: Path, empty_cache: Path
) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(BytemlperfError, match="38,282 parameters, but the card says 38,283"):
        zoo.open_model(own_card(tmp_path, parameters=38283))
    with pytest.raises(BytemlperfError, match=r"differs from its source by .* \(tolerance 1e-20\)"):
        zoo.open_model(own_card(tmp_path, tolerance=1e-20))
    with pytest.raises(UsageError, match=r"no model_zoo/nothing\.py"):
        zoo.open_model(own_card(tmp_path, builder="nothing"))
    left = [p.name for p in (empty_cache / "models").iterdir() if not p.name.endswith(".lock")]
    assert left == []


@pytest.mark.parametrize("damage", ["manifest", "artifact", "truncated"])
def test_a_damaged_entry_is_built_again(empty_cache: Path, damage: str) -> None:
    pytest.importorskip("onnx")
    first = digits("digits-onnx-fp32")
    if damage == "manifest":
        (first.path.parent / MANIFEST).write_text("{")
    elif damage == "artifact":
        first.path.unlink()
    else:
        first.path.write_bytes(first.path.read_bytes()[:1000])
    again = digits("digits-onnx-fp32")
    assert not again.cached
    assert digits("digits-onnx-fp32").cached


def test_too_little_disk_is_said_before_writing(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(BytemlperfError, match="MB are needed"):
        digits("digits-onnx-fp32")


def test_an_export_that_fails_leaves_nothing(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")

    def fail(*_: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(opening, "verify_export", fail)
    with pytest.raises(KeyboardInterrupt):
        digits("digits-onnx-fp32")
    monkeypatch.undo()
    left = [p for p in (empty_cache / "models").iterdir() if p.is_dir()]
    assert left == []


def test_two_processes_build_one_entry(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    code = (
        "import sys; from pathlib import Path; from bytemlperf import zoo; "
        "print(zoo.open_model('digits-onnx-fp32', cache_dir=Path(sys.argv[1])).path.exists())"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd="/"
        )
        for _ in range(2)
    ]
    assert [p.communicate(timeout=60)[0] for p in both] == ["True\n", "True\n"]
    entries = [p for p in (tmp_path / "models").iterdir() if p.is_dir()]
    assert len(entries) == 1
    assert Entry(tmp_path, "x", "y").read() is None


def opening_in_a_process(cache: Path, before: str) -> subprocess.CompletedProcess[str]:
    """Open the ONNX digits in a process of its own, after the lines ``before``."""
    code = f"import sys\n{before}\nfrom bytemlperf.cli import main\n"
    code += "main(['models', 'build', 'digits-onnx-fp32'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "BYTEMLPERF_CACHE": str(cache)},
        timeout=120,
        check=False,
    )


def left_in(cache: Path) -> list[str]:
    return sorted(p.name for p in (cache / "models").iterdir() if p.is_dir())


def test_a_disk_that_is_full_while_writing_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: a write fails in the middle."""
    pytest.importorskip("onnx")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    done = opening_in_a_process(tmp_path, limit)
    assert done.returncode == 1
    assert "clear space or set BYTEMLPERF_CACHE" in done.stderr
    assert left_in(tmp_path) == []
    assert opening_in_a_process(tmp_path, "").returncode == 0


def test_a_killed_build_leaves_no_entry_and_the_next_one_clears_up(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    kill = (
        "import os, signal\nfrom bytemlperf.zoo import opening\n"
        "opening.verify_export = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert opening_in_a_process(tmp_path, kill).returncode == -signal.SIGKILL
    (unfinished,) = left_in(tmp_path)
    assert unfinished.startswith(".building-")
    assert opening_in_a_process(tmp_path, "").returncode == 0
    (entry,) = left_in(tmp_path)
    assert entry.startswith("digits-onnx-fp32-full-")


def test_a_key_depends_on_everything_and_on_no_order() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_two_instances_that_build_at_once_have_the_same_weights() -> None:
    pytest.importorskip("transformers")
    model = zoo.open_model("bert-torch-fp32", preset="tiny")
    feeds = zoo.synthetic_feeds(model.card, range(2), seed=0)
    with ThreadPoolExecutor(4) as pool:
        sources = list(pool.map(lambda _: model.load_source(), range(4)))
    first, *others = (source(feeds) for source in sources)
    for outputs in others:
        for name, array in outputs.items():
            np.testing.assert_array_equal(array, first[name])
