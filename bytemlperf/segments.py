"""A model in parts: each runs where it was compiled for, in order, the host where the device cannot."""

from __future__ import annotations

from collections.abc import Sequence

from bytemlperf.backend import Array, Feeds, Outputs, Predict, Segment
from bytemlperf.errors import BackendError


class Segmented:
    """Runs segments in their order; what one gives, those after it take.

    Args:
        segments: in execution order, with the names of what they take and give.
        runners: what computes each of them, device or host.
        inputs: names of the model's inputs.
        outputs: names of the model's outputs.

    Raises:
        BackendError: where a segment takes what nothing before it gives, or an output is missing.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        runners: Sequence[Predict],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        if [segment.index for segment in segments] != list(range(len(segments))):
            raise BackendError("segments are numbered from 0 in the order of their execution")
        known = set(inputs)
        for segment in segments:
            if lacking := set(segment.inputs) - known:
                raise BackendError(
                    f"segment {segment.index} takes {', '.join(sorted(lacking))}, which nothing "
                    "before it gives"
                )
            known |= set(segment.outputs)
        if lacking := set(outputs) - known:
            raise BackendError(f"no segment gives the output {', '.join(sorted(lacking))}")
        self._parts = tuple(zip(segments, runners, strict=True))
        self._outputs = tuple(outputs)

    def __call__(self, feeds: Feeds) -> Outputs:
        there: dict[str, Array] = dict(feeds)
        for segment, run in self._parts:
            found = run({name: there[name] for name in segment.inputs})
            if lacking := set(segment.outputs) - found.keys():
                raise BackendError(f"segment {segment.index} gave no {', '.join(sorted(lacking))}")
            there |= found
        return {name: there[name] for name in self._outputs}
