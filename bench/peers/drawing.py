"""Drawing: the plots of one run of the benchmark, read from standard input as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#a0aec0"


def throughput(figures: dict[str, Any], folder: Path) -> None:
    """Draw commands a second by what carries them."""
    rates = dict(sorted(figures["rates"].items(), key=lambda entry: entry[1]))
    colours = [
        BLUE if name.startswith("sqlite") else ORANGE if name.startswith("postgresql") else GREY
        for name in rates
    ]
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(rates) + 1))
    bars = axes.barh(list(rates), list(rates.values()), color=colours)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set_xlabel("commands (or messages) a second")
    save(figure, folder / "throughput.svg")


def latency(figures: dict[str, Any], folder: Path) -> None:
    """Draw percentiles of the wait for a published outcome."""
    figure, axes = plt.subplots(figsize=(6, 3))
    for (database, values), colour in zip(figures["latency"].items(), (BLUE, ORANGE), strict=False):
        percents = [name for name in values if name.startswith("p") and name[1].isdigit()]
        label = f"{database}, {values['per_s']:,.0f} commands/s"
        axes.plot(percents, [values[name] for name in percents], "o-", color=colour, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("ms from submission\nto published outcome")
    axes.legend()
    save(figure, folder / "latency.svg")


def save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib's own type
    """Write one file, the same for the same figures."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "earnest"
    run_figures, target = json.load(sys.stdin), Path(sys.argv[1])
    throughput(run_figures, target)
    if "latency" in run_figures:
        latency(run_figures, target)
