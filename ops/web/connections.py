"""Connections: what one peer may hold of the web process, with or without a token, and how long.

The parser is native: asking for a million one-byte chunks costs half a second, not half a minute.
Whoever is waited for has a deadline, and makes room when there is none: of the address that holds
most, the connection that has been waited for longest. Whoever waits for us keeps its place.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Self

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ops.web.auth import SECURITY_HEADERS
from ops.web.errors import Problem

RETRY_AFTER_S = 1

RESERVED_FILES = 256
"""File descriptors that are not for connections: databases, Redis, logs, static files."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may hold and how long their peers may take, in seconds and bytes."""

    max_connections: int = 2_000
    # Half: nobody fills the house alone, and a proxy in front still has room for its clients.
    max_per_address: int = 1_000
    # People and programs send a request's head at once; ten seconds are three lost packets.
    header_timeout_s: float = 10
    # 4 MiB, the longest body, at half a megabit a second.
    body_timeout_s: float = 60
    idle_timeout_s: float = 30
    # Of what was written nothing was taken for so long.
    send_timeout_s: float = 30
    # How long a peer whose body is not wanted has to read our answer.
    linger_timeout_s: float = 2
    # Sixteen of the longest bodies. The oldest that is unfinished makes room for more.
    max_body_memory_bytes: int = 64 * 1024 * 1024
    # Heads, trailers, and sizes and extensions of chunks: whatever is of a request but its body.
    max_framing_bytes: int = 64 * 1024
    max_header_fields: int = 100
    max_chunks: int = 8_000
    max_pipelined: int = 16

    def within_open_files(self) -> Self:
        """Take as many files as the system gives, and hold no more connections than they allow."""
        _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        file_count = self.max_connections + RESERVED_FILES
        if hard_limit != resource.RLIM_INFINITY:
            file_count = min(file_count, hard_limit)
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft_limit != resource.RLIM_INFINITY and soft_limit < file_count:
            resource.setrlimit(resource.RLIMIT_NOFILE, (file_count, hard_limit))
        max_connections = max(file_count - RESERVED_FILES, file_count // 2)
        return replace(
            self,
            max_connections=max_connections,
            max_per_address=min(self.max_per_address, max(max_connections // 2, 1)),
        )


class Phase(Enum):
    """What a connection waits for: while `HANDLING` for us, otherwise for its peer."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    HANDLING = auto()
    SENDING = auto()
    CLOSING = auto()


class ConnectionTable:
    """All connections of one process by their addresses, and the memory of their bodies."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """Begin without any."""
        self.limits = limits
        self.connection_count = self.body_bytes = 0
        self._counts: dict[str, int] = {}
        # In the order in which the wait for each began.
        self._awaited: dict[str, dict[BoundedConnection, None]] = {}
        self._receiving: dict[BoundedConnection, None] = {}

    def admit(self, connection: BoundedConnection) -> bool:
        """Let a connection in, in another's place if need be; False where there is no room."""
        address = connection.address
        if self._counts.get(address, 0) >= self.limits.max_per_address:
            crowded_address: str | None = address
        elif self.connection_count >= self.limits.max_connections:
            crowded_address = max(self._awaited, key=self._counts.__getitem__, default=None)
        else:
            crowded_address = None
        if crowded_address is not None:
            oldest = next(iter(self._awaited.get(crowded_address, ())), None)
            if oldest is not None:
                oldest.give_way()
        if (
            self._counts.get(address, 0) >= self.limits.max_per_address
            or self.connection_count >= self.limits.max_connections
        ):
            return False
        self._counts[address] = self._counts.get(address, 0) + 1
        self.connection_count += 1
        return True

    def remove(self, connection: BoundedConnection) -> None:
        """Forget a connection that was let in."""
        self.settle(connection)
        self.connection_count -= 1
        self._counts[connection.address] -= 1
        if not self._counts[connection.address]:
            del self._counts[connection.address]

    def await_peer(self, connection: BoundedConnection, phase: Phase) -> None:
        """Note that a connection waits for its peer, from now on."""
        self.settle(connection)
        self._awaited.setdefault(connection.address, {})[connection] = None
        if phase is Phase.BODY:
            self._receiving[connection] = None

    def settle(self, connection: BoundedConnection) -> None:
        """Note that a connection does not wait for its peer any more."""
        self._receiving.pop(connection, None)
        awaited = self._awaited.get(connection.address)
        if awaited is not None:
            awaited.pop(connection, None)
            if not awaited:
                del self._awaited[connection.address]

    def hold_body(self, byte_count: int) -> None:
        """Count bytes of bodies in memory; past the limit, unfinished ones make room."""
        self.body_bytes += byte_count
        while self.body_bytes > self.limits.max_body_memory_bytes and self._receiving:
            next(iter(self._receiving)).give_way()

    def release_body(self, byte_count: int) -> None:
        """Count bytes of bodies that are not needed any more."""
        self.body_bytes -= byte_count


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's connection over its native parser, with deadlines and bounds.

    Refusals are answered while that is possible. What a peer still sends after its answer is read
    for a moment, unparsed, and dropped: closed at once, the peer might never see the answer.
    """

    table: ConnectionTable
    """Set in a class of its own for each process, by `connection_class`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Prepare for a peer."""
        super().__init__(config, server_state, app_state, _loop)
        self.limits = self.table.limits
        self.address = ""
        self.phase = Phase.IDLE
        self.is_admitted = False
        self.refusal: Problem | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted_app, self.app = self.app, self._run_app
        # Of the request that is being parsed.
        self._in_head = self._in_body = False
        self._chunk_count = self._framing_bytes = self._dropped_bytes = 0
        self._keep_alive = True
        # Bytes of the bodies of requests that are not done with, by the identities of their scopes.
        self._body_bytes: dict[int, int] = {}

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a peer in, or tell it to come back."""
        super().connection_made(transport)
        self.address = address_of(self.client)
        self.is_admitted = self.table.admit(self)
        if self.is_admitted:
            self._await_peer(Phase.HEAD, self.limits.header_timeout_s)
        else:
            detail = "so many are connected that there is no room"
            transport.write(response_bytes(_busy(detail)))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back whatever it held."""
        super().connection_lost(exc)
        # What waits in line for a peer that is gone is not begun.
        for cycle, _ in self.pipeline:
            self._release(cycle.scope)
        self.pipeline.clear()
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Parse what comes, as long as it is wanted and no more than a request may be."""
        if not self.is_admitted or self.transport.is_closing():
            return
        if self.phase is Phase.CLOSING:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > self.limits.max_body_memory_bytes:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self.phase is Phase.IDLE:
            self._await_peer(Phase.HEAD, self.limits.header_timeout_s)
        self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No other protocol is spoken here; what follows is none that we know.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self._refuse(self.refusal or Problem(400, "that is no HTTP/1.1 request"))
        else:
            if self._framing_bytes > self.limits.max_framing_bytes:
                self._refuse(Problem(431, "the head of a request, or a trailer, is too long"))

    def pause_writing(self) -> None:
        """Wait for a peer that takes nothing."""
        super().pause_writing()
        if self.phase is Phase.HANDLING:
            self._await_peer(Phase.SENDING, self.limits.send_timeout_s)

    def resume_writing(self) -> None:
        """Go on with a peer that has taken something."""
        super().resume_writing()
        if self.phase is Phase.SENDING:
            self._await_app()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Take note of the first byte of a request."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; a trailer is read and dropped."""
        if len(self.headers) >= self.limits.max_header_fields:
            self._stop_parsing(Problem(431, "there are too many header fields"))
        if self._in_body:
            self.headers.append((b"", b""))
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin a request, or put it in line."""
        if len(self.pipeline) >= self.limits.max_pipelined:
            self._stop_parsing(Problem(429, "too many requests are in line"))
        super().on_headers_complete()
        # The request has the fields that it began with.
        self.scope["headers"] = list(self.headers)
        self._in_head, self._in_body = False, True
        # Uvicorn would close the connection of a request that is answered before its end.
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, True
        if not self.pipeline:
            self._await_peer(Phase.BODY, self.limits.body_timeout_s)

    def on_chunk_header(self) -> None:
        """Count chunks: a body is sent in large ones."""
        self._chunk_count += 1
        if self._chunk_count > self.limits.max_chunks:
            self._stop_parsing(Problem(413, f"at most {self.limits.max_chunks} chunks are wanted"))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, and count what is held."""
        super().on_body(body)
        self._framing_bytes -= len(body)
        if not self.cycle.response_complete:
            key = id(self.cycle.scope)
            self._body_bytes[key] = self._body_bytes.get(key, 0) + len(body)
            self.table.hold_body(len(body))
        if self.transport.is_closing():
            self._stop_parsing(_busy("it gave way"))

    def on_message_complete(self) -> None:
        """Take note of the end of a request."""
        super().on_message_complete()
        self._in_body = False
        self._chunk_count = self._framing_bytes = 0
        self.cycle.keep_alive = self.cycle.keep_alive and self._keep_alive
        if self.phase is Phase.BODY:
            self._await_app()

    def _stop_parsing(self, problem: Problem) -> None:
        self.refusal = problem
        raise problem

    # What the application tells.

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._wanted_app(scope, receive, send)
        finally:
            self._release(scope)

    def on_response_complete(self) -> None:
        """Go on with what is next, unless the peer is still sending what was answered already."""
        if self._in_body and not self.pipeline and not self.transport.is_closing():
            self.server_state.total_requests += 1
            self._linger()
            return
        super().on_response_complete()
        if self.transport.is_closing():
            # Closed when the peer has taken the answer; not waited for without end.
            self._await_peer(Phase.CLOSING, self.limits.send_timeout_s)
        elif self.cycle.response_complete and self._in_head:
            self._await_peer(Phase.HEAD, self.limits.header_timeout_s)
        elif self.cycle.response_complete:
            self._await_peer(Phase.IDLE, self.limits.idle_timeout_s)
        elif self._in_body:
            self._await_peer(Phase.BODY, self.limits.body_timeout_s)
        else:
            self._await_app()

    def timeout_keep_alive_handler(self) -> None:
        """Leave it to our own deadlines."""

    # Deadlines.

    def _await_peer(self, phase: Phase, timeout_s: float) -> None:
        self.phase = phase
        if self.is_admitted:
            self.table.await_peer(self, phase)
            self._set_timer(timeout_s)

    def _await_app(self) -> None:
        self.phase = Phase.HANDLING
        self.table.settle(self)
        self._set_timer(None)

    def _set_timer(self, timeout_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = (
            None if timeout_s is None else self.loop.call_later(timeout_s, self._on_timeout)
        )

    def _on_timeout(self) -> None:
        if self.phase is Phase.BODY:
            limit_s = self.limits.body_timeout_s
            self._refuse(Problem(408, f"the body was not there within {limit_s:g} s"))
        elif self.phase is Phase.HEAD and self._in_head:
            limit_s = self.limits.header_timeout_s
            self._refuse(Problem(408, f"the head was not there within {limit_s:g} s"))
        else:
            self.transport.abort()

    def give_way(self) -> None:
        """End at once, for somebody who would otherwise find no room."""
        if self.phase is Phase.BODY:
            self._refuse(_busy("others needed the room before this body was there"))
            self.transport.close()
            self.table.release_body(sum(self._body_bytes.values()))
            self._body_bytes.clear()
        else:
            self.transport.abort()
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.is_admitted:
            self.is_admitted = False
            self.table.remove(self)

    # Ends.

    def _refuse(self, problem: Problem) -> None:
        """Answer the request that is being received, if no other answer would be broken by it."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request.
        can_answer = not self.flow.write_paused
        if cycle is not None and not cycle.response_complete:
            can_answer &= self._in_body and not self.pipeline and not cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
        if can_answer:
            self.transport.write(response_bytes(problem))
            self._linger()
        else:
            self.transport.abort()

    def _linger(self) -> None:
        """Say that nothing more comes, and let the peer read what it was told."""
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._await_peer(Phase.CLOSING, self.limits.linger_timeout_s)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _release(self, scope: Mapping[str, Any]) -> None:
        self.table.release_body(self._body_bytes.pop(id(scope), 0))


def connection_class(limits: ConnectionLimits) -> type[BoundedConnection]:
    """Make the class of one process's connections, which share one table."""

    class Connection(BoundedConnection):
        table = ConnectionTable(limits)

    return Connection


def address_of(client: tuple[str, int] | None) -> str:
    """Name whom a connection is counted for: an IPv4 address, or the network of an IPv6 one."""
    if client is None:
        return ""
    address = ipaddress.ip_address(client[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        # A household or a rented machine has a network of so many bits to itself.
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _busy(detail: str) -> Problem:
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def response_bytes(problem: Problem) -> bytes:
    """Write a whole response of HTTP/1.1, the last on its connection."""
    response = problem.response()
    headers = {key.decode(): value.decode() for key, value in response.raw_headers}
    headers |= SECURITY_HEADERS | {"connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    head = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n{''.join(lines)}\r\n"
    return head.encode("latin-1") + bytes(response.body)
