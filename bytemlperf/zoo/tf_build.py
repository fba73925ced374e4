"""A network written out in TensorFlow, as a SavedModel: it takes the weights of a torch network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bytemlperf.backend import Array
from bytemlperf.extras import require_tensorflow
from bytemlperf.zoo.card import Card

#: (variable by name, inputs in the card's order) -> outputs in the card's order
Forward = Callable[[Mapping[str, Any], list[Any]], list[Any]]


def import_tensorflow() -> Any:
    """Return tensorflow, or say which extra installs it."""
    return require_tensorflow("a TensorFlow model")


def export_saved_model(
    card: Card, state: Mapping[str, Array], forward: Forward, path: Path
) -> None:
    """Write a SavedModel with the signature ``serving_default`` and a free batch dimension.

    Args:
        card: names and shapes of inputs and outputs.
        state: name -> array, in TensorFlow's layouts; each becomes a variable.
        forward: the network.
        path: the folder that is made.
    """
    tf = import_tensorflow()
    module = tf.Module()
    # As attributes variables need names that a checkpoint's path can hold.
    module.state = {name.replace(".", "_"): tf.Variable(array) for name, array in state.items()}
    variables = {name: module.state[name.replace(".", "_")] for name in state}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: Any) -> dict[str, Any]:
        return dict(zip(card.outputs, forward(variables, list(inputs)), strict=True))

    specs = [
        tf.TensorSpec([None, *t.shape] if t.batched else t.shape, t.dtype, name=t.name)
        for t in card.inputs
    ]
    signature = serve.get_concrete_function(*specs)
    tf.saved_model.save(module, str(path), signatures={"serving_default": signature})


def torch_state(module: Any) -> dict[str, Array]:
    """Return a torch module's weights in TensorFlow's layouts.

    Kernels of linear layers become [in, out] and of convolutions [height, width, in, out];
    embeddings and vectors stay. Tables that belong to no checkpoint are left out.
    """
    from bytemlperf.zoo.torch_build import import_torch

    nn = import_torch().nn
    state = {}
    for prefix, part in module.named_modules():
        for name, tensor in (*part.named_parameters(recurse=False), *_buffers(part)):
            array = tensor.detach().numpy()
            if name == "weight" and isinstance(part, nn.Linear):
                array = array.T
            elif name == "weight" and isinstance(part, nn.Conv2d):
                array = array.transpose(2, 3, 1, 0)
            state[f"{prefix}.{name}" if prefix else name] = array
    return state


def _buffers(part: Any) -> list[tuple[str, Any]]:
    named = part.named_buffers(recurse=False)
    return [(n, b) for n, b in named if n not in part._non_persistent_buffers_set and b.ndim]
