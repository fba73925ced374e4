"""What reduced precision costs each model of the zoo: where the cards' ``tolerances`` are from.

``python benchmarks/tolerances.py [NAME ...] [--preset full] [--samples 16]``

Every precision that the device models emulate for the model's format, and every one that the CPU
backend compiles it to, beside the eager source on the same synthetic samples. The last column is
the tolerance by the rule of ``model_zoo/README.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bytemlperf.backend import CompileConfig, Outputs, Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.numeric import compare
from bytemlperf.registry import find_backend
from bytemlperf.simulate.numerics import emulate
from bytemlperf.simulate.precisions import precision_named
from bytemlperf.workload import Workload
from bytemlperf.zoo import Model, list_cards, load_card, open_model, synthetic_feeds

EMULATED = {
    "torchscript": ("fp16", "bf16", "fp8", "int8/bf16"),
    "onnx": ("fp16", "bf16", "int8/bf16"),
    "saved_model": ("fp16", "bf16", "int8/bf16"),
}
COMPILED = {"torchscript": ("fp16", "bf16", "int8"), "onnx": ("fp16", "int8")}
# Over the largest difference that was measured: for other samples, and for the depth that a tiny
# network lacks.
MARGIN = {"full": 3.0, "tiny": 10.0}


def candidates(model: Model) -> Iterator[tuple[str, str, Predict | BytemlperfError]]:
    """(precision, who computes, predict or why not) of everything that computes this model lower."""
    for name in EMULATED.get(model.card.format, ()):
        yield name, "device model", emulate(model, precision_named(name), sparsity=1)
    workload = Workload.load(model.card.name)
    backend = find_backend("CPU")
    for name in COMPILED.get(model.card.format, ()):
        with tempfile.TemporaryDirectory() as folder:
            options = {"precision": name}
            config = CompileConfig(model, workload, (1,), Path(folder) / "compiled", options)
            try:
                compiled = backend.compile_class()(options).compile(config, None)
            except BytemlperfError as error:
                yield name, "CPU", error
                continue
            runtime = backend.runtime_class()(compiled, model, workload)
            runtime.load(1)
            yield name, "CPU", runtime.predict


def by_rule(difference: float, preset: str, least: float, largest_output: float) -> float:
    """The difference times its margin, up to the next of 1, 2, 5 x 10^n; at least ``least``, and
    at most half of the largest output, down to one of them: more would let any answer pass."""
    series = [float(f"{m}e{n}") for n in range(-7, 7) for m in (1, 2, 5)]
    enough = min(s for s in series if s >= 0.9999 * MARGIN[preset] * difference)
    most = max(s for s in series if s <= largest_output / 2)
    return max(least, min(enough, most))


def measure(name: str, preset: str, samples: int) -> Iterator[dict[str, object]]:
    model = open_model(name, preset=preset)  # type: ignore[arg-type]
    source = model.load_source()
    feeds = [synthetic_feeds(model.card, [i], seed=0) for i in range(samples)]

    def outputs(predict: Predict) -> dict[int, Outputs]:
        return {i: predict(f) for i, f in enumerate(feeds)}

    exact = outputs(source)
    largest = max(float(abs(a).max()) for found in exact.values() for a in found.values())
    del source
    for precision, by, predict in candidates(model):
        row: dict[str, object] = {"model": name, "preset": preset, "precision": precision, "by": by}
        if isinstance(predict, BytemlperfError):
            yield row | {"failure": str(predict)}
            continue
        found = compare(exact, outputs(predict)).overall
        yield row | {
            "largest_output": largest,
            "max_difference": found.max_diff,
            "finite": found.finite,
            "tolerance": by_rule(found.max_diff, preset, model.card.tolerance, largest),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--preset", choices=["tiny", "full"], default="tiny")
    parser.add_argument("--samples", type=int, default=16)
    given = parser.parse_args()
    for name in given.names or list_cards():
        if load_card(name).format in EMULATED:
            for row in measure(name, given.preset, given.samples):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
