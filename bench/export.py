"""Export: how fast a million orders leave, and how much memory that takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

from bench.memory import watched
from bench.stage import Stage, stage
from tests.filled import fill

FORMATS = ("jsonl", "csv", "parquet")

WHATS = ("orders", "events", "postings")

EARLY = 10
"""The share of the rows after which memory is looked at for the first time."""


def figures(database: str, count: int) -> dict[str, float]:
    """Export so many orders, their events and postings; rows a second, and peak memory in MiB.

    `memory_ratio` is the most that any export held at its end, by what it held at a tenth of it.
    """
    found: dict[str, float] = {"orders": count, "memory_ratio": 0.0}
    with stage(database) as here:
        fill(here.engine, count)
        for what, form in product(WHATS, FORMATS):
            early = exported(here, what, form, max(1, count // EARLY))
            late = exported(here, what, form, None)
            ratio = round(late["peak_kib"] / early["peak_kib"], 3)
            found["memory_ratio"] = max(found["memory_ratio"], ratio)
            found[f"{what}_{form}_per_s"] = round(late["rows"] / late["took_s"])
            found[f"{what}_{form}_peak_mib"] = round(late["peak_kib"] / 1024, 1)
    return found


def exported(here: Stage, what: str, form: str, limit: int | None) -> dict[str, float]:
    """Run one export in a process of its own; return its rows, seconds and peak memory."""
    output, report = here.settings.var / f"{what}.{form}", here.settings.var / "report"
    words = [sys.executable, "-m", "ops.cli", "export", what, "--format", form, "--json"]
    words += ["--output", str(output), *(("--limit", str(limit)) if limit else ())]
    took_s, peak_kib = watched(here, words, report, subprocess.DEVNULL)
    told = json.loads(report.read_bytes())
    _remove(output)
    return {"rows": told["rows"], "took_s": took_s, "peak_kib": peak_kib}


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()
        output.with_name(f"{output.name}.cursor").unlink()
