"""Export: how fast a million orders leave, and how much memory that takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

from bench.measures.memory import run_watched
from bench.servers import BenchServers, running_servers
from tests.support.datasets.many_orders import write_orders

FORMATS = ("jsonl", "csv", "parquet")
EXPORTS = ("orders", "events", "postings")

EARLY_SHARE = 10
"""The share of the rows after which memory is looked at for the first time."""


def figures(database: str, count: int) -> dict[str, float]:
    """Export so many orders, their events and postings; rows a second, and peak memory in MiB.

    `memory_ratio` is the most that any export held at its end, by what it held at a tenth of it.
    """
    results: dict[str, float] = {"orders": count, "memory_ratio": 0.0}
    with running_servers(database) as servers:
        write_orders(servers.engine, count)
        for dataset, fmt in product(EXPORTS, FORMATS):
            early = run_export(servers, dataset, fmt, max(1, count // EARLY_SHARE))
            late = run_export(servers, dataset, fmt, None)
            ratio = round(late["peak_kib"] / early["peak_kib"], 3)
            results["memory_ratio"] = max(results["memory_ratio"], ratio)
            results[f"{dataset}_{fmt}_per_s"] = round(late["rows"] / late["took_s"])
            results[f"{dataset}_{fmt}_peak_mib"] = round(late["peak_kib"] / 1024, 1)
    return results


def run_export(
    servers: BenchServers, dataset: str, fmt: str, limit: int | None
) -> dict[str, float]:
    """Run one export in a process of its own; return its rows, seconds and peak memory."""
    output, report = servers.settings.var / f"{dataset}.{fmt}", servers.settings.var / "report"
    command = [sys.executable, "-m", "ops.cli", "export", dataset, "--format", fmt, "--json"]
    command += ["--output", str(output), *(("--limit", str(limit)) if limit else ())]
    took_s, peak_kib = run_watched(servers, command, report, subprocess.DEVNULL)
    summary = json.loads(report.read_bytes())
    _remove(output)
    return {"rows": summary["rows"], "took_s": took_s, "peak_kib": peak_kib}


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()
        output.with_name(f"{output.name}.cursor").unlink()
