"""A torch module as a :class:`Built`: eager source, exports, counted operations."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bytemlperf.backend import Array, Feeds, Outputs
from bytemlperf.extras import require
from bytemlperf.zoo.built import Built, state_sha256
from bytemlperf.zoo.card import Card
from bytemlperf.zoo.model import Weights
from bytemlperf.zoo.synthetic import synthetic_feeds

if TYPE_CHECKING:
    import torch

# A trace at batch 1 can bake the batch in (GPT-2's mask check does); at 2 it stays general.
_TRACE_BATCH = 2
# The newest operator set that the runtimes of this field read.
_OPSET = 20
_LARGEST_FILE = 1_900_000_000
_CALIBRATION_BATCH = 4
_BLOCKS = 8  # along each edge of an image


def import_torch() -> Any:
    """Return torch, or say which extra installs it."""
    return require("torch", extra="torch", purpose="a torch model")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside, and leave its random state as it was."""
    torch = import_torch()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def from_torch(
    module: torch.nn.Module,
    card: Card,
    *,
    kind: str,
    source: str,
    tokenizer: Path | None = None,
    export: Callable[[Path], None] | None = None,
) -> Built:
    """Wrap a module whose forward takes the card's inputs in order.

    Args:
        module: on the CPU; is set to eval mode and to take no gradients.
        kind: of :class:`Weights`.
        source: of :class:`Weights`.
        export: writes the artifact; torch's own exporter to the card's format where it is None.
    """
    parameters = count_parameters(module)
    module.eval().requires_grad_(False)
    if export is None:
        exporter = {"torchscript": export_torchscript, "onnx": export_onnx}[card.format]

        def export(path: Path) -> None:
            exporter(module, card, path)

    state = ((name, tensor.numpy()) for name, tensor in module.state_dict().items())
    return Built(
        parameters=parameters,
        weights=Weights(kind, state_sha256(state), source),  # type: ignore[arg-type]
        source=EagerModule(module, card),
        export=export,
        flops_per_sample=_count_flops(module, card),
        tokenizer=tokenizer,
    )


def count_parameters(module: torch.nn.Module) -> int:
    """Parameters that training changes, shared ones once; a table of sinusoids is not among them."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def calibrate_batch_norm(module: torch.nn.Module, card: Card, seed: int) -> None:
    """Give a random network the statistics of its own activations, as a trained one has.

    With mean 0 and variance 1 everywhere, activations of a deep random network grow until its
    softmax is one class and every comparison of outputs is vacuous; and with those of random pixels
    alone they grow so for pictures. One thread computes them: with
    several, their last bits would depend on how many, and the same seed would not be the same model.
    """
    torch = import_torch()
    threads = torch.get_num_threads()
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    module.train()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            module(*tensors(_pixels_and_pictures(card, seed), card))
    finally:
        torch.set_num_threads(threads)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _pixels_and_pictures(card: Card, seed: int) -> Feeds:
    """Images half of random pixels, half of random blocks: in a picture neighbours are alike."""
    feeds = synthetic_feeds(card, range(_CALIBRATION_BATCH), seed)
    ((name, pixels),) = feeds.items()
    blocks = pixels[_CALIBRATION_BATCH // 2 :]
    for axis, side in enumerate(pixels.shape):
        if axis and side == max(pixels.shape[1:]):  # height and width, wherever the channels are
            edge = side // _BLOCKS
            blocks = blocks.take(np.arange(side) // edge * edge, axis)
    return {name: np.concatenate([pixels[: _CALIBRATION_BATCH // 2], blocks])}


class EagerModule:
    """Calls the module with feeds in the card's order."""

    def __init__(self, module: torch.nn.Module, card: Card) -> None:
        self.module = module
        self._card = card

    def __call__(self, feeds: Feeds) -> Outputs:
        torch = import_torch()
        with torch.inference_mode():
            outputs = self.module(*tensors(feeds, self._card))
        return named_outputs(outputs, self._card)


def tensors(feeds: Feeds, card: Card) -> list[torch.Tensor]:
    """Return the feeds as tensors in the card's order; they share the arrays' memory."""
    torch = import_torch()
    with warnings.catch_warnings():
        # The arrays are read-only on purpose, and inference does not write to its inputs.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return [torch.from_numpy(feeds[tensor.name]) for tensor in card.inputs]


def named_outputs(outputs: Any, card: Card) -> Outputs:
    """Return a module's outputs by the card's names, as host arrays."""
    values: Sequence[Any]
    if isinstance(outputs, dict):
        values = [outputs[name] for name in card.outputs]
    elif isinstance(outputs, (tuple, list)):
        values = outputs
    else:
        values = [outputs]
    return {name: _array(value.detach()) for name, value in zip(card.outputs, values, strict=True)}


def _array(tensor: torch.Tensor) -> Array:
    """Return a contiguous host array; numpy has no bfloat16, and float32 holds it exactly."""
    if tensor.dtype == import_torch().bfloat16:
        tensor = tensor.float()
    return np.ascontiguousarray(tensor.numpy())


@contextmanager
def torchscript_is_deprecated() -> Iterator[None]:
    """TorchScript is the deployable format of this field's contract: say so once, here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\..*", category=DeprecationWarning)
        yield


def export_torchscript(
    module: torch.nn.Module, card: Card, path: Path, dtype: torch.dtype | None = None
) -> None:
    """Trace the module and write it; the batch dimension stays free.

    Args:
        dtype: of its float inputs, where the module is not in the card's precision.
    """
    torch = import_torch()
    feeds = tensors(synthetic_feeds(card, range(_TRACE_BATCH), seed=0), card)
    example = tuple(x.to(dtype) if x.is_floating_point() else x for x in feeds)
    with torchscript_is_deprecated(), warnings.catch_warnings(), torch.inference_mode():
        # Of shape checks, which become constants of the trace, and of every attribute that tracing
        # reads, deprecated ones too: the export is verified after.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, example, check_trace=False, strict=False)
        torch.jit.save(traced, str(path))


def export_onnx(module: torch.nn.Module, card: Card, path: Path) -> None:
    """Write the module as an ONNX graph; all batched inputs share one free dimension ``batch``."""
    torch = import_torch()
    require("onnxscript", extra="zoo", purpose="an export from torch to ONNX")
    batch = torch.export.Dim("batch", min=1, max=card.max_batch_size)
    example = tuple(tensors(synthetic_feeds(card, range(_TRACE_BATCH), seed=0), card))
    with _quiet_exporter(), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the exporter and of libraries that it looks into
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=[tensor.name for tensor in card.inputs],
            output_names=list(card.outputs),
            dynamic_shapes=tuple({0: batch} if t.batched else {} for t in card.inputs),
            opset_version=_OPSET,
            # A file of ONNX holds at most 2 GB; larger models keep their tensors beside it.
            external_data=_bytes(module) > _LARGEST_FILE,
            dynamo=True,
            verbose=False,
        )


def _bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Leave out its notes, e.g. that torchvision's operators are not there: none is used."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _count_flops(module: torch.nn.Module, card: Card) -> float:
    torch = import_torch()
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    example = tensors(synthetic_feeds(card, range(1), seed=0), card)
    # The counter knows matrix products, not the CPU's fused attention.
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.inference_mode(), plain, FlopCounterMode(display=False) as counter:
        module(*example)
    return float(counter.get_total_flops())
