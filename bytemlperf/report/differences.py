"""The numeric check beside the report: a table by sample, and a plot."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from bytemlperf.extras import require
from bytemlperf.numeric import NumericReport

_COLUMNS = (
    "elements", "mean_diff", "std_diff", "max_diff", "mean_rel_diff", "max_rel_diff", "max_at",
    "cosine", "snr_db", "nan_reference", "nan_candidate", "inf_reference", "inf_candidate",
)  # fmt: skip


def save_table(report: NumericReport, path: Path) -> Path:
    """Write one CSV row a sample and output; the columns are named as in ``Difference``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sample", "output", *_COLUMNS))
        for sample, outputs in report.by_sample.items():
            for name, difference in outputs.items():
                writer.writerow((sample, name, *(getattr(difference, c) for c in _COLUMNS)))
    return path


def draw(report: NumericReport, tolerance: float, title: str, path: Path) -> None:
    """Draw how large the differences are, absolute, in units in the last place, and by sample.

    Raises:
        MissingExtra: where matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra="report", purpose="the plot of the differences")
    figure = figures.Figure(figsize=(15, 4.5), layout="constrained")
    figure.suptitle(title)
    size, ulps, samples = figure.subplots(1, 3)
    _bars(size, _by_size(report), "|difference|", "elements")
    bins = {_ulp_label(k): n for k, n in sorted(report.overall.ulps.items())}
    _bars(ulps, bins, "units in the last place", "elements")
    _draw_samples(samples, report, tolerance)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _by_size(report: NumericReport) -> dict[str, int]:
    """Elements by the power of two below |d|; small powers that hold little fall together."""
    exponents = report.overall.exponents
    powers = sorted(e for e in exponents if e is not None)
    bins = {"0": exponents[None]} if None in exponents else {}
    lowest = max(powers, default=0) - 30
    for e in powers:
        label = f"$2^{{{e}}}$" if e > lowest else f"$<2^{{{lowest + 1}}}$"
        bins[label] = bins.get(label, 0) + exponents[e]
    return bins


def _ulp_label(k: int) -> str:
    return str(k) if k < 2 else f"$2^{{{k - 1}}}$"


def _bars(axes: Any, bins: dict[str, int], x: str, y: str) -> None:
    axes.bar(list(bins), list(bins.values()), width=0.9)
    axes.set(xlabel=f"{x} from", ylabel=y)
    if bins:
        axes.set_yscale("log")
    axes.tick_params(axis="x", labelrotation=90, labelsize=7)


def _draw_samples(axes: Any, report: NumericReport, tolerance: float) -> None:
    largest = [max(d.max_diff for d in outputs.values()) for outputs in report.by_sample.values()]
    lost = [
        sample
        for sample, outputs in report.by_sample.items()
        if not all(d.finite for d in outputs.values())
    ]
    axes.plot(list(report.by_sample), largest, ".", label="largest of a sample")
    axes.axhline(tolerance, color="tab:red", linewidth=1, label=f"tolerance {tolerance:g}")
    if lost:
        axes.plot(lost, [tolerance] * len(lost), "x", color="tab:red", label="NaN or Inf")
    if any(value > 0 and math.isfinite(value) for value in largest):
        axes.set_yscale("log")
    axes.set(xlabel="sample", ylabel="largest |difference|")
    axes.legend(fontsize=8)
