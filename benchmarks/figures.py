"""Runs what ``docs/figures.md`` shows and draws it: ``docs/figures/stall.svg``, ``coverage.svg``.

``python benchmarks/figures.py [--runs 100]``      virtual time, two minutes; needs matplotlib
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import bytemlperf as bmp
from bytemlperf.stats import binomial_ranks

FOLDER = Path(__file__).parent.parent / "docs" / "figures"
SERVICE = 1e-3
QUERIES = 50_000
LOADS = (0.01, 0.3, 0.5, 0.65, 0.8)
POINTS = 240  # that a curve is drawn with


def stall(pyplot: Any) -> None:
    """One stall of 1 s in 30 s at 1000/s, service 0.1 ms: what is charged and what is served."""
    device = bmp.SimulatedDevice(bmp.Deterministic(1e-4), stall=(10.0, 1.0))
    with bmp.LoadGenerator(device, clock="virtual") as generator:
        result = generator.run(bmp.Constant(1000.0), duration=30.0)
    assert result.stamps is not None
    times = result.stamps["stamps"]
    thin = slice(None, None, times.size // POINTS)
    when = times["intended"][thin] * 1e-9
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    shares = np.linspace(0, 4, POINTS)
    for first, label in (("intended", "latency (charged)"), ("entered", "service time")):
        left.plot(when, (times["completed"] - times[first])[thin] * 1e-9, ".", ms=2, label=label)
        part = result.latency if first == "intended" else result.service_time
        right.plot(shares, [part.quantile(1 - 10**-x) for x in shares], label=label)
    left.set(xlabel="intended time (s)", ylabel="s", yscale="log")
    right.set(xlabel="percentile", ylabel="s", yscale="log")
    right.set_xticks(range(5), ["0", "90", "99", "99.9", "99.99"])
    left.legend()
    save(figure, "stall")
    print(f"p99 {result.latency.p99:.3f} s charged, {result.service_time.p99:.1e} s served")


def covered(rho: float, seed: int) -> dict[str, bool | None]:
    """Whether each kind of 95 % interval of p99 holds M/M/1's true one; None: none was given."""
    true = -SERVICE / (1 - rho) * math.log(0.01)
    device = bmp.SimulatedDevice(bmp.Exponential(SERVICE))
    found = {}
    for name, stamps in (("effective, from stamps", 64 << 20), ("effective, from windows", 0)):
        with bmp.LoadGenerator(device, clock="virtual") as generator:
            load = bmp.Poisson(rho / SERVICE)
            result = generator.run(load, queries=QUERIES, warmup=50.0, seed=seed, stamps=stamps)
        found[name] = result.latency.interval(0.99)
        if result.stamps is not None:
            low, high = binomial_ranks(QUERIES, 0.99, 0.95)
            times = result.stamps["stamps"]
            ordered = np.sort(times["completed"] - times["intended"]) * 1e-9
            found["as if independent"] = (ordered[low - 1], ordered[high - 1])
    return {name: None if i is None else i[0] <= true <= i[1] for name, i in found.items()}


def coverage(pyplot: Any, runs: int) -> None:
    """How often 95 % intervals of p99 hold the true one, by load."""
    shares: dict[str, list[float]] = {}
    for rho in LOADS:
        outcomes = [covered(rho, seed) for seed in range(runs)]
        for name in outcomes[0]:
            given = [o[name] for o in outcomes if o[name] is not None]
            shares.setdefault(name, []).append(sum(map(bool, given)) / max(1, len(given)))
        print(rho, {name: round(values[-1], 3) for name, values in shares.items()}, flush=True)
    figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
    for name, values in sorted(shares.items()):
        axes.plot(LOADS, values, "o-", label=name)
    axes.axhline(0.95, color="gray", lw=0.8, ls="--")
    axes.set(xlabel="load (rho)", ylabel="intervals that hold p99", ylim=(0, 1.02))
    axes.set_title(f"95 % intervals of p99, M/M/1, {QUERIES:,} queries, {runs} runs", fontsize=9)
    axes.legend()
    save(figure, "coverage")


def save(figure: Any, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "bytemlperf", "font.size": 9}
    from matplotlib import pyplot

    stall(pyplot)
    coverage(pyplot, runs)


if __name__ == "__main__":
    main()
