"""Bench: the benchmark runs to its end; how fast anything was is nobody's test."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.run import PARTS
from workers.database.repository import MAX_ORDERS_TOLD
from workers.settings import project_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_benchmark_measures_every_part_but_the_peers() -> None:
    parts = [part for part in PARTS if part != "peers"]
    options = [argument for part in parts for argument in ("--only", part)]
    command = [sys.executable, "-m", "bench.run", "--tiny", "--json", *options]
    process = subprocess.run(
        command, cwd=project_root(), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["ratios"].keys() >= {"single_sqlite", "bulk100_sqlite", "order_sqlite"}
    assert report["deadlines"].keys() >= {"idle_tick_ms", "storm_per_s", "lateness_p99_s"}
    assert report["path"]["sqlite"]["settle_us"] > report["path"]["sqlite"]["engine_us"] > 0
    assert (
        report["sizes"]["sqlite"]["bytes_an_order"] > report["sizes"]["sqlite"]["stream_bytes"] > 0
    )
    assert report["latency"]["sqlite"]["p99"] < float("inf")
    assert report["memory"]["commands"] > 0
    assert report["growth"]["cost_ratio"] > 0
    assert report["export"]["sqlite"]["orders_parquet_per_s"] > 0
    assert report["extend"]["sqlite"]["orders"] == 100
    for change in report["creators"]["sqlite"].values():
        assert change["orders"] > 0
        assert change["wrong"] == 0
        assert change["largest"] <= MAX_ORDERS_TOLD
    waits = report["neighbours"]["sqlite"]
    assert waits["one message of 4 MiB"]["noise"] > waits["nobody"]["noise"] == 0
    assert max(row["p99_ms"] for row in waits.values()) < float("inf")
    assert report["reads"]["sqlite"]["large agency"]["pages"] > 0
