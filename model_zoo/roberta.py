"""RoBERTa with a span head for question answering, from the transformers library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.torch_build import from_torch, import_torch, seeded


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build from the architecture with seeded weights, or load a transformers folder.

    The library's own initialisation (normal, standard deviation 0.02) is kept: behind layer
    normalisation it gives logits that spread by about 0.5 between tokens and inputs.
    """
    torch = import_torch()
    transformers = require("transformers", extra="zoo", purpose=card.title)
    transformers.logging.set_verbosity_error()  # its notes on training do not concern us
    if weights is None:
        with seeded(seed):
            model = transformers.RobertaForQuestionAnswering(transformers.RobertaConfig(**config))
        kind, source, tokenizer = "seeded", f"seed {seed}", None
    else:
        model = _load(transformers, card, weights)
        kind, source = "checkpoint", str(weights)
        tokenizer = weights / "tokenizer.json"
    return from_torch(
        _Spans(torch, model),
        card,
        kind=kind,
        source=source,
        tokenizer=tokenizer if tokenizer and tokenizer.exists() else None,
    )


def _Spans(torch: Any, model: Any) -> Any:
    """Return the model as a module of three tensors in, two tensors out."""

    class Spans(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            outputs = self.model(
                input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            )
            return outputs.start_logits, outputs.end_logits

    return Spans()


def _load(transformers: Any, card: Card, folder: Path) -> Any:
    try:
        model, info = transformers.RobertaForQuestionAnswering.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise BytemlperfError(f"{card.name}: --weights {folder}: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise BytemlperfError(
            f"{card.name}: --weights {folder}: the checkpoint lacks {', '.join(missing[:4])}"
            f"{' and more' if len(missing) > 4 else ''}; a random head would make every accuracy "
            "a lie: give a checkpoint that was trained for question answering"
        )
    return model
