"""Figures beside their floor or their peer, taken in turns so that drift of the host meets both."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from bytemlperf.stats import binomial_ranks


@dataclass
class Row:
    """One figure: ours and the other's, pair by pair."""

    what: str
    other: str
    unit: str
    bound: str = ""  # what the ratio has to be
    pairs: list[tuple[float, float]] = field(default_factory=list)

    def add(self, ours: float, other: float) -> None:
        self.pairs.append((ours, other))

    def __str__(self) -> str:
        mine, others = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        ratios = sorted(a / b if b else float("nan") for a, b in self.pairs)
        return (
            f"| {self.what} | {_number(mine)} | {self.other} | {_number(others)} | {self.unit} | "
            f"{statistics.median(ratios):.3g} | {_interval(ratios)} | {self.bound} |"
        )


def _interval(ordered: list[float]) -> str:
    """Of the median of independent values, from their order statistics."""
    low, high = binomial_ranks(len(ordered), 0.5, 0.95)
    if low < 1 or high > len(ordered):
        return ""
    return f"{ordered[low - 1]:.3g} .. {ordered[high - 1]:.3g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """A Markdown table: medians of both sides, and the median of the pairwise ratios."""
    pairs = len(rows[0].pairs)
    return "\n".join(
        [
            f"Medians of {pairs} interleaved pairs; the ratio is the median of the pairs' ratios,",
            "with its 95 % interval.",
            "",
            "| bytemlperf | | beside | | unit | ratio | 95 % | wanted |",
            "|---|---|---|---|---|---|---|---|",
            *map(str, rows),
        ]
    )


def main(text: str | None, measure: Callable[[int], str]) -> None:
    """``--pairs N`` of a benchmark's command line; prints what it measured."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=15)
    print(measure(parser.parse_args().pairs))
