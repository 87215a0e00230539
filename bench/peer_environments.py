"""Peer environments: peers that somebody would pick instead, installed and run beside us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.servers import running_servers
from workers.settings import project_root

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer: its program, and the packages of its own environment."""

    name: str
    packages: tuple[str, ...]


CELERY = Peer("celery", ("celery[redis]==5.7.0", "hiredis", "psycopg[binary]"))
DBOS = Peer("dbos", ("dbos==3.4.0", "psycopg[binary,pool]"))
PROCRASTINATE = Peer("procrastinate", ("procrastinate==3.10.0", "psycopg[binary,pool]"))


def install(peer: Peer) -> str:
    """Make the peer's environment once; return its Python."""
    home = project_root() / "var" / "bench-peers" / peer.name
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        print(f"installing {peer.name} (once) …", file=sys.stderr)
        _run(sys.executable, "-m", "venv", "--without-pip", str(home))
        _run("python3", "-m", "pip", "--python", str(python), "install", "-q", *peer.packages)
        (home / "installed").touch()
    return str(python)


DRAWING = Peer("drawing", ("matplotlib==3.10.7",))
"""No peer, but like one: not worth a place among what everybody has to install."""


def draw(figures: dict[str, Any], folder: Path) -> None:
    """Draw the plots of a run as SVG files."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [install(DRAWING), str(PEERS / "drawing.py"), str(folder)]
    subprocess.run(command, input=json.dumps(figures), text=True, check=True)


def measure(peer: Peer, orders: int) -> tuple[str, float]:
    """Return the peer's version and the steps a second it takes, three an order, on PostgreSQL."""
    python = install(peer)
    with running_servers("postgresql") as servers:
        dsn = servers.settings.database_url.replace("postgresql+psycopg://", "postgresql://")
        redis_url = servers.settings.redis_url.replace("unix://", "redis+socket://")
        environ = {**os.environ, "PEER_DSN": dsn, "PEER_REDIS": redis_url, "PYTHONPATH": str(PEERS)}
        program = [python, f"{peer.name}_peer.py", str(orders)]
        process = subprocess.run(
            program, env=environ, cwd=PEERS, check=True, capture_output=True, text=True, timeout=600
        )
    report = json.loads(process.stdout.splitlines()[-1])
    return report["version"], report["commands_per_s"]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
