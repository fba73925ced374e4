"""Checkpoints and finished models of the user's: loaded whole or refused, never unpickled."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.zoo.checkpoint import seed_or_load
from bytemlperf.zoo.verify import load_artifact

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


def tiny(name: str, seed: int = 1) -> Any:
    """A network of the card at its tiny size, with weights of its own."""
    card = zoo.load_card(name)
    builder = importlib.import_module(f"bytemlperf.model_zoo.{card.builder}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return builder.network(card, dict(card.config) | dict(card.tiny)).eval()


def opened(name: str, weights: Path) -> zoo.Model:
    return zoo.open_model(name, preset="tiny", weights=weights)


def test_a_state_with_torchvisions_names_is_what_runs(tmp_path: Path) -> None:
    net = tiny("resnet50-torch-fp32")
    file = tmp_path / "model.safetensors"
    safetensors.save_file(net.state_dict(), file)
    model = opened("resnet50-torch-fp32", file)
    assert model.weights.kind == "checkpoint"
    assert model.weights.source == str(file)
    assert model.source_name == "the eager source model on the CPU"
    feeds = zoo.synthetic_feeds(model.card, range(2), seed=0)
    expected = net(torch.from_numpy(feeds["input_1.1"])).detach().numpy()
    found = load_artifact(model.card, model.path)(feeds)["softmax_tensor"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("form", ["pt", "bin", "nested", "folder", "shards", "old"])
def test_every_form_of_a_state_gives_the_same_weights(tmp_path: Path, form: str) -> None:
    card = zoo.load_card("resnet50-torch-fp32")
    state = tiny(card.name).state_dict()
    given = tmp_path / "given"
    given.mkdir()
    if form in ("pt", "bin"):
        given = given / f"model.{form}"
        torch.save(state, given)
    elif form == "nested":
        given = given / "model.pth"
        torch.save({"state_dict": state, "epoch": 3}, given)
    elif form == "folder":
        torch.save(state, given / "pytorch_model.bin")
    elif form == "shards":
        names = sorted(state)
        for i in (0, 1):
            part = {name: state[name] for name in names[i::2]}
            safetensors.save_file(part, given / f"model-{i}.safetensors")
    else:  # before torch 0.4.1 batch normalisation did not count its batches
        kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        safetensors.save_file(kept, given / "model.safetensors")
    other, origin = seed_or_load(card, 0, given, lambda: tiny(card.name, seed=2))
    assert origin.source == str(given)
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_a_tied_weight_is_not_missed(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    card = zoo.load_card("gpt2-torch-fp32")
    net = tiny(card.name)
    state = {k: v for k, v in net.state_dict().items() if k != "lm_head.weight"}
    safetensors.save_file(state, tmp_path / "model.safetensors")
    other, _ = seed_or_load(card, 0, tmp_path, lambda: tiny(card.name, seed=2))
    assert torch.equal(other.lm_head.weight, net.transformer.wte.weight)


def test_a_state_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    state = dict(tiny("resnet50-torch-fp32").state_dict())
    file = tmp_path / "model.safetensors"
    head = state.pop("fc.weight")
    safetensors.save_file(state, file)
    with pytest.raises(
        BytemlperfError, match=r"model\.safetensors: the checkpoint lacks fc\.weight"
    ):
        opened("resnet50-torch-fp32", file)
    safetensors.save_file(state | {"fc.weight": head[:5].clone()}, file)
    with pytest.raises(BytemlperfError, match=r"fc\.weight has the shape \(5, .* the model's is"):
        opened("resnet50-torch-fp32", file)
    file.write_bytes(b"nothing like it")
    with pytest.raises(BytemlperfError, match=r"model\.safetensors: cannot be read"):
        opened("resnet50-torch-fp32", file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BytemlperfError, match=r"holds no \.safetensors"):
        opened("resnet50-torch-fp32", tmp_path / "empty")
    with pytest.raises(UsageError, match="no such file"):
        opened("resnet50-torch-fp32", tmp_path / "none")


class Attack:
    """Unpickled, it would make a folder."""

    def __init__(self, made: Path) -> None:
        self.made = str(made)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.made,)


@pytest.mark.parametrize("task", ["resnet50-torch-fp32", "roberta-torch-fp32"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(task: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    made = tmp_path / "made"
    folder = tmp_path / "checkpoint"
    if task == "roberta-torch-fp32":
        tiny(task).save_pretrained(folder)
        (folder / "model.safetensors").unlink()
    else:
        folder.mkdir()
    torch.save({"w": torch.zeros(1), "x": Attack(made)}, folder / "pytorch_model.bin")
    with pytest.raises(BytemlperfError, match=r"can run any code .*save_file"):
        opened(task, folder)
    assert not made.exists()


def test_a_transformers_folder_is_loaded_and_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = tmp_path / "mine"
    net = tiny("roberta-torch-fp32")
    net.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    model = opened("roberta-torch-fp32", folder)
    assert (model.weights.kind, model.weights.source) == ("checkpoint", str(folder))
    assert model.tokenizer == folder / "tokenizer.json"
    feeds = zoo.synthetic_feeds(model.card, range(2), seed=0)
    ids, mask, kinds = (torch.from_numpy(feeds[t.name]) for t in model.card.inputs)
    expected = net(ids, attention_mask=mask, token_type_ids=kinds).start_logits.detach().numpy()
    np.testing.assert_allclose(model.load_source()(feeds)["start_logits"], expected, atol=1e-5)


def test_a_folder_without_its_head_or_of_another_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    net = tiny("roberta-torch-fp32")
    net.roberta.save_pretrained(tmp_path / "backbone")
    with pytest.raises(BytemlperfError, match=r"lacks qa_outputs\.bias, qa_outputs\.weight"):
        opened("roberta-torch-fp32", tmp_path / "backbone")
    net.save_pretrained(tmp_path / "roberta")
    with pytest.raises(BytemlperfError, match="model_type 'roberta', not 'bert'"):
        opened("bert-torch-fp32", tmp_path / "roberta")
    for half in (tmp_path / "roberta").glob("*.safetensors"):
        half.write_bytes(half.read_bytes()[:2000])
    with pytest.raises(BytemlperfError, match=r"--weights .*roberta"):
        opened("roberta-torch-fp32", tmp_path / "roberta")


def test_a_pipelines_folder_gives_its_part(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    card = zoo.load_card("vae-encoder-onnx-fp32")
    config = dict(card.config) | dict(card.tiny)
    vae = diffusers.AutoencoderKL(**config).eval()
    vae.save_pretrained(tmp_path / "vae")
    (tmp_path / "model_index.json").write_text("{}")
    builder = importlib.import_module(f"bytemlperf.model_zoo.{card.builder}")
    built = builder.build(card, config, 0, tmp_path)
    assert built.weights.source == str(tmp_path / "vae")
    feeds = zoo.synthetic_feeds(card, range(1), seed=0)
    with torch.inference_mode():
        expected = vae.encode(torch.from_numpy(feeds["sample"])).latent_dist.mean.numpy()
    found = built.source(feeds)["latent_sample"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["digits-torch-fp32", "digits-onnx-fp32", "digits-tf-fp32"])
def test_a_finished_model_runs_as_it_is_and_is_its_own_reference(name: str, tmp_path: Path) -> None:
    pytest.importorskip({"tf": "tensorflow"}.get(name.split("-")[1], "onnx"))
    made = zoo.open_model(name)
    model = zoo.open_model(name, weights=made.path)
    assert model.weights.kind == "artifact"
    assert model.source_name.startswith("the given artifact itself")
    assert model.parameters == made.parameters
    assert model.path != made.path
    assert model.export_difference == 0.0
    feeds = zoo.synthetic_feeds(model.card, range(4), seed=0)
    expected = load_artifact(made.card, made.path)(feeds)["logits"]
    np.testing.assert_array_equal(model.load_source()(feeds)["logits"], expected)
    assert zoo.open_model(name, weights=made.path).cached


def test_a_finished_model_has_to_be_one_that_the_card_can_run(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    made = zoo.open_model("digits-onnx-fp32")
    with pytest.raises(UsageError, match="is an ONNX file, but this model runs as a TorchScript"):
        zoo.open_model("digits-torch-fp32", weights=made.path)
    graph = onnx.load(str(made.path))
    graph.graph.input[0].name = "picture"
    graph.graph.node[0].input[0] = "picture"
    renamed = tmp_path / "renamed.onnx"
    onnx.save(graph, str(renamed))
    with pytest.raises(
        BytemlperfError, match="takes picture and gives logits; the card names image"
    ):
        zoo.open_model("digits-onnx-fp32", weights=renamed)
    graph = onnx.load(str(made.path))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    fixed = tmp_path / "fixed.onnx"
    onnx.save(graph, str(fixed))
    with pytest.raises(BytemlperfError, match="fails at batch 3"):
        zoo.open_model("digits-onnx-fp32", weights=fixed)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(made.path.read_bytes()[:3000])
    with pytest.raises(BytemlperfError, match=r"broken\.onnx: cannot be loaded"):
        zoo.open_model("digits-onnx-fp32", weights=broken)


def test_tensors_beside_an_onnx_file_come_along(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(zoo.open_model("digits-onnx-fp32").path))
    file = tmp_path / "split.onnx"
    onnx.save_model(
        graph, str(file), save_as_external_data=True, location="split.data", size_threshold=0
    )
    model = zoo.open_model("digits-onnx-fp32", weights=file)
    assert (model.path.parent / "split.data").exists()
    data = file.with_name("split.data")
    changed = bytearray(data.read_bytes())
    changed[-8] ^= 1
    data.write_bytes(bytes(changed))
    other = zoo.open_model("digits-onnx-fp32", weights=file)
    assert other.path != model.path  # the tensors are part of what is addressed
    data.unlink()
    with pytest.raises(BytemlperfError, match=r"split\.data, which is not there"):
        zoo.open_model("digits-onnx-fp32", weights=file)
