"""Models as ONNX, which most vendors' compilers read: the same answers, the card's names, a free batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import zoo
from bytemlperf.errors import BytemlperfError
from bytemlperf.zoo.tf_to_onnx import export_saved_model_to_onnx

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("bert-torch-fp32", ("torch", "transformers")),
        ("bert-tf-fp32", ("tensorflow", "tf2onnx", "torch", "transformers")),
        ("resnet50-tf-fp32", ("tensorflow", "tf2onnx", "torch")),
        ("roformer-tf-fp32", ("tensorflow", "tf2onnx", "torch", "transformers")),
        ("widedeep-tf-fp32", ("tensorflow", "tf2onnx", "torch")),
    ],
)
def test_the_onnx_file_answers_as_the_source(
    name: str, packages: tuple[str, ...], tmp_path: Path
) -> None:
    for package in packages:
        pytest.importorskip(package)
    import onnxruntime

    model = zoo.open_model(name, preset="tiny")
    path = zoo.to_onnx(model, tmp_path / "model.onnx")
    written = path.stat().st_mtime_ns
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    card = model.card
    assert {i.name for i in session.get_inputs()} == {t.name for t in card.inputs}
    assert {i.shape[0] for i in session.get_inputs()} == {"batch"}
    for batch_size in (1, 3):
        feeds = zoo.synthetic_feeds(card, range(batch_size), seed=0)
        expected = model.load_source()(feeds)
        found = session.run(list(card.outputs), dict(feeds))
        for output, array in zip(card.outputs, found, strict=True):
            np.testing.assert_allclose(array, expected[output], atol=1e-5)
    zoo.to_onnx(model, path)
    assert path.stat().st_mtime_ns == written  # what is there is not made again


def test_an_operator_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    tf: Any = pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    module = tf.Module()
    spec = tf.TensorSpec((None, 1, 8, 8), tf.float32, "image")

    @tf.function
    def gamma(image: Any) -> dict[str, Any]:
        return {"logits": tf.math.lgamma(tf.reshape(image, (-1, 64))[:, :10])}

    signature = gamma.get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": signature})
    card = zoo.load_card("digits-tf-fp32")
    with pytest.raises(BytemlperfError, match=r"ONNX 14 failed: .*Lgamma.*as torch or onnx"):
        export_saved_model_to_onnx(card, tmp_path / "m", tmp_path / "model.onnx", 14)
    assert not (tmp_path / "model.onnx").exists()


def test_a_format_without_a_way_to_onnx_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("jaxlib")
    model = zoo.open_model("resnet50-mhlo-fp32", preset="tiny")
    with pytest.raises(BytemlperfError, match="stablehlo is not converted here"):
        zoo.to_onnx(model, tmp_path / "model.onnx")
