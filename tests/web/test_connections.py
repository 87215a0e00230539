"""Connections: what a peer may hold of a server and for how long, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException, HTTPResponse
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ops.local.address import listen_on
from ops.web.app import create_app
from ops.web.connections import ConnectionLimits, address_of, connection_class
from ops.web.dependencies import open_context
from tests.support.concurrency import eventually
from tests.web.gateway_harness import GatewayHarness

TIMEOUT_S = 30
HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
BODY_HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class SmallApp:
    """Answers with how long the body was; `/early` before it reads, `/wait` when let go.

    `/large` answers with more than a peer can have on its way.
    """

    let_go: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    disconnected: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"] == "/wait":
            self.waiting.release()
            await asyncio.get_running_loop().run_in_executor(None, self.let_go.wait, TIMEOUT_S)
        length = 0
        while scope["path"] != "/early":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            length += len(message["body"])
            if not message["more_body"]:
                break
        body = bytes(50_000_000) if scope["path"] == "/large" else str(length).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(app: ASGIApp, limits: ConnectionLimits, *, lifespan: bool = False) -> Iterator[int]:
    """Serve an application in a thread; give the port."""
    listener = listen_on("127.0.0.1:0")
    config = uvicorn.Config(
        app,
        http=connection_class(limits),
        ws="none",
        log_config=None,
        lifespan="on" if lifespan else "off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        eventually(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(TIMEOUT_S)


@dataclass
class Peers:
    """Connects to a server that is stopped when the test ends."""

    exit_stack: ExitStack
    port: int

    def connect(self, sent: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
        """Connect from an address of this machine, and send something."""
        peer = socket.create_connection(
            ("127.0.0.1", self.port), TIMEOUT_S, source_address=(address, 0)
        )
        self.exit_stack.callback(peer.close)
        peer.sendall(sent)
        return peer


Serve = Callable[..., Peers]


@pytest.fixture
def app() -> SmallApp:
    return SmallApp()


@pytest.fixture
def serve(app: SmallApp) -> Iterator[Serve]:
    """Give a function that serves with limits of its own."""
    with ExitStack() as exit_stack:

        def start(**limits: Any) -> Peers:  # noqa: ANN401 - whatever limits there are
            port = exit_stack.enter_context(serving(app, replace(ConnectionLimits(), **limits)))
            exit_stack.callback(app.let_go.set)
            return Peers(exit_stack, port)

        yield start


def read_to_end(peer: socket.socket) -> bytes:
    """Read until the server has closed its side."""
    pieces = []
    try:
        while piece := peer.recv(65_536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def answer_on(peer: socket.socket) -> tuple[int, bytes]:
    """Read one whole answer: its status and its body."""
    with HTTPResponse(peer) as response:
        response.begin()
        return response.status, response.read()


def is_open(peer: socket.socket) -> bool:
    """Tell whether a connection still answers."""
    try:
        peer.sendall(HEAD)
        return answer_on(peer) == OK
    except (OSError, HTTPException):
        return False


OK = (200, b"0")


def test_a_head_that_does_not_come_in_time_ends_the_connection(serve: Serve) -> None:
    peers = serve(header_timeout_s=0.2)
    assert read_to_end(peers.connect()) == b""
    assert status_of(read_to_end(peers.connect(HEAD[:-2]))) == 408
    slow = peers.connect(HEAD + HEAD[:10])
    assert read_to_end(slow).count(b"HTTP/1.1 200") == 1


def test_a_head_that_comes_byte_by_byte_has_no_more_time(serve: Serve) -> None:
    peers = serve(header_timeout_s=0.3)
    peer = peers.connect(HEAD[:-2])
    peer.settimeout(0.02)
    began_at, response = time.monotonic(), b""
    while not response and time.monotonic() < began_at + TIMEOUT_S:
        try:
            peer.sendall(b"X")
            response = peer.recv(65_536)
        except TimeoutError:
            continue
    assert status_of(response) == 408
    assert time.monotonic() - began_at < TIMEOUT_S / 2


def test_a_body_that_does_not_come_in_time_is_given_up(serve: Serve, app: SmallApp) -> None:
    peers = serve(body_timeout_s=0.2)
    response = read_to_end(peers.connect(BODY_HEAD % 10 + b"12345"))
    assert status_of(response) == 408
    assert app.disconnected.wait(TIMEOUT_S)


def test_a_connection_between_requests_is_kept_for_a_while_and_no_longer(serve: Serve) -> None:
    peers = serve(idle_timeout_s=0.2)
    peer = peers.connect(HEAD)
    assert read_to_end(peer).count(b"200 OK") == 1


def test_a_request_that_takes_long_to_answer_outlives_every_deadline_of_its_peer(
    serve: Serve, app: SmallApp
) -> None:
    peers = serve(header_timeout_s=0.05, body_timeout_s=0.05, idle_timeout_s=0.05)
    waiting = peers.connect(HEAD.replace(b"/ ", b"/wait ", 1))
    assert app.waiting.acquire(timeout=TIMEOUT_S)
    # Whoever came later has run out of time meanwhile.
    assert read_to_end(peers.connect()) == b""
    app.let_go.set()
    assert status_of(read_to_end(waiting)) == 200


def test_a_peer_that_takes_nothing_of_its_answer_is_given_up(serve: Serve) -> None:
    peers = serve(send_timeout_s=0.2)
    peer = peers.connect(HEAD.replace(b"/ ", b"/large ", 1))
    # Nothing is read until the server has given up: then what is on its way ends early.
    server_gone = threading.Event()

    def write_until_reset() -> None:
        try:
            while True:
                peer.sendall(b"\r\n")
        except OSError:
            server_gone.set()

    writer = threading.Thread(target=write_until_reset)
    writer.start()
    assert server_gone.wait(TIMEOUT_S)
    writer.join()
    assert len(read_to_end(peer)) < 50_000_000


def test_a_newcomer_takes_the_place_of_the_one_that_has_been_silent_for_longest(
    serve: Serve, app: SmallApp
) -> None:
    peers = serve(max_per_address=3)
    waiting = peers.connect(HEAD.replace(b"/ ", b"/wait ", 1))
    assert app.waiting.acquire(timeout=TIMEOUT_S)
    silent = [peers.connect(HEAD), peers.connect(HEAD)]
    for peer in silent:
        assert answer_on(peer) == OK
    newcomer = peers.connect(HEAD)
    assert answer_on(newcomer) == OK
    assert read_to_end(silent[0]) == b""
    assert is_open(silent[1])
    app.let_go.set()
    assert answer_on(waiting) == OK


def test_where_everybody_waits_for_us_a_newcomer_is_told_to_come_back(
    serve: Serve, app: SmallApp
) -> None:
    peers = serve(max_per_address=2)
    for _ in range(2):
        peers.connect(HEAD.replace(b"/ ", b"/wait ", 1))
        assert app.waiting.acquire(timeout=TIMEOUT_S)
    response = read_to_end(peers.connect())
    assert status_of(response) == 503
    assert b"retry-after: 1" in response
    # Another address has places of its own.
    assert answer_on(peers.connect(HEAD, "127.0.0.2")) == OK


def test_the_address_that_holds_most_makes_room_for_others(serve: Serve) -> None:
    peers = serve(max_connections=4)
    modest = peers.connect(HEAD, "127.0.0.2")
    assert answer_on(modest) == OK
    greedy = [peers.connect(HEAD, "127.0.0.3") for _ in range(3)]
    for peer in greedy:
        assert answer_on(peer) == OK
    # The modest one has been silent for longest.
    assert answer_on(peers.connect(HEAD, "127.0.0.4")) == OK
    assert read_to_end(greedy[0]) == b""
    assert is_open(modest)


def test_the_oldest_unfinished_body_makes_room_when_memory_is_short(serve: Serve) -> None:
    peers = serve(max_body_memory_bytes=100_000)
    first = peers.connect(BODY_HEAD % 60_000 + bytes(59_999))
    second = peers.connect(BODY_HEAD % 60_000 + bytes(59_999))
    assert answer_on(first)[0] == 503
    second.sendall(bytes(1))
    assert answer_on(second) == (200, b"60000")
    # What is done with is not counted any more.
    third, fourth = (peers.connect(BODY_HEAD % 40_000 + bytes(39_999)) for _ in range(2))
    for peer in (third, fourth):
        peer.sendall(bytes(1))
        assert answer_on(peer) == (200, b"40000")


BOTH_LENGTHS = (
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
)

REFUSED: list[tuple[str, bytes, int]] = [
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("another version", b"GET / HTTP/3.7\r\n\r\n", 400),
    ("a proxy's request", b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: here\r\n\r\n", 400),
    ("both lengths", BOTH_LENGTHS + b"0\r\n\r\n", 400),
    ("both, the other way", BOTH_LENGTHS.replace(b"Length: 1", b"Length: 0") + b"0\r\n\r\n", 400),
    ("two lengths", BODY_HEAD[:-2] % 5 + b"Content-Length: 6\r\n\r\n123456", 400),
    ("a huge length", BODY_HEAD.replace(b"%d", b"9" * 40), 400),
    ("a bad chunk", CHUNKED_HEAD + b"x\r\n", 400),
    ("a field too long", b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000, 431),
    ("a path too long", b"GET /" + b"x" * 300_000, 431),
    ("too many fields", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
    ("an endless trailer", CHUNKED_HEAD + b"0\r\nX: " + b"x" * 300_000, 431),
    ("too many trailers", CHUNKED_HEAD + b"0\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
    ("a chunk's endless extension", CHUNKED_HEAD + b"1;" + b"x" * 300_000, 431),
    ("too many chunks", CHUNKED_HEAD + b"1\r\nx\r\n" * 20_000, 413),
]


@pytest.mark.parametrize(("sent", "status"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_what_no_honest_client_sends_is_refused_in_the_form_of_every_refusal(
    serve: Serve, sent: bytes, status: int
) -> None:
    response = read_to_end(serve().connect(sent))
    head, _, body = response.partition(b"\r\n\r\n")
    assert status_of(response) == status
    assert b"content-type: application/problem+json" in head
    assert b"Content-Security-Policy: default-src 'none'" in head
    assert b"connection: close" in head
    assert json.loads(body)["status"] == status


def test_requests_in_line_are_answered_in_order_up_to_a_bound(serve: Serve, app: SmallApp) -> None:
    peers = serve(max_pipelined=4)
    lined_up = [BODY_HEAD % length + bytes(length) for length in range(4)]
    peer = peers.connect(b"".join(lined_up) + HEAD.replace(b"Host", b"Connection: close\r\nHost"))
    lengths = [part[-1:] for part in read_to_end(peer).split(b"HTTP/1.1 200 OK")[1:]]
    assert lengths == [b"0", b"1", b"2", b"3", b"0"]
    wait = HEAD.replace(b"/ ", b"/wait ", 1)
    assert read_to_end(peers.connect(wait * 10)) == b""
    assert not app.disconnected.is_set()


def test_an_answer_that_comes_before_the_body_is_read_though_the_peer_goes_on_sending(
    serve: Serve,
) -> None:
    peers = serve()
    for head in (BODY_HEAD % 4_000_000, BODY_HEAD[:-2] % 4_000_000 + b"Connection: close\r\n\r\n"):
        peer = peers.connect(head.replace(b"/ ", b"/early ", 1))
        peer.sendall(bytes(4_000_000))
        assert status_of(read_to_end(peer)) == 200


def test_a_peer_that_never_stops_sending_after_its_answer_is_cut_off(serve: Serve) -> None:
    peer = serve(linger_timeout_s=0.2).connect((CHUNKED_HEAD).replace(b"/ ", b"/early ", 1))

    def send_on() -> None:
        while True:
            peer.sendall(b"1\r\nx\r\n" * 1_000)

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        send_on()


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (None, ""),
    ],
)
def test_whoever_has_a_network_of_ipv6_counts_once(
    client: tuple[str, int] | None, address: str
) -> None:
    assert address_of(client) == address


UPLOAD_HEAD = (
    b"POST /commands HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n%s\r\n"
)


@contextmanager
def serving_gateway(
    gateway: GatewayHarness,
    *,
    ended: threading.Semaphore,
    **changes: Any,  # noqa: ANN401
) -> Iterator[Peers]:
    """Serve the gateway over real sockets; release `ended` whenever a request is done with."""
    context = open_context(replace(gateway.settings, **changes))
    inner_app = create_app(context)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await inner_app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                ended.release()

    with serving(app, ConnectionLimits(), lifespan=True) as port, ExitStack() as exit_stack:
        yield Peers(exit_stack, port)
    context.engine.dispose()
    context.client.close()


def test_who_has_no_token_is_answered_before_the_body_is_there(gateway: GatewayHarness) -> None:
    ended = threading.Semaphore(0)
    with serving_gateway(gateway, ended=ended, tokens=gateway.tokens()) as peers:
        assert status_of(read_to_end(peers.connect(UPLOAD_HEAD % b""))) == 401


def test_an_upload_that_its_sender_gives_up_is_no_error(
    gateway: GatewayHarness, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Semaphore(0)
    operator_head = b"Authorization: Bearer operator-token-0001\r\nX-Earnest-Action: 1\r\n"
    paths = (b"/commands", b"/ops/api/orders/o1/act", b"/ops/api/quarantine/1/drop")
    with serving_gateway(gateway, ended=ended, tokens=gateway.tokens()) as peers:
        for path in paths:
            head = UPLOAD_HEAD.replace(b"/commands", path, 1) % operator_head
            peers.connect(head + b'{"id"').close()
            assert ended.acquire(timeout=TIMEOUT_S)
    output = capfd.readouterr()
    assert "request.broke" not in output.out + output.err
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
