"""Memory: what a worker process holds while it settles more and more."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench import workload
from bench.servers import (
    POLL_INTERVAL_S,
    BenchServers,
    process_command,
    running_servers,
    wait_until_empty,
)
from workers.client import CommandClient
from workers.queue.redis import COMMANDS, Keys

ORDERS_PER_STEP = 4_000
"""Orders between two looks; each is three commands."""


def growth(commands: int) -> list[tuple[int, int]]:
    """Settle so many commands in one worker; return (settled, resident KiB) along the way."""
    with running_servers("sqlite") as servers:
        client = CommandClient(servers.redis)
        client.submit(workload.registration())
        samples = []
        with servers.running(process_command("worker"), process_command("relay")) as (worker, _):
            for first in range(0, max(1, commands // 3), ORDERS_PER_STEP):
                client.submit_many(workload.orders(ORDERS_PER_STEP, first=first))
                wait_until_empty(lambda: int(servers.redis.hlen(Keys(COMMANDS).messages)))
                samples.append(((first + ORDERS_PER_STEP) * 3, resident_kib(worker.pid)))
        return samples


def flatness(samples: list[tuple[int, int]]) -> dict[str, float]:
    """Compare the last figure with the one at a tenth of the way, when caches have filled."""
    early = samples[len(samples) // 10]
    return {
        "commands": samples[-1][0],
        "early_mib": round(early[1] / 1024, 1),
        "late_mib": round(samples[-1][1] / 1024, 1),
        "ratio": round(samples[-1][1] / early[1], 3),
    }


def run_watched(
    servers: BenchServers, command: Sequence[str], report: Path, errors: int | None = None
) -> tuple[float, int]:
    """Run a program to its end, its output going to a file; return seconds and peak KiB.

    `errors` is where its complaints and progress go, as `Popen` has it; by default, to ours.
    """
    began, peak_kib = time.monotonic(), 0
    with report.open("wb") as out:
        process = subprocess.Popen(command, env=servers.environ(), stdout=out, stderr=errors)
        while process.poll() is None:
            peak_kib = max(peak_kib, status_kib(process.pid, "VmHWM"))
            time.sleep(POLL_INTERVAL_S)
    return time.monotonic() - began, peak_kib


def resident_kib(pid: int) -> int:
    """Read a process's resident memory from Linux."""
    return status_kib(pid, "VmRSS")


def status_kib(pid: int, name: str) -> int:
    """Read a line of a process's status; 0 of one that has ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
