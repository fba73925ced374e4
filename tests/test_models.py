"""Every row of the zoo: the architecture that its name promises, and the way to a checked export."""

from __future__ import annotations

import importlib
import json
from importlib import resources
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.datasets import open_dataset
from bytemlperf.simulate.device_card import DeviceCard
from bytemlperf.workload import Workload, list_workloads
from bytemlperf.zoo.torch_build import count_parameters

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("diffusers")

# Parameter counts as the models were published; the counts of Wide & Deep and of the Conformer are
# of this project's sizes, for the tasks name none.
PUBLISHED = {
    "albert-torch-fp32": 11_094_530,
    "bert-tf-fp32": 108_893_186,
    "bert-torch-fp32": 108_893_186,
    "clip-onnx-fp32": 123_060_480,
    "conformer-encoder-onnx-fp32": 82_453_504,
    "deberta-torch-fp32": 138_603_266,
    "gpt2-torch-fp32": 124_439_808,
    "resnet50-tf-fp32": 25_557_032,
    "resnet50-torch-fp32": 25_557_032,
    "roberta-torch-fp32": 124_056_578,
    "roformer-tf-fp32": 123_458_305,
    "swin-large-torch-fp32": 196_735_516,
    "unet-onnx-fp32": 859_520_964,
    "vae-decoder-onnx-fp32": 49_490_199,
    "vae-encoder-onnx-fp32": 34_163_664,
    "videobert-onnx-fp32": 151_277_313,
    "widedeep-tf-fp32": 2_380_702,
    "yolov5-onnx-fp32": 7_235_389,
}


def builder(card: zoo.Card) -> Any:
    return importlib.import_module(f"bytemlperf.model_zoo.{card.builder}")


@pytest.mark.parametrize("name", [n for n in zoo.list_cards() if not n.startswith("digits-")])
def test_a_network_at_full_size_has_the_parameters_that_its_card_says(name: str) -> None:
    """Counted without memory for them: on torch's meta device."""
    card = zoo.load_card(name)
    with torch.device("meta"):
        count = count_parameters(builder(card).network(card, card.config))
    assert count == card.parameters == PUBLISHED.get(name, count)


def test_every_published_row_has_a_card_and_a_task() -> None:
    assert set(PUBLISHED) <= set(zoo.list_cards())
    assert set(PUBLISHED) <= set(list_workloads())


@pytest.mark.parametrize("name", zoo.list_cards())
def test_a_device_is_judged_by_the_tolerance_of_its_precision(name: str) -> None:
    card = zoo.load_card(name)
    if card.format == "eager":  # nothing computes it at another precision
        return
    devices = (
        DeviceCard.of_package(f"bytemlperf.backends.{n}") for n in ("HPU", "IPU", "SPU", "STC")
    )
    for precision in {p for device in devices for p in device.peak_tops}:
        if precision == "fp8" and card.framework not in ("torch", "mhlo"):
            continue  # emulated for torch's networks only
        assert card.tolerances[precision] >= card.tolerance
    if "bf16" in card.tolerances:
        assert card.tolerances["bf16"] >= card.tolerances["fp16"]


@pytest.mark.parametrize("name", list_workloads())
def test_a_task_asks_for_what_its_model_takes(name: str) -> None:
    workload = Workload.load(name)
    card = zoo.load_card(workload.model)
    assert max(workload.batch_sizes) <= card.max_batch_size
    if card.dataset is None:
        assert not workload.test_accuracy or name == "gpt2-torch-fp32"


def test_the_stride_of_v1_5_is_in_the_3x3_convolution() -> None:
    card = zoo.load_card("resnet50-torch-fp32")
    with torch.device("meta"):
        net = builder(card).network(card, card.config)
    assert net.layer2[0].conv1.stride == (1, 1)
    assert net.layer2[0].conv2.stride == (2, 2)
    assert {"layer4.2.bn3.running_var", "layer1.0.downsample.1.bias", "fc.bias"} <= set(
        net.state_dict()
    )


@pytest.mark.parametrize("name", ["resnet50-torch-fp32", "yolov5-onnx-fp32"])
def test_a_seed_gives_one_model_however_many_threads(name: str) -> None:
    card = zoo.load_card(name)
    config = dict(card.config) | dict(card.tiny)
    threads = torch.get_num_threads()
    found = set()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.add(builder(card).build(card, config, 0, None).weights.sha256)
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1


@pytest.mark.parametrize("name", ["resnet50-torch-fp32", "resnet50-tf-fp32"])
def test_outputs_of_a_random_network_do_not_explode_for_pictures(name: str) -> None:
    """Then its softmax would be one class, and what a precision costs would look like an error."""
    pytest.importorskip("tensorflow" if "-tf-" in name else "torch")
    model = zoo.open_model(name, preset="tiny")
    pictures = open_dataset(model, data_dir=None, sample_data=True, seed=0, report=lambda _: None)
    source = model.load_source()
    of_pictures = source(pictures.feeds([0, 3, 5, 7]))["softmax_tensor"]
    of_pixels = source(zoo.synthetic_feeds(model.card, range(4), seed=1))["softmax_tensor"]
    assert 0.5 < np.abs(of_pictures).max() / np.abs(of_pixels).max() < 2.0


def test_the_tensorflow_resnet_sees_what_the_torch_one_sees() -> None:
    """One picture, prepared as each task prepares it, has the same probabilities in both."""
    pytest.importorskip("tensorflow")
    from bytemlperf.zoo.tf_build import torch_state

    picture = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3))
    cards = [zoo.load_card(f"resnet50-{kind}-fp32") for kind in ("torch", "tf")]
    feeds = []
    for card in cards:
        p = card.preprocessing
        x = (picture / p["scale"] - p["mean"]) / p["std"]
        x = x.transpose(0, 3, 1, 2) if p["layout"] == "NCHW" else x
        feeds.append({card.inputs[0].name: np.ascontiguousarray(x, np.float32)})
    module = builder(cards[0])
    config = dict(cards[0].config) | dict(cards[0].tiny)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = module.network(cards[0], config).eval()
    logits = net(torch.from_numpy(feeds[0]["input_1.1"]))
    expected = torch.softmax(logits, -1).detach().numpy()
    (found,) = module._forward(config["layers"])(torch_state(net), [feeds[1]["input_tensor"]])
    np.testing.assert_allclose(found.numpy()[:, 1:], expected, atol=1e-5)
    assert np.all(found.numpy()[:, 0] == 0)


@pytest.mark.parametrize("name", ["resnet50-tf-fp32", "bert-tf-fp32", "roformer-tf-fp32"])
def test_a_saved_model_holds_the_parameters_of_its_source(name: str) -> None:
    tf = pytest.importorskip("tensorflow")
    model = zoo.open_model(name, preset="tiny")
    loaded = tf.saved_model.load(str(model.path))
    held = sum(int(v.shape.num_elements()) for v in loaded.signatures["serving_default"].variables)
    statistics = 0
    if name.startswith("resnet50"):
        card = zoo.load_card(name)
        net = builder(card).network(card, dict(card.config) | dict(card.tiny))
        statistics = sum(b.numel() for n, b in net.named_buffers() if "running" in n)
    assert held == model.parameters + statistics


def test_spans_are_scored_alike_as_two_outputs_and_as_one() -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("tokenizers")
    from bytemlperf.datasets import open_dataset

    rng = np.random.default_rng(0)
    scores = []
    samples = list(range(4))
    start, end = rng.standard_normal((2, 4, 384)).astype(np.float32)
    for name, outputs in (
        ("bert-torch-fp32", {"start_logits": start, "end_logits": end}),
        ("bert-tf-fp32", {"logits": np.stack([start, end], axis=-1)}),
    ):
        data = open_dataset(zoo.open_model(name, preset="tiny"), sample_data=True)
        scores.append({k: (v.value, v.n) for k, v in data.score(samples, outputs).items()})
    assert scores[0] == scores[1]
    assert "F1 Score" in scores[0]


def test_inputs_of_a_kind_are_as_their_card_says() -> None:
    card = zoo.load_card("widedeep-tf-fp32")
    feeds = zoo.synthetic_feeds(card, range(3), seed=1)
    columns = feeds["new_categorical_placeholder"]
    assert columns.shape == (3, 26, 2)
    assert np.array_equal(columns[..., 0], np.tile(np.arange(26), (3, 1)))
    assert columns[..., 1].min() >= 0
    assert 500 < columns[..., 1].max() < 1000
    card = zoo.load_card("conformer-encoder-onnx-fp32")
    mask = zoo.synthetic_feeds(card, range(20), seed=1)["src_pad_mask"]
    assert mask.dtype == np.bool_
    assert not mask[:, 0].any()  # true is padding, and no sample is only padding
    assert np.all(np.diff(mask.astype(int), axis=1) >= 0)
    assert 0.05 < mask.mean() < 0.6
    card = zoo.load_card("unet-onnx-fp32")
    steps = zoo.synthetic_feeds(card, range(9), seed=1)["timestep"]
    assert steps.shape == (9,)
    assert len(set(steps)) > 3
    card = zoo.load_card("clip-onnx-fp32")
    ids = zoo.synthetic_feeds(card, range(50), seed=1)["input_ids"]
    assert np.mean((ids == 49407).any(axis=1)) > 0.9  # nearly every text ends within the window


def test_the_conformer_attends_by_distance() -> None:
    """Against scores that are looked up pair by pair."""
    from bytemlperf.model_zoo.conformer import _by_key

    time = 5
    scores = torch.randn(2, 3, time, 2 * time - 1)
    found = _by_key(scores)
    for query in range(time):
        for key in range(time):
            column = time - 1 - (query - key)  # columns are distances from time - 1 to 1 - time
            assert torch.equal(found[:, :, query, key], scores[:, :, query, column])


def test_padding_does_not_change_what_the_conformer_says_of_the_rest() -> None:
    card = zoo.load_card("conformer-encoder-onnx-fp32")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = builder(card).network(card, dict(card.config) | dict(card.tiny)).eval()
    ignored = torch.zeros(1, 128, dtype=torch.bool)
    ignored[:, 60:] = True
    x = torch.randn(1, 3, 64, 512)
    other = x.clone()
    other[..., 4 * 62 :] += 10.0  # the front looks two frames ahead
    with torch.inference_mode():
        a, b = (net(v, ignored)[:, :60] for v in (x, other))
    torch.testing.assert_close(a, b)


def test_a_box_is_decoded_where_its_cell_is() -> None:
    from bytemlperf.model_zoo.yolov5 import ANCHORS, _decode

    raw = torch.zeros(1, 3, 4, 6, 85)  # sigmoid 1/2: the middle of the cell, the anchor's size
    boxes = _decode(raw, 8, ANCHORS[0]).view(3, 4, 6, 85)
    assert boxes[1, 2, 3].tolist()[:5] == [8 * 3.5, 8 * 2.5, 16, 30, 0.5]


def test_cards_and_tasks_are_in_the_package() -> None:
    for root in ("model_zoo", "workloads"):
        for name in PUBLISHED:
            file = resources.files(f"bytemlperf.{root}") / f"{name}.json"
            json.loads(file.read_text(encoding="utf-8"))
