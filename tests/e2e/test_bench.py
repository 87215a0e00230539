"""Bench: the benchmark runs to its end; how fast anything was is nobody's test."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.run import PARTS
from workers.settings import project_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_part_but_the_peers_is_measured() -> None:
    parts = [one for one in PARTS if one != "peers"]
    chosen = [argument for part in parts for argument in ("--only", part)]
    command = [sys.executable, "-m", "bench.run", "--tiny", "--json", *chosen]
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ratios"].keys() >= {"single_sqlite", "bulk100_sqlite"}
    assert found["deadlines"].keys() >= {"idle_tick_ms", "storm_per_s", "lateness_p99_s"}
    assert found["path"]["sqlite"]["settle_us"] > found["path"]["sqlite"]["engine_us"] > 0
    assert found["sizes"]["sqlite"]["bytes_an_order"] > found["sizes"]["sqlite"]["stream_bytes"] > 0
    assert found["latency"]["sqlite"]["p99"] < float("inf")
    assert found["memory"]["commands"] > 0
    assert found["growth"]["cost_ratio"] > 0
    assert found["export"]["sqlite"]["orders_parquet_per_s"] > 0
    assert found["extend"]["sqlite"]["orders"] == 100
    assert found["reads"]["sqlite"]["large agency"]["pages"] > 0
