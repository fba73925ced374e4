"""When queries are merged into one batch."""

from __future__ import annotations

from dataclasses import dataclass

from bytemlperf import _core
from bytemlperf.errors import UsageError, check_whole

MOST_SAMPLES = (1 << 32) - 1  # of a query or a batch


@dataclass(frozen=True)
class Dynamic:
    """Merges waiting queries, as a production server does.

    A batch closes when it has ``max_samples``, when the next query has no room in it, or
    ``max_delay`` seconds after its oldest query was submitted. One that closes by the delay is cut
    to the largest of the ``preferred`` sizes that it reaches; the rest begins the next batch,
    whichever instance forms it. A query is never split.

    Args:
        max_samples: samples of the largest batch.
        max_delay: seconds.
        preferred: sizes in samples.

    Raises:
        UsageError: for figures that no batch can have.
    """

    max_samples: int
    max_delay: float
    preferred: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_whole("max_samples", self.max_samples, 1, MOST_SAMPLES)
        if not 0 <= self.max_delay < 1e6:
            raise UsageError(f"max_delay is a number of seconds, not {self.max_delay!r}")
        if any(not 1 <= size <= self.max_samples for size in self.preferred):
            raise UsageError(f"preferred sizes lie between 1 and max_samples: {self.preferred!r}")

    def to_core(self) -> _core.Batching:
        return _core.Batching(
            self.max_samples, round(self.max_delay * 1e9), sorted(set(self.preferred))
        )
