"""The form of answers: names, shapes, dtypes, where they lie, for every size of batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.conformance.bench import Bench, CheckFailed, NotApplicable

# A device that is still writing has written by then.
_LATER_S = 0.05


def first_call(bench: Bench) -> str:
    """Load, run one batch, unload."""
    answer = bench.answers(bench.size, 1)[0]
    return f"batch {bench.size}, outputs {', '.join(answer.outputs)}"


def must_fit(bench: Bench, samples: Sequence[int], outputs: Mapping[str, Array]) -> None:
    """Raise CheckFailed where an output is missing or its shape is not the reference's."""
    for name, one in bench.reference[samples[0]].items():
        if name not in outputs:
            raise CheckFailed(f"output {name!r} is missing; got {', '.join(outputs) or 'nothing'}")
        expected = (len(samples), *one.shape)
        if outputs[name].shape != expected:
            raise CheckFailed(
                f"output {name!r}, batch of {len(samples)}: expected shape {list(expected)}, got "
                f"{list(outputs[name].shape)}"
            )


def shapes(bench: Bench) -> str:
    answers = bench.answers(bench.size)
    for answer in answers:
        must_fit(bench, answer.samples, answer.outputs)
    first = answers[0].outputs
    return ", ".join(f"{name} {list(first[name].shape)}" for name in bench.card.outputs)


def dtypes(bench: Bench) -> str:
    """The reference's dtype; a narrower float where the device computes in another precision."""
    outputs = bench.answers(bench.size, 1)[0].outputs
    reduced = bench.task.compiled.precision.lower() != bench.card.precision.lower()
    for name, one in bench.reference[0].items():
        expected, found = one.dtype, outputs[name].dtype
        narrower = reduced and found.kind == "f" and found.itemsize < expected.itemsize
        if found != expected and not narrower:
            raise CheckFailed(f"output {name!r}: expected dtype {expected}, got {found}")
    return ", ".join(f"{name} {outputs[name].dtype}" for name in bench.card.outputs)


def host_outputs(bench: Bench) -> str:
    """Outputs are finished in host memory when the call returns, and inputs are left alone."""
    samples = range(bench.size)
    feeds = {name: np.array(array) for name, array in bench.feeds(samples).items()}
    before = {name: array.copy() for name, array in feeds.items()}
    for array in feeds.values():
        array.flags.writeable = False
    with bench.caller(bench.size) as run:
        outputs = run(feeds)
        returned = {name: array.copy() for name, array in outputs.items()}
        time.sleep(_LATER_S)
        for name, array in outputs.items():
            if not np.array_equal(array, returned[name], equal_nan=array.dtype.kind == "f"):
                raise CheckFailed(
                    f"output {name!r} changed after the call had returned: wait for the device"
                )
    for name, array in before.items():
        if not np.array_equal(array, feeds[name]):
            raise CheckFailed(f"input {name!r} was written to")
    return "unchanged after the call, inputs untouched"


def batch_sizes(bench: Bench) -> str:
    """Every batch size that was compiled for is loaded, reported and answered."""
    for size in bench.sizes:
        try:
            with bench.instance(size) as runtime:
                loaded = runtime.get_loaded_batch_size()
                if loaded != size:
                    raise CheckFailed(
                        f"after load({size}): expected get_loaded_batch_size() {size}, got {loaded}"
                    )
        except NotApplicable:
            pass  # a native backend is asked below, as all are
        for answer in bench.answers(size, 1):
            must_fit(bench, answer.samples, answer.outputs)
    return f"batch {', '.join(str(size) for size in bench.sizes)}"


def tail_batches(bench: Bench) -> str:
    """A batch may have fewer samples than were loaded for, also after a full one."""
    if bench.size == 1:
        raise NotApplicable("a batch of one has no tail")
    tails = sorted({1, bench.size - 1})
    for tail in tails:
        for answer in bench.answers(tail, capacity=bench.size):
            must_fit(bench, answer.samples, answer.outputs)
    return f"{' and '.join(str(tail) for tail in tails)} of {bench.size}"
