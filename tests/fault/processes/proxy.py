"""Proxy: stands between a client and a server on loopback, and fails in ways that networks do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from enum import StrEnum
from typing import Self

CHUNK = 65_536


LOOK_S = 0.05


RESET = struct.pack("ii", 1, 0)
"""Linger for no time at all: closing then sends a reset."""


class Weather(StrEnum):
    """What the network does to what passes."""

    FAIR = "fair"
    STALL = "stall"
    DEAF = "deaf"
    CUT = "cut"


class Proxy:
    """Forwards bytes both ways; in bad weather it does worse.

    `STALL` forwards nothing for a while, and then everything. `DEAF` lets requests through and
    drops the replies, so that nobody knows whether a COMMIT took effect. `CUT` resets every
    connection, and those to come.
    """

    def __init__(self, target: str | tuple[str, int]) -> None:
        """Listen on a port of loopback; `target` is a socket's path, or a host and port."""
        self.target = target
        self.weather = Weather.FAIR
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.pairs: set[Pair] = set()
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

    def turn(self, weather: Weather) -> None:
        """Change the weather; a cut breaks what is connected, and so does the end of deafness."""
        after_deafness = self.weather is Weather.DEAF
        self.weather = weather
        # Who was not answered cannot be answered later: the bytes are gone.
        if weather is Weather.CUT or after_deafness:
            self.reset()

    def stalls(self) -> bool:
        return self.weather is Weather.STALL

    def reset(self) -> None:
        """Reset every connection."""
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            pair.end()

    def _accept(self) -> None:
        self.listener.settimeout(LOOK_S)
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = self.listener.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            if self.weather is Weather.CUT:
                raise ConnectionRefusedError
            far = connected(self.target)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            near.close()
            return
        pair = Pair(self, near, far)
        with self.lock:
            self.pairs.add(pair)
        pair.thread.start()


class Pair:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket) -> None:
        self.proxy, self.near, self.far = proxy, near, far
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._carry, daemon=True)

    def end(self) -> None:
        """Break it off at both ends."""
        self.ended.set()
        self.thread.join()

    def _carry(self) -> None:
        try:
            while not self.ended.is_set() and self._pass_on():
                pass
        except OSError:
            pass
        finally:
            self._close()

    def _pass_on(self) -> bool:
        """Forward what there is; tell whether the connection goes on."""
        if self.proxy.stalls():
            return not self.ended.wait(LOOK_S)
        ready, _, _ = select.select((self.near, self.far), (), (), LOOK_S)
        for sock in ready:
            if self.proxy.stalls():
                break
            data = sock.recv(CHUNK)
            if not data:
                return False
            if sock is self.near:
                self.far.sendall(data)
            elif self.proxy.weather is not Weather.DEAF:
                self.near.sendall(data)
        return True

    def _close(self) -> None:
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for sock in (self.near, self.far):
            sock.close()
        with self.proxy.lock:
            self.proxy.pairs.discard(self)


def connected(target: str | tuple[str, int]) -> socket.socket:
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
