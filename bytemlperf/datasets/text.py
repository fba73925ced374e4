"""The tokenizer of a checkpoint, with its own special tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card
from bytemlperf.zoo.card import Tensor


def open_tokenizer(file: Path | None) -> Any:
    """Return a tokenizer.

    Args:
        file: the checkpoint's ``tokenizer.json``; or a ``vocab.txt`` (WordPiece; lower case unless
            a ``tokenizer_config.json`` beside it says otherwise). Without one a byte-level
            tokenizer is made: one token a byte; fit for seeded weights only.

    Raises:
        UsageError: where the file is not a tokenizer.
    """
    tokenizers = require("tokenizers", extra="data", purpose="a data set of text")
    if file is None:
        return _byte_level(tokenizers)
    try:
        if file.suffix == ".txt":
            return _word_piece(tokenizers, file)
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise UsageError(f"{file}: not a tokenizer: {error}") from error


def _word_piece(tokenizers: Any, file: Path) -> Any:
    config = file.with_name("tokenizer_config.json")
    lower = True
    if config.exists():
        lower = bool(json.loads(config.read_text(encoding="utf-8")).get("do_lower_case", True))
    vocabulary = tokenizers.models.WordPiece.read_file(str(file))
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    first, last = vocabulary["[CLS]"], vocabulary["[SEP]"]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", first), ("[SEP]", last)],
    )
    return tokenizer


def _byte_level(tokenizers: Any) -> Any:
    """Byte-level BPE without merges, with RoBERTa's special tokens and pair template."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(specials + alphabet)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.add_special_tokens(specials)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s>:1 $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def token_input(card: Card) -> Tensor:
    """Return the card's input of token ids.

    Raises:
        UsageError: where it has none.
    """
    for tensor in card.inputs:
        if tensor.content == "token_ids":
            return tensor
    raise UsageError(f"{card.name}: has no input of content 'token_ids': not a model of text")


def describe(file: Path | None) -> str:
    """Say what the text was split with."""
    return str(file or "byte-level, built in (the checkpoint has none)")
