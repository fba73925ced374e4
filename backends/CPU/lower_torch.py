"""A torch module at a lower precision, traced; inputs and outputs stay."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytemlperf.backend import CompileConfig
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.zoo.torch_build import EagerModule, export_torchscript, import_torch, tensors

from .calibration import calibration_feeds

if TYPE_CHECKING:
    import torch


def lower_torch(source: EagerModule, config: CompileConfig, dataset: Dataset | None) -> Path:
    """Write the source at ``options["precision"]`` as TorchScript; int8 replaces its layers.

    Raises:
        BytemlperfError: where torch cannot.
    """
    card, precision = config.model.card, config.options["precision"]
    lower = config.cache_dir / "lower.pt"
    try:
        LOWER[precision](source.module, config, dataset, lower)
    except BytemlperfError:
        raise
    except Exception as error:  # a mask's constant that fp16 cannot hold, for one
        raise BytemlperfError(
            f"{card.name}: torch cannot run this network at {precision}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    return lower


def _autocast(name: str) -> Callable[..., None]:
    """Trace under autocast: its casts become part of the graph, weights are folded."""

    def write(
        module: torch.nn.Module, config: CompileConfig, dataset: Dataset | None, path: Path
    ) -> None:
        torch = import_torch()
        # Without its cache: a trace has to see every cast.
        with torch.autocast("cpu", getattr(torch, name), cache_enabled=False):
            export_torchscript(module, config.model.card, path)

    return write


def _int8(
    module: torch.nn.Module, config: CompileConfig, dataset: Dataset | None, path: Path
) -> None:
    """Signed 8-bit weights and 8-bit activations, by torch's own quantization.

    It is deprecated for torchao, whose layers torch.jit cannot trace and whose int8 is slower than
    fp32 on a host. Convolutional networks get calibrated ranges; others, which torch.fx rarely
    traces, take the range of each call.
    """
    torch = import_torch()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # deprecated, see above
        if _is_convolutional(module):
            lower = _calibrated(module, config, dataset)
        else:
            layers = _dynamic_layers(module, config)
            lower = _quantization().quantize_dynamic(module, layers, inplace=True)
        export_torchscript(lower, config.model.card, path)


def _quantization() -> Any:
    require("torch.ao.quantization.quantize_fx", extra="torch", purpose="a torch model in int8")
    return import_torch().ao.quantization


def _is_convolutional(module: torch.nn.Module) -> bool:
    nn = import_torch().nn
    count = {kind: len(_layers(module, kind)) for kind in (nn.Conv2d, nn.Linear)}
    return 0 < count[nn.Conv2d] >= count[nn.Linear]


def _calibrated(module: torch.nn.Module, config: CompileConfig, dataset: Dataset | None) -> Any:
    torch, ao = import_torch(), _quantization()
    card = config.model.card
    batches = (tensors(feeds, card) for feeds in calibration_feeds(config, dataset))
    first = next(batches)
    mapping = ao.get_default_qconfig_mapping(torch.backends.quantized.engine)
    observed = ao.quantize_fx.prepare_fx(module, mapping, tuple(first))
    for batch in (first, *batches):
        observed(*batch)
    return ao.quantize_fx.convert_fx(observed)


def _dynamic_layers(module: torch.nn.Module, config: CompileConfig) -> dict[type, Any]:
    """What is quantized, and how; refuses a network whose weights are elsewhere for the most part."""
    nn, ao = import_torch().nn, _quantization()
    layers = {
        nn.Linear: ao.per_channel_dynamic_qconfig,
        nn.LSTM: ao.default_dynamic_qconfig,
        nn.GRU: ao.default_dynamic_qconfig,
    }
    looked_up = {id(weight) for weight in _weights(_layers(module, nn.Embedding))}
    computing = {id(p): p.numel() for p in module.parameters() if id(p) not in looked_up}
    lowered = sum(computing.get(id(w), 0) for w in _weights(_layers(module, tuple(layers))))
    if lowered < sum(computing.values()) / 2:
        raise BytemlperfError(
            f"{config.model.card.name}: torch has {lowered / sum(computing.values()):.0%} of this "
            "network's weights in int8 on the host: it would compute in fp32 for the most part"
        )
    return layers


def _layers(module: torch.nn.Module, kinds: Any) -> list[torch.nn.Module]:
    return [part for part in module.modules() if isinstance(part, kinds)]


def _weights(layers: Iterable[torch.nn.Module]) -> Iterable[torch.nn.Parameter]:
    for layer in layers:
        yield from layer.parameters(recurse=False)


LOWER = {"bf16": _autocast("bfloat16"), "fp16": _autocast("float16"), "int8": _int8}
