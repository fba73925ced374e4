"""Chinese words for vocabularies that hold them: RoFormer's tokens are words where it has them."""

from __future__ import annotations

import logging
import re
import warnings
from functools import cache
from typing import Any

from bytemlperf import host
from bytemlperf.extras import require

# CJK ideographs, as BERT's tokenizer has them: each is a token by itself where no word is.
_HAN = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf"
    "\U0002f800-\U0002fa1f"
)
_WORD = re.compile(f"[{_HAN}]{{2,}}")
_PIECES = re.compile(f"[{_HAN}]|[^{_HAN}]+")


def cut_words_first(tokenizer: Any) -> bool:
    """Make a WordPiece tokenizer cut text into words before it splits them, as RoFormer's does.

    jieba cuts, by its dictionary alone (no hidden Markov model). A word that is in the vocabulary
    is one token; any other is split as BERT splits text. Where the vocabulary holds no word of
    two characters that would come to the same, so nothing is changed and jieba is not needed.

    Returns:
        Whether the tokenizer was changed.

    Raises:
        MissingExtra: where the vocabulary has words, and jieba is not installed.
    """
    vocabulary = frozenset(tokenizer.get_vocab())
    tokenizers = require("tokenizers", extra="data", purpose="a data set of text")
    normalizer = tokenizer.normalizer
    if not isinstance(normalizer, tokenizers.normalizers.BertNormalizer):
        return False
    if not any(_WORD.fullmatch(token) for token in vocabulary):
        return False
    normalizer.handle_chinese_chars = False  # it would part the characters of each word
    tokenizer.normalizer = normalizer
    splitter = _Words(_jieba(), vocabulary, tokenizers.pre_tokenizers.BertPreTokenizer())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.PreTokenizer.custom(splitter)
    return True


class _Words:
    """The rule, in the form that `tokenizers` calls."""

    def __init__(self, jieba: Any, vocabulary: frozenset[str], bert: Any) -> None:
        self._jieba = jieba
        self._vocabulary = vocabulary
        self._bert = bert

    def pre_tokenize(self, text: Any) -> None:
        text.split(self._split)

    def _split(self, _: int, text: Any) -> list[Any]:
        found = []
        for word, start, end in self._jieba.tokenize(str(text), HMM=False):
            if word in self._vocabulary:
                found.append(text[start:end])
                continue
            for piece in _PIECES.finditer(word):
                for _part, (a, b) in self._bert.pre_tokenize_str(piece.group()):
                    at = start + piece.start()
                    found.append(text[at + a : at + b])
        return found


@cache
def _jieba() -> Any:
    with warnings.catch_warnings():  # its source has escapes that Python warns of
        warnings.simplefilter("ignore")
        jieba = require(
            "jieba", extra="data", purpose="a vocabulary of Chinese words (RoFormer's, CAIL2019)"
        )
    jieba.setLogLevel(logging.WARNING)
    words = jieba.Tokenizer()
    folder = host.cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    words.tmp_dir = str(folder)  # its compiled dictionary; a shared folder is not to be trusted
    return words
