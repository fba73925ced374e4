"""This generator beside MLPerf LoadGen (``pip install mlcommons-loadgen``), in interleaved pairs.

``python benchmarks/against_loadgen.py [--pairs 15]``

Each measurement runs in a process of its own, one after the other (A B A B ...), so that drift of
the host meets both and neither inherits the other's threads. Both drive a Python function that
does nothing; LoadGen's latency for it is its own lateness.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 1.0
RATE = 50_000.0


def loadgen(scenario: str, rate: float) -> dict[str, float]:
    """LoadGen with a Python system under test that completes at once."""
    import mlperf_loadgen as lg

    def issue(samples: list[object]) -> None:
        lg.QuerySamplesComplete([lg.QuerySampleResponse(s.id, 0, 0) for s in samples])  # type: ignore[attr-defined]

    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(1e3 * SECONDS)
    settings.min_query_count = 100
    settings.single_stream_expected_latency_ns = 1000
    settings.server_target_qps = rate
    settings.server_target_latency_ns = 1_000_000_000
    sut = lg.ConstructSUT(issue, lambda: None)
    qsl = lg.ConstructQSL(1024, 1024, lambda _: None, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        log = lg.LogSettings()
        log.log_output.outdir = folder
        log.log_output.copy_summary_to_stdout = False
        log.enable_trace = False
        lg.StartTestWithLogSettings(sut, qsl, settings, log, "")
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    found = {
        name: float(re.search(rf"{label}\s*: ([\d.]+)", summary).group(1))  # type: ignore[union-attr]
        for name, label in (
            ("p50", r"50.00 percentile latency \(ns\)"),
            ("p99", r"99.00 percentile latency \(ns\)"),
        )
    }
    rates = re.findall(
        r"(?:QPS w/ loadgen overhead|Completed samples per second)\s*: ([\d.]+)", summary
    )
    return found | {"qps": float(rates[0])}


def ours(clients: int, rate: float) -> dict[str, float]:
    """This generator: closed loop, or Poisson where a rate is given."""
    import bytemlperf as bmp

    with bmp.LoadGenerator(lambda feeds: None, instances=clients) as generator:
        pattern = bmp.Poisson(rate) if rate else bmp.ClosedLoop(clients)
        result = generator.run(pattern, duration=SECONDS, warmup=0.05)
    return {
        "qps": result.queries_per_second,
        "p50": 1e9 * result.schedule_lag.p50,
        "p99": 1e9 * result.schedule_lag.p99,
    }


def measured(*arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", *arguments], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--one", nargs=3, metavar=("WHO", "WHAT", "RATE"))
    arguments = parser.parse_args()
    if arguments.one:
        who, what, rate = arguments.one
        run = ours(int(what), float(rate)) if who == "ours" else loadgen(what, float(rate))
        print(json.dumps(run))
        return
    print(f"median of {arguments.pairs} interleaved pairs, Python no-op\n")
    print("| figure | bytemlperf | LoadGen | ratio |\n|---|---|---|---|")
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(arguments.pairs):
        one, theirs = measured("ours", "1", "0"), measured("loadgen", "SingleStream", "1")
        three = measured("ours", "3", "0")
        poisson = measured("ours", "1", str(RATE))
        server = measured("loadgen", "Server", str(RATE))
        for name, pair in (
            ("one client, queries/s", (one["qps"], theirs["qps"])),
            (
                "three clients on three instances, queries/s (beside one)",
                (three["qps"], one["qps"]),
            ),
            (f"Poisson {RATE:,.0f}/s, lag p50, ns", (poisson["p50"], server["p50"])),
            (f"Poisson {RATE:,.0f}/s, lag p99, ns", (poisson["p99"], server["p99"])),
        ):
            rows.setdefault(name, []).append(pair)
    for name, pairs in rows.items():
        mine, others = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"| {name} | {mine:,.0f} | {others:,.0f} | {ratio:.3g} |")


if __name__ == "__main__":
    main()
