"""Bulk extension: how long, and with how much memory, to extend a hundred thousand orders."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

from sqlalchemy import func, select

from bench.measures.deadlines import arm
from bench.measures.memory import run_watched
from bench.servers import process_command, running_servers
from workers.database import schema
from workers.database.engine import reading
from workers.timestamps import now_us

LEAD = timedelta(hours=20)
OPTIONS = ("--by", "PT3H", "--reason", "the payment provider was down", "--as", "bench", "--yes")


def figures(database: str, count: int) -> dict[str, float]:
    """Extend so many open orders with two workers; seconds, and the most MiB that it held.

    `planned_s` is until the first order was extended: by then the whole plan is on the disk.
    """
    with running_servers(database) as servers:
        arm(servers, count, iter(lambda: LEAD, None))
        is_extension = schema.events.c.type == "deadline.extended"
        first_query = select(func.min(schema.events.c.recorded_at)).where(is_extension)
        report = servers.settings.var / "report"
        command = [sys.executable, "-m", "ops.cli", "extend", "--state", "offered"]
        command += [*OPTIONS, "--json"]
        with servers.running(*map(process_command, ("worker", "worker", "relay"))):
            began_us = now_us()
            took_s, peak_kib = run_watched(servers, command, report)
        with reading(servers.engine) as connection:
            first_us = connection.execute(first_query).scalar_one()
        summary = json.loads(report.read_text().splitlines()[-1])
    return {
        "orders": summary["outcomes"]["applied"],
        "planned_s": round((first_us - began_us) / 1e6, 1),
        "took_s": round(took_s, 1),
        "peak_mib": round(peak_kib / 1024, 1),
    }
