"""TLS: what a URL asks for is what happens, to Redis through a real handshake."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import redis
from sqlalchemy.engine import make_url

from tests.support.sample_commands import registration
from tests.support.servers import skip_or_fail
from workers.client import CommandClient
from workers.database.engine import open_database
from workers.queue.redis import connect
from workers.settings import Settings


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a certificate for `localhost` that only its own file vouches for."""
    openssl = shutil.which("openssl") or str(skip_or_fail("openssl is not installed"))
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key_options = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    command = [openssl, "req", "-x509", "-days", "2", *key_options, *names]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def port(certificate: Path, redis_url: str) -> Iterator[int]:
    """Run a TLS front for the embedded server, which has none; give its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as front:
        path = unquote(redis_url.removeprefix("unix://"))
        threading.Thread(target=serve, args=(front, context, path), daemon=True).start()
        yield front.getsockname()[1]


def serve(front: socket.socket, context: ssl.SSLContext, path: str) -> None:
    """Accept until the front is closed; a handshake that fails ends one connection."""
    while True:
        try:
            plain, _ = front.accept()
        except OSError:
            return
        try:
            outer = context.wrap_socket(plain, server_side=True)
        except (ssl.SSLError, OSError):
            plain.close()
            continue
        inner = socket.socket(socket.AF_UNIX)
        inner.connect(path)
        for source, target in ((outer, inner), (inner, outer)):
            threading.Thread(target=pump, args=(source, target), daemon=True).start()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for connection in (source, target):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def tls_url(port: int, *, host: str = "localhost", ca: Path | None) -> str:
    query = f"?ssl_ca_certs={ca}" if ca else ""
    settings = Settings.read({}, redis_url=f"rediss://{host}:{port}/0{query}")
    return settings.redis_url


def test_a_server_with_the_right_certificate_is_spoken_to(port: int, certificate: Path) -> None:
    with connect(tls_url(port, ca=certificate / "cert.pem")) as client:
        assert CommandClient(client).submit(registration(1)) > 0


def test_a_certificate_that_nobody_vouches_for_is_refused(port: int) -> None:
    with connect(tls_url(port, ca=None)) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_certificate_of_another_host_is_refused(port: int, certificate: Path) -> None:
    redis_url = tls_url(port, host="127.0.0.1", ca=certificate / "cert.pem")
    with connect(redis_url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_plain_connection_gets_no_answer(port: int) -> None:
    with connect(f"redis://localhost:{port}/0") as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_what_a_database_url_says_of_tls_reaches_the_driver() -> None:
    query = "sslmode=verify-full&sslrootcert=/etc/earnest/ca.pem"
    settings = Settings.read({}, database_url=f"postgresql://user@db.internal/earnest?{query}")
    engine = open_database(settings.database_url)
    _, arguments = engine.dialect.create_connect_args(make_url(settings.database_url))
    assert arguments["sslmode"] == "verify-full"
    assert arguments["sslrootcert"] == "/etc/earnest/ca.pem"
