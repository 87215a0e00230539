"""Notify: the sd_notify protocol, by which a child says that it is ready to serve."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def ready() -> None:
    """Tell whoever started this process, `up` or systemd, that it now does its work.

    Nobody may be listening, or no longer: that must never stop a healthy process.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names, which have no file.
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(0)
            out.sendto(b"READY=1", address)
    except OSError:
        return


class Ear:
    """The listening end: one socket for one child, so a message needs no sender's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        path.unlink(missing_ok=True)  # Left by a supervisor that was killed.
        self._socket.bind(str(path))

    def heard(self) -> bool:
        """Tell whether READY=1 has come in since the last time of asking."""
        lines = []
        try:
            while True:
                lines += self._socket.recv(4096).splitlines()
        except BlockingIOError:
            return b"READY=1" in lines

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)
