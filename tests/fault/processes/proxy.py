"""Proxy: stands between a client and a server on loopback, and fails in ways that networks do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from enum import StrEnum
from typing import Self

CHUNK_BYTES = 65_536
POLL_INTERVAL_S = 0.05

LINGER_RESET = struct.pack("ii", 1, 0)
"""Linger for no time at all: closing then sends a reset."""


class NetworkCondition(StrEnum):
    """What the network does to what passes."""

    HEALTHY = "healthy"
    STALL = "stall"
    DROP_REPLIES = "drop replies"
    RESET = "reset"


class Proxy:
    """Forwards bytes both ways, or does what its network condition says.

    `STALL` forwards nothing for a while, and then everything. `DROP_REPLIES` lets requests
    through and drops the replies, so that nobody knows whether a COMMIT took effect. `RESET`
    resets every connection, and those to come.
    """

    def __init__(self, target: str | tuple[str, int]) -> None:
        """Listen on a port of loopback; `target` is a socket's path, or a host and port."""
        self.target = target
        self.condition = NetworkCondition.HEALTHY
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.pairs: set[ProxiedConnection] = set()
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.thread.join()
        self.listener.close()
        self.reset()

    def set_condition(self, condition: NetworkCondition) -> None:
        """Change the condition; `RESET`, and the end of `DROP_REPLIES`, break connections."""
        replies_were_dropped = self.condition is NetworkCondition.DROP_REPLIES
        self.condition = condition
        # A reply that was dropped cannot be sent later: the bytes are gone.
        if condition is NetworkCondition.RESET or replies_were_dropped:
            self.reset()

    def is_stalled(self) -> bool:
        return self.condition is NetworkCondition.STALL

    def reset(self) -> None:
        """Reset every connection."""
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            pair.end()

    def _accept(self) -> None:
        self.listener.settimeout(POLL_INTERVAL_S)
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = self.listener.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            if self.condition is NetworkCondition.RESET:
                raise ConnectionRefusedError
            far = connect_to(self.target)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            near.close()
            return
        pair = ProxiedConnection(self, near, far)
        with self.lock:
            self.pairs.add(pair)
        pair.thread.start()


class ProxiedConnection:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket) -> None:
        self.proxy, self.near, self.far = proxy, near, far
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._forward_until_ended, daemon=True)

    def end(self) -> None:
        """Break it off at both ends."""
        self.ended.set()
        self.thread.join()

    def _forward_until_ended(self) -> None:
        try:
            while not self.ended.is_set() and self._forward():
                pass
        except OSError:
            pass
        finally:
            self._close()

    def _forward(self) -> bool:
        """Forward what there is; tell whether the connection goes on."""
        if self.proxy.is_stalled():
            return not self.ended.wait(POLL_INTERVAL_S)
        ready, _, _ = select.select((self.near, self.far), (), (), POLL_INTERVAL_S)
        for sock in ready:
            if self.proxy.is_stalled():
                break
            data = sock.recv(CHUNK_BYTES)
            if not data:
                return False
            if sock is self.near:
                self.far.sendall(data)
            elif self.proxy.condition is not NetworkCondition.DROP_REPLIES:
                self.near.sendall(data)
        return True

    def _close(self) -> None:
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        for sock in (self.near, self.far):
            sock.close()
        with self.proxy.lock:
            self.proxy.pairs.discard(self)


def connect_to(target: str | tuple[str, int]) -> socket.socket:
    """Connect to the server behind the proxy."""
    if isinstance(target, tuple):
        return socket.create_connection(target)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock
