"""Attacks: what one address without a token, or with any, does to the requests of others.

The web process is a real one, attackers and others reach it over loopback, from one address.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from ops.local.up import LocalStack, earnest_programs
from tests.web.gateway_harness import TOKENS
from workers.settings import Settings

TIMEOUT_S = 60
MAX_P99_S = 1.0
MIN_REQUESTS = 100
ASKING_INTERVAL_S = 0.01

MIB = 1024 * 1024
LONGEST_BODY_BYTES = 4 * MIB
CLIENT_TOKEN = "client-token-000001"


@pytest.fixture(scope="module")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run a web process where tokens are wanted, and what it needs."""
    var = tmp_path_factory.mktemp("attacked")
    tokens = var / "tokens"
    tokens.write_text(TOKENS)
    environ = {"EARNEST_WEB_BIND": "127.0.0.1:0", "EARNEST_TOKENS": str(tokens)}
    programs = [p for p in earnest_programs(workers=1) if p.kind in {"migrate", "web"}]
    settings = Settings.read(environ, var=var)
    with LocalStack(settings, quiet=True, programs=programs) as local_stack:
        yield local_stack


@pytest.fixture
def port(local_stack: LocalStack) -> int:
    web_info = json.loads((local_stack.settings.var / "web.json").read_text())
    return urlsplit(web_info["url"]).port or 0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT_S)


def head_of(path: str, *fields: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: here", "Content-Type: application/json", *fields)
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def others_are_served(port: int) -> Iterator[None]:
    """Ask for what needs the database, again and again, meanwhile; nobody may wait for long."""
    over = threading.Event()
    durations_s: list[float] = []
    statuses: set[int] = set()

    def ask() -> None:
        while not over.is_set() or len(durations_s) < MIN_REQUESTS:
            began_at = time.monotonic()
            connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
            try:
                connection.request("GET", "/readyz")
                statuses.add(connection.getresponse().status)
            except OSError:
                statuses.add(0)
            finally:
                connection.close()
            durations_s.append(time.monotonic() - began_at)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        over.set()
        asker.join(TIMEOUT_S)
    assert not asker.is_alive()
    assert statuses == {200}
    assert percentile_99(durations_s) < MAX_P99_S


def percentile_99(durations_s: list[float]) -> float:
    """Return what 99 of 100 requests would have stayed under, had there been one every 10 ms.

    Whoever asks one after the other asks least while it is slow: each long wait stands for those
    that would have begun, and waited, during it.
    """
    at_each_interval = sorted(
        duration_s - n * ASKING_INTERVAL_S
        for duration_s in durations_s
        for n in range(int(duration_s / ASKING_INTERVAL_S) + 1)
    )
    return at_each_interval[len(at_each_interval) * 99 // 100]


@pytest.mark.parametrize("path", ["/commands", "/ops/api/orders/o1/act", "/nowhere"])
def test_a_million_chunks_of_one_byte_without_a_token_slow_nobody(port: int, path: str) -> None:
    with others_are_served(port), connect(port) as attacker:
        attacker.sendall(head_of(path, "Transfer-Encoding: chunked"))
        with suppress(OSError):
            attacker.sendall(b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n")
            # Too many chunks may come in one piece with the head, before anybody looks at a token.
            assert attacker.recv(12)[-3:] in {b"401", b"404", b"413"}
            while attacker.recv(65_536):
                continue


def test_a_million_chunks_of_one_byte_with_a_token_slow_nobody(port: int) -> None:
    authorization = f"Authorization: Bearer {CLIENT_TOKEN}"
    with others_are_served(port), connect(port) as attacker:
        attacker.sendall(head_of("/commands", "Transfer-Encoding: chunked", authorization))
        with suppress(OSError):
            attacker.sendall(b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n")
        with suppress(OSError):
            assert attacker.recv(12) == b"HTTP/1.1 413"


def test_two_thousand_silent_connections_keep_nobody_out(port: int) -> None:
    silent_count = 2_050
    allow_open_files(silent_count + 256)
    with ExitStack() as exit_stack:
        for _ in range(silent_count):
            exit_stack.enter_context(connect(port))
        with others_are_served(port):
            pass


def allow_open_files(count: int) -> None:
    """Let this process hold so many files; skip where the system does not."""
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard_limit != resource.RLIM_INFINITY and hard_limit < count:
        pytest.skip(f"a process may open only {hard_limit} files here")
    if soft_limit != resource.RLIM_INFINITY and soft_limit < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard_limit))


def test_two_hundred_unfinished_bodies_take_no_more_than_their_share_of_memory(
    local_stack: LocalStack, port: int
) -> None:
    before_bytes = memory_of(local_stack.pids()["web"])
    fields = (
        f"Content-Length: {LONGEST_BODY_BYTES}",
        f"Authorization: Bearer {CLIENT_TOKEN}",
    )
    with ExitStack() as exit_stack:
        with others_are_served(port):
            for _ in range(200):
                attacker = exit_stack.enter_context(connect(port))
                with suppress(OSError):
                    attacker.sendall(head_of("/commands", *fields))
                    attacker.sendall(b"[" * (LONGEST_BODY_BYTES - 1))
        assert memory_of(local_stack.pids()["web"]) - before_bytes < 200 * MIB


def memory_of(pid: int) -> int:
    """Return how many bytes of memory a process holds."""
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    return 1024 * int(subprocess.run(command, capture_output=True, check=True).stdout)


def test_what_the_attacked_process_wrote_tells_of_no_error(local_stack: LocalStack) -> None:
    text = (local_stack.settings.var / "log" / "web.log").read_text()
    assert "web.listening" in text
    assert not any(level in text for level in ('"error"', "Traceback", "Exception"))
