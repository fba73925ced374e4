"""Which deployable form of a torch model is fastest on this CPU: the choice behind backends/CPU.

``python benchmarks/torch_formats.py [MODEL] [--batch 1] [--rounds 7] [--threads 1]``

Each round times every form once, in turn, so that drift of the host meets all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from bytemlperf import zoo
from bytemlperf.zoo.torch_build import tensors, torchscript_is_deprecated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="roberta-torch-fp32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = zoo.open_model(arguments.model, progress=lambda text, _: print(text))
    feeds = zoo.synthetic_feeds(model.card, range(arguments.batch), seed=0)
    inputs = tensors(feeds, model.card)
    eager = model.load_source().module  # type: ignore[attr-defined]
    with torchscript_is_deprecated():
        traced = torch.jit.load(str(model.path)).eval()
        frozen = torch.jit.freeze(torch.jit.load(str(model.path)).eval())
        optimized = torch.jit.optimize_for_inference(torch.jit.load(str(model.path)).eval())
    exported = torch.export.export(eager, tuple(inputs)).module()
    forms = {
        "eager": eager,
        "TorchScript": traced,
        "TorchScript, frozen": frozen,
        "TorchScript, optimized for inference": optimized,
        "torch.export": exported,
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    with torch.inference_mode():
        for form in forms.values():
            for _ in range(3):
                form(*inputs)
        for _ in range(arguments.rounds):
            for name, form in forms.items():
                start = time.perf_counter()
                form(*inputs)
                times[name].append(time.perf_counter() - start)
    base = statistics.median(times["eager"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:38s} {1e3 * median:9.1f} ms  {median / base:6.3f} of eager")


if __name__ == "__main__":
    main()
