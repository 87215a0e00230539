"""Extend: how long it takes to give a hundred thousand orders more time, and how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import timedelta

from sqlalchemy import func, select

from bench.deadlines import arm
from bench.memory import status_kib
from bench.stage import LOOK_S, earnest, stage
from workers import tables
from workers.database import reading

AHEAD = timedelta(hours=20)
WHAT = ("--by", "PT3H", "--reason", "the payment provider was down", "--as", "bench", "--yes")


def figures(database: str, count: int) -> dict[str, float]:
    """Extend so many open orders with two workers; seconds, and the most MiB that it held.

    `planned_s` is until the first order was extended: by then the whole plan is on the disk.
    """
    with stage(database) as here:
        arm(here, count, iter(lambda: AHEAD, None))
        kind = tables.events.c.type == "deadline.extended"
        first = select(func.min(tables.events.c.recorded_at)).where(kind)
        report = here.settings.var / "report"
        words = [sys.executable, "-m", "ops.cli", "extend", "--state", "offered", *WHAT, "--json"]
        with here.running(*map(earnest, ("worker", "worker", "relay"))), report.open("wb") as out:
            began, began_us, peak_kib = time.monotonic(), time.time_ns() // 1_000, 0
            child = subprocess.Popen(words, env=here.environ(), stdout=out)
            while child.poll() is None:
                peak_kib = max(peak_kib, status_kib(child.pid, "VmHWM"))
                time.sleep(LOOK_S)
            took_s = time.monotonic() - began
        with reading(here.engine) as connection:
            first_us = connection.execute(first).scalar_one()
        told = json.loads(report.read_text().splitlines()[-1])
    return {
        "orders": told["outcomes"]["applied"],
        "planned_s": round((first_us - began_us) / 1e6, 1),
        "took_s": round(took_s, 1),
        "peak_mib": round(peak_kib / 1024, 1),
    }
