"""What the harness costs a real model: an ONNX Runtime session beside its bare ``run`` loop.

``python benchmarks/model_cost.py --pairs 300``      (pip install '.[all]')

Two models: YOLOv5s from the zoo at full size, of about 0.2 s, and a stack of matrix products of
0.7 ms, for which the harness is a larger part. The bare loop runs them in as many Python threads
as there are clients, as one would without a load generator. A host's speed changes by more than
the harness costs, from one second to the next: many short pairs say more than few long ones. The
longer model takes a seventh as many.
"""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from pairs import Row, main, table

import bytemlperf as bmp
from bytemlperf.zoo import load_card, open_model, synthetic_feeds

WARMUP = 0.1  # until the kernel has spread new threads over the cores
WIDTH = 128
LAYERS = 32
ROWS = 64
IMAGES = 4

Queries = list[dict[str, np.ndarray]]


def stack() -> bytes:
    """x [ROWS, WIDTH] through LAYERS products of seeded weights and a ReLU each."""
    random = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for i in range(LAYERS):
        weight = random.standard_normal((WIDTH, WIDTH), np.float32) / np.sqrt(WIDTH)
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{i}"], [f"m{i}"]))
        name = "y" if i == LAYERS - 1 else f"r{i}"
        nodes.append(helper.make_node("Relu", [f"m{i}"], [name]))
    shape = [ROWS, WIDTH]
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def session(model: bytes | Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def bare(sessions: list[ort.InferenceSession], queries: Queries, seconds: float) -> float:
    """Queries a second of ``session.run`` in one thread for each session, on the same inputs in
    the same order as the generator's clients have them, counted as it counts them: what is
    begun in the window and, of the last one, the part within it."""
    counts = [0.0] * len(sessions)
    start = time.perf_counter() + WARMUP
    end = start + seconds

    def loop(i: int) -> None:
        run = sessions[i].run
        query, begun = i, 0.0
        while (now := time.perf_counter()) < end:
            counts[i] += begun >= start  # the query before this one
            begun = now
            run(None, queries[query % len(queries)])
            query += len(sessions)
        counts[i] += (end - begun) / (now - begun)

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def through(generator: bmp.LoadGenerator, clients: int, seconds: float) -> float:
    load = bmp.ClosedLoop(clients)
    return generator.run(load, duration=seconds, warmup=WARMUP).queries_per_second


def compare(row: Row, model: bytes | Path, queries: Queries, clients: int, pairs: int) -> None:
    """Add the pairs to the row: windows of 0.2 s, of 1 s for the longer model."""
    sessions = [session(model) for _ in range(clients)]
    free = iter(list(sessions))
    seconds = 0.2 if isinstance(model, bytes) else 1.0

    class Backend:
        def load(self, batch_size: int) -> None:
            # What the bare loop calls, with no line of Python around it.
            self.predict = functools.partial(next(free).run, None)

    with bmp.LoadGenerator(Backend, queries, instances=clients) as generator:
        through(generator, clients, seconds)
        bare(sessions, queries, seconds)
        for pair in range(pairs):
            if pair % 2:
                row.add(through(generator, clients, seconds), bare(sessions, queries, seconds))
            else:
                other = bare(sessions, queries, seconds)
                row.add(through(generator, clients, seconds), other)


def measure(pairs: int) -> str:
    samples = np.random.default_rng(1).random((ROWS * 16, WIDTH), dtype=np.float32)
    card = load_card("yolov5-onnx-fp32")
    cases = [
        (
            "YOLOv5s",
            open_model(card.name).path,
            [dict(synthetic_feeds(card, [i], seed=1)) for i in range(IMAGES)],
            max(1, pairs // 7),
        ),
        ("matrix products", stack(), [{"x": rows} for rows in np.split(samples, 16)], pairs),
    ]
    tables = []
    for name, model, queries, count in cases:
        rows = [Row(f"{name}, {n} client(s)", "bare loop", "queries/s", ">= 0.99") for n in (1, 3)]
        for row, clients in zip(rows, (1, 3), strict=True):
            compare(row, model, queries, clients, count)
        tables.append(table(rows))
    return "\n\n".join(tables)


if __name__ == "__main__":
    main(__doc__, measure)
