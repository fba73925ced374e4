"""A small convolutional network for handwritten digits, trained: its weights are in this folder.

Two convolutions of 3x3 (16 and 32 channels, padded), a 2x2 maximum, two dense layers (64, 10).
The same weights are a torch module, an ONNX graph, a TensorFlow module and StableHLO modules; the
latter three have a plain numpy forward as their source, which shares nothing with the runtimes under test.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds, Outputs
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Built, Card, Weights, state_sha256
from bytemlperf.zoo.tf_build import export_saved_model, import_tensorflow
from bytemlperf.zoo.torch_build import from_torch, import_torch

State = Mapping[str, Array]


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build for the card's framework from the embedded weights."""
    if weights is not None:
        raise UsageError(f"{card.name} has embedded weights: --weights does not apply")
    state = embedded_state()
    if card.framework == "torch":
        return from_torch(torch_module(state), card, kind="embedded", source="digits.safetensors")
    export = {"onnx": export_onnx, "tensorflow": export_tensorflow, "mhlo": export_stablehlo}[
        card.framework
    ]
    return Built(
        parameters=sum(array.size for array in state.values()),
        weights=Weights("embedded", state_sha256(state.items()), "digits.safetensors"),
        source=lambda feeds: forward(state, feeds),
        export=lambda path: export(card, state, path),
        flops_per_sample=flops(state),
    )


def embedded_state() -> dict[str, Array]:
    """Read the trained weights: torch's names and layouts, float32."""
    safetensors = require("safetensors.numpy", extra="onnx", purpose="the embedded digits model")
    data = (resources.files("bytemlperf.model_zoo") / "digits.safetensors").read_bytes()
    state: dict[str, Array] = safetensors.load(data)
    return state


def torch_module(state: State | None = None) -> Any:
    """Return the network as a torch module, with the given weights."""
    torch = import_torch()
    nn = torch.nn
    module = nn.Sequential()
    for name, layer in (
        ("conv1", nn.Conv2d(1, 16, 3, padding=1)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(16, 32, 3, padding=1)),
        ("relu2", nn.ReLU()),
        ("pool", nn.MaxPool2d(2)),
        ("flat", nn.Flatten()),
        ("dense1", nn.Linear(512, 64)),
        ("relu3", nn.ReLU()),
        ("dense2", nn.Linear(64, 10)),
    ):
        module.add_module(name, layer)
    if state is not None:
        module.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    return module


def forward(state: State, feeds: Feeds) -> Outputs:
    """The network in numpy: image [B, 1, 8, 8] float32 -> logits [B, 10]."""
    x = _convolve(feeds["image"], state["conv1.weight"], state["conv1.bias"])
    x = _convolve(x, state["conv2.weight"], state["conv2.bias"])
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
    x = x.reshape(batch, -1) @ state["dense1.weight"].T + state["dense1.bias"]
    x = np.maximum(x, 0) @ state["dense2.weight"].T + state["dense2.bias"]
    return {"logits": x.astype(np.float32)}


def _convolve(x: Array, weight: Array, bias: Array) -> Array:
    """3x3, padded, followed by the rectifier."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    y = np.einsum("bchwij,ocij->bohw", patches, weight, optimize=True)
    return np.maximum(y + bias[:, None, None], 0)


def flops(state: State) -> float:
    """Two operations a weight and place where it is used."""
    places = {"conv1.weight": 64, "conv2.weight": 64, "dense1.weight": 1, "dense2.weight": 1}
    return float(sum(2 * n * state[name].size for name, n in places.items()))


def export_onnx(card: Card, state: State, path: Path) -> None:
    """Write the network as an ONNX graph with a free batch dimension."""
    onnx = require("onnx", extra="onnx", purpose="the ONNX digits model")
    node, float32 = onnx.helper.make_node, onnx.TensorProto.FLOAT
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], **same),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], **same),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "dense1.weight", "dense1.bias"], ["d1"], transB=1),
        node("Relu", ["d1"], ["r3"]),
        node("Gemm", ["r3", "dense2.weight", "dense2.bias"], ["logits"], transB=1),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "digits",
        [value("image", float32, ["batch", 1, 8, 8])],
        [value("logits", float32, ["batch", 10])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in state.items()],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def export_stablehlo(card: Card, state: State, path: Path) -> None:
    """Write the network as StableHLO modules."""
    from bytemlperf.model_zoo.jax_digits import export_digits

    export_digits(card, state, path)


def export_tensorflow(card: Card, state: State, path: Path) -> None:
    """Write the network as a SavedModel with the signature ``serving_default``."""
    tf = import_tensorflow()

    def serve(w: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x = tf.transpose(inputs[0], [0, 2, 3, 1])
        for i in ("conv1", "conv2"):
            x = tf.nn.relu(tf.nn.conv2d(x, w[f"{i}.weight"], 1, "SAME") + w[f"{i}.bias"])
        x = tf.transpose(tf.nn.max_pool2d(x, 2, 2, "VALID"), [0, 3, 1, 2])
        x = tf.reshape(x, [-1, 512]) @ w["dense1.weight"] + w["dense1.bias"]
        return [tf.nn.relu(x) @ w["dense2.weight"] + w["dense2.bias"]]

    export_saved_model(card, {k: _tf_layout(v) for k, v in state.items()}, serve, path)


def _tf_layout(array: Array) -> Array:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
