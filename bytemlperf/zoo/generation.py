"""Models that generate text: a prompt's tokens in, one token after another out, greedily."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, TokenTimes
from bytemlperf.zoo.torch_build import import_torch

#: (token ids [B, n] int64, cache or None) -> (logits [B, vocabulary] after the last, cache)
Step = Callable[[Any, Any], tuple[Any, Any]]


class Generator:
    """A network in memory, loaded when it is first called.

    Args:
        load: builds the network; may take many gigabytes.
        prompt: name of the input that holds the prompt's token ids.
    """

    def __init__(self, load: Callable[[], Step], prompt: str) -> None:
        self._load = load
        self._step: Step | None = None
        self._prompt = prompt

    def prepare(self) -> None:
        """Load, where that has not been done."""
        if self._step is None:
            self._step = self._load()

    def __call__(self, feeds: Feeds) -> Outputs:
        """Return the logits [B, vocabulary] float32 of the first token after the prompts."""
        outputs, _ = self.generate(feeds, 1)
        return outputs

    def generate(self, feeds: Feeds, tokens: int) -> tuple[Outputs, TokenTimes]:
        """Generate ``tokens`` tokens for every prompt of the batch.

        Every token but the last is fed back: the prompt costs one pass, each further token one.

        Returns:
            The logits of the first token, which depend on the prompt alone; and the times.
        """
        self.prepare()
        assert self._step is not None
        torch = import_torch()
        start = time.perf_counter()
        with torch.inference_mode():
            # A copy: the feeds belong to the caller, and torch takes no read-only memory.
            logits, cache = self._step(torch.tensor(feeds[self._prompt]), None)
            first, chosen = logits, logits.argmax(-1, keepdim=True)
            first_s = time.perf_counter() - start
            for _ in range(tokens - 1):
                logits, cache = self._step(chosen, cache)
                chosen = logits.argmax(-1, keepdim=True)
        times = TokenTimes(first_s, time.perf_counter() - start, tokens)
        return {"logits": np.ascontiguousarray(first.float().numpy())}, times
