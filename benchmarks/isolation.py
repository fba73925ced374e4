"""A backend in a process of its own beside the same one in this process.

``python benchmarks/isolation.py [--pairs 15]`` prints the table of docs/isolation.md;
``python benchmarks/write_docs.py --only isolation.py`` writes it there.

One client in closed loop. The period is the time from one submission to the next: what a query
costs its client, both ways over the bridge included. The tensor's backend reads all of it. The
shared library is csrc/examples/doubler.c.
"""

from __future__ import annotations

import os
import pickle
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pairs import Row, main, table

import bytemlperf as bmp

SECONDS = 0.5
ALLOWED_US = 15.0
SMALL = {"x": np.zeros((8, 1), np.float32)}
TENSOR = {"x": np.ones((8, 3, 112, 112), np.float32)}  # 150 528 bytes a sample


def nothing(feeds: Any) -> None:
    """Answers at once."""


def total(feeds: Any) -> dict[str, Any]:
    """Reads every byte of its input."""
    return {"sum": feeds["x"].sum(axis=(1, 2, 3))}


def run(backend: Any, samples: Any) -> tuple[bmp.Result, float]:
    """Return a run and its median period in microseconds."""
    with bmp.LoadGenerator(backend, samples) as generator:
        result = generator.run(bmp.ClosedLoop(), duration=SECONDS, warmup=0.1)
    assert result.errors == 0, result.error_types
    assert result.stamps is not None
    submitted = np.sort(result.stamps["stamps"]["submitted"])
    return result, float(np.median(np.diff(submitted))) * 1e-3


def pickled(array: Any, rounds: int = 200) -> float:
    """Median microseconds of pickling and unpickling, without any way between processes."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        pickle.loads(pickle.dumps(array, pickle.HIGHEST_PROTOCOL))
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) * 1e-3


def doubler(folder: str) -> bmp.NativeBackend:
    """Compile the example in C."""
    source = Path(__file__).parent.parent / "csrc" / "examples" / "doubler.c"
    library = Path(folder) / "doubler.so"
    flags = ("-std=c11", "-O2", "-shared", "-fPIC", f"-I{bmp.get_include()}")
    subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
    return bmp.NativeBackend(library)


def measure(pairs: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return measured(pairs, doubler(folder))


def measured(pairs: int, native: bmp.NativeBackend) -> str:
    null = Row("period of an empty query, isolated", "in this process", "us")
    added = Row("what the bridge adds to it", "what it may", "us", "< 1")
    hop = Row("hop p50 (round trip less service)", "hop p99", "us")
    tensor = Row("period with a tensor of 150 KB, isolated", "in this process", "us")
    moved = Row("what the bridge adds to it", "pickle and unpickle alone", "us")
    service = Row("service time of that, isolated", "in this process", "us", "about 1")
    library = Row("period of a shared library's query, isolated", "in this process", "us")
    called = Row("what the bridge adds to it", "what it may", "us", "< 1")
    within = Row("service time of that, isolated", "in this process", "us")
    for _ in range(pairs):
        result, isolated_us = run(bmp.Isolated(nothing), SMALL)
        _, here_us = run(nothing, SMALL)
        null.add(isolated_us, here_us)
        added.add(isolated_us - here_us, ALLOWED_US)
        facts = result.environment["isolation"]
        hop.add(facts["hop_p50_us"], facts["hop_p99_us"])
        result, isolated_us = run(bmp.Isolated(total), TENSOR)
        here, here_us = run(total, TENSOR)
        tensor.add(isolated_us, here_us)
        moved.add(isolated_us - here_us, pickled(TENSOR["x"][:1]))
        service.add(1e6 * result.service_time.p50, 1e6 * here.service_time.p50)
        result, isolated_us = run(bmp.Isolated(native), SMALL)
        here, here_us = run(native, SMALL)
        library.add(isolated_us, here_us)
        called.add(isolated_us - here_us, ALLOWED_US)
        within.add(1e6 * result.service_time.p50, 1e6 * here.service_time.p50)
    worst = max(ours for ours, _ in added.pairs)
    load = os.getloadavg()[0]
    return (
        table([null, added, hop, tensor, moved, service, library, called, within])
        + f"\n\nThe largest of the {pairs} medians that the bridge added to an empty query is "
        f"{worst:.1f} us. Load average of the host at the end: {load:.1f}."
    )


if __name__ == "__main__":
    main(__doc__, measure)
