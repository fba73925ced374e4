"""What the harness costs a real model: an ONNX Runtime session beside its bare ``run`` loop.

``python benchmarks/model_cost.py [--pairs 100]``      (pip install onnx onnxruntime)

The model is a stack of matrix products of about 1 ms. The bare loop runs it in as many Python
threads as there are clients, as one would without a load generator. A host's speed changes by more
than the harness costs, so it takes many short pairs to see it.
"""

from __future__ import annotations

import functools
import threading
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from pairs import Row, main, table

import bytemlperf as bmp

SECONDS = 0.5
WARMUP = 0.2  # until the kernel has spread new threads over the cores
WIDTH = 128
LAYERS = 32
ROWS = 64


def model() -> bytes:
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


def session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model(), options, providers=["CPUExecutionProvider"])


def bare(sessions: list[ort.InferenceSession], queries: list[dict[str, np.ndarray]]) -> float:
    """Queries a second of ``session.run`` in one thread for each session, on the same inputs in
    the same order as the generator's clients have them, counted as it counts them: what is
    begun in the window and, of the last one, the part within it."""
    counts = [0.0] * len(sessions)
    start = time.perf_counter() + WARMUP
    end = start + SECONDS

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
    return sum(counts) / SECONDS


def through(generator: bmp.LoadGenerator, clients: int) -> float:
    load = bmp.ClosedLoop(clients)
    return generator.run(load, duration=SECONDS, warmup=WARMUP).queries_per_second


def measure(pairs: int) -> str:
    samples = {"x": np.random.default_rng(1).random((ROWS * 16, WIDTH), dtype=np.float32)}
    queries = [{"x": rows} for rows in np.split(samples["x"], 16)]
    rows = []
    for clients in (1, 3):
        row = Row(f"ONNX Runtime, {clients} client(s)", "bare loop", "queries/s", ">= 0.99")
        sessions = [session() for _ in range(clients)]
        free = iter(list(sessions))

        class Backend:
            def load(self, batch_size: int, free=free) -> None:  # type: ignore[no-untyped-def]
                # What the bare loop calls, with no line of Python around it.
                self.predict = functools.partial(next(free).run, None)

        with bmp.LoadGenerator(Backend, samples, batch_size=ROWS, instances=clients) as generator:
            through(generator, clients)
            bare(sessions, queries)
            for pair in range(pairs):
                if pair % 2:
                    row.add(through(generator, clients), bare(sessions, queries))
                else:
                    other = bare(sessions, queries)
                    row.add(through(generator, clients), other)
        rows.append(row)
    return table(rows)


if __name__ == "__main__":
    main(__doc__, measure)
