"""A torch module as a :class:`Built`: eager source, TorchScript export, counted operations."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs
from bytemlperf.extras import require
from bytemlperf.zoo.built import Built, state_sha256
from bytemlperf.zoo.card import Card
from bytemlperf.zoo.model import Weights
from bytemlperf.zoo.synthetic import synthetic_feeds

if TYPE_CHECKING:
    import torch

# A trace at batch 1 can bake the batch in (GPT-2's mask check does); at 2 it stays general.
_TRACE_BATCH = 2


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
) -> Built:
    """Wrap a module whose forward takes the card's inputs in order.

    Args:
        module: on the CPU; is set to eval mode.
        kind: of :class:`Weights`.
        source: of :class:`Weights`.
    """
    module.eval()
    state = ((name, tensor.numpy()) for name, tensor in module.state_dict().items())
    return Built(
        parameters=sum(p.numel() for p in module.parameters()),
        weights=Weights(kind, state_sha256(state), source),  # type: ignore[arg-type]
        source=EagerModule(module, card),
        export=lambda path: _export(module, card, path),
        flops_per_sample=_count_flops(module, card),
        tokenizer=tokenizer,
    )


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
    return {
        name: np.ascontiguousarray(value.detach().numpy())
        for name, value in zip(card.outputs, values, strict=True)
    }


@contextmanager
def torchscript_is_deprecated() -> Iterator[None]:
    """TorchScript is the deployable format of this field's contract: say so once, here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\..*", category=DeprecationWarning)
        yield


def _export(module: torch.nn.Module, card: Card, path: Path) -> None:
    torch = import_torch()
    example = tuple(tensors(synthetic_feeds(card, range(_TRACE_BATCH), seed=0), card))
    with torchscript_is_deprecated(), warnings.catch_warnings(), torch.inference_mode():
        # Shape checks of the library become constants of the trace; the export is verified after.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        # Tracing reads every attribute of a module, the deprecated ones of libraries too.
        warnings.filterwarnings("ignore", category=FutureWarning)
        traced = torch.jit.trace(module, example, check_trace=False, strict=False)
        torch.jit.save(traced, str(path))


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
