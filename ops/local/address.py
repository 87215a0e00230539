"""Address: where the web process listens, taken before anything else is started."""

from __future__ import annotations

import errno
import socket

from workers.settings import SettingsError


def listen_on(bind: str) -> socket.socket:
    """Take the address; raise `SettingsError` in one line where it is taken or is none of ours."""
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    # asyncio switches Nagle's delay off only for what says that it is TCP: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(2_048)
    except OSError as error:
        listener.close()
        problem = (
            "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        )
        message = (
            f"{bind} {problem}; EARNEST_WEB_BIND chooses another address (port 0: any free one)"
        )
        raise SettingsError(message) from None
    return listener
