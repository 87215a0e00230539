"""Command line: what it says when something is not as it should be, in one line."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
import redis
from sqlalchemy.exc import DatabaseError

from ops.cli.app import main
from tests.support.command_line import run_earnest, run_in_process, start_earnest
from workers.database.engine import open_database, writing
from workers.database.migrations import migrate

COMMANDS = {
    "up": "--workers",
    "demo": "--keep",
    "simulate": "STEPS.jsonl",
    "submit": "--wait",
    "orders": "--status",
    "refunds": "--status",
    "payouts": "--held",
    "books": "--json",
    "export": "--after CURSOR",
    "archive": "--older-than",
    "migrate": "--database-url",
    "worker": "--redis-url",
    "relay": "--redis-url",
    "scheduler": "--policy",
}

NOWHERE = "redis://127.0.0.1:1/0"
NO_POSTGRES = "postgresql://somebody:secret@127.0.0.1:1/none"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_cli_command_says_what_it_is_for(command: str) -> None:
    result = run_earnest(command, "--help")
    assert (result.status, result.err) == (0, "")
    assert f"usage: earnest {command}" in result.out
    assert COMMANDS[command] in result.out


def test_the_help_lists_every_cli_command() -> None:
    help_text = run_earnest("--help").out
    assert [command for command in COMMANDS if f"\n    {command}" not in help_text] == []


def test_without_a_cli_command_they_are_listed_and_nothing_is_done() -> None:
    result = run_earnest()
    assert result.status == 2
    assert result.out == run_earnest("--help").out


@pytest.mark.parametrize("arguments", [["frobnicate"], ["up", "--worker", "x"], ["submit"]])
def test_a_misused_cli_command_is_answered_with_its_usage(arguments: list[str]) -> None:
    result = run_earnest(*arguments)
    assert result.status == 2
    assert result.err.startswith("usage: earnest")


UNREADABLE = {
    "an unknown database": (["--database-url", "mysql://u:secret@h/x"], "begins with mysql://"),
    "no port": (["--database-url", "postgresql://u:secret@h:port/x"], "port must be a number"),
    "an unknown kind of Redis": (["--redis-url", "http://u:secret@h"], "begins with http://"),
    "no port of Redis": (["--redis-url", "redis://u:secret@h:port/0"], "port must be a number"),
    "in memory": (["--database-url", "sqlite://"], "names no file"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_setting_that_cannot_be_read_is_refused_without_repeating_it(kind: str) -> None:
    options, complaint = UNREADABLE[kind]
    result = run_earnest("orders", *options)
    assert result.status == 2
    assert complaint in result.error_line()
    assert "secret" not in result.err


def test_a_misspelt_setting_is_refused_and_the_right_one_is_guessed() -> None:
    result = run_earnest("orders", EARNEST_DATABSE_URL=NO_POSTGRES)
    assert result.status == 2
    assert "did you mean EARNEST_DATABASE_URL?" in result.error_line()


BAD_POLICIES = {
    "unknown": ('{"deposit_bsp": 1}', "deposit_bsp"),
    "ill-typed": ('{"nudge_limit": "3"}', "nudge_limit"),
    "no JSON": ("{", "policy"),
    "unkeepable": ('{"deposit_bps": 9000}', "deposit_bps"),
}


@pytest.mark.parametrize(
    ("command", "kind"), [*[("simulate", k) for k in BAD_POLICIES], ("up", "unknown")]
)
def test_an_invalid_policy_is_refused(tmp_path: Path, command: str, kind: str) -> None:
    text, setting = BAD_POLICIES[kind]
    policy = tmp_path / "policy.json"
    policy.write_text(text)
    arguments = [command, "-"] if command == "simulate" else [command]
    result = run_earnest(*arguments, "--var", tmp_path / "var", "--policy", policy)
    assert result.status == 2
    assert setting in result.error_line()


def migrate_sqlite(var: Path) -> None:
    var.mkdir(exist_ok=True)
    engine = open_database(f"sqlite:///{var / 'earnest.db'}")
    migrate(engine)
    engine.dispose()


def test_a_steps_file_with_a_byte_order_mark_and_crlf_is_read(tmp_path: Path) -> None:
    steps = tmp_path / "steps.jsonl"
    steps.write_bytes(b'\xef\xbb\xbf{"at": "2026-03-02T10:00:00Z"}\r\n')
    for result in (
        run_earnest("simulate", steps),
        run_earnest("simulate", "-", stdin=steps.read_bytes()),
    ):
        assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("command", ["simulate", "submit"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, command: str) -> None:
    result = run_earnest(command, tmp_path / "none.jsonl")
    assert result.status == 2
    assert result.error_line().endswith("none.jsonl: No such file or directory")


def test_a_policy_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run_earnest("simulate", "-", "--policy", tmp_path / "none.json")
    assert result.status == 2
    assert "none.json: No such file or directory" in result.error_line()


@pytest.mark.parametrize(
    ("command", "url"),
    [(word, NOWHERE) for word in ("worker", "relay", "scheduler", "submit")]
    + [("submit", "unix:///no/such/socket")],
)
def test_a_redis_that_does_not_answer_is_named(tmp_path: Path, command: str, url: str) -> None:
    migrate_sqlite(tmp_path)
    arguments = [command, "-"] if command == "submit" else [command]
    result = run_earnest(
        *arguments, "--var", tmp_path, "--redis-url", url, stdin='{"id": "cmd_0001"}\n'
    )
    assert result.status == 1
    assert "Redis" in result.error_line()


@pytest.mark.parametrize("url", ["redis", "database"])
def test_up_looks_at_servers_that_are_not_its_own_before_it_starts_anything(
    tmp_path: Path, url: str
) -> None:
    unreachable_url = {"redis": NOWHERE, "database": NO_POSTGRES}[url]
    result = run_earnest("up", "--var", tmp_path, f"--{url}-url", unreachable_url)
    assert result.status == 1
    assert "127.0.0.1" in result.error_line()
    assert not (tmp_path / "log").exists()


def test_up_looks_whether_its_address_is_free_before_it_starts_anything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = f"127.0.0.1:{listener.getsockname()[1]}"
        result = run_earnest("up", "--var", tmp_path, EARNEST_WEB_BIND=bind)
    assert result.status == 2
    assert f"{bind} is taken" in result.error_line()
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("start", ["$", "0"])
def test_events_tail_says_that_redis_does_not_answer(start: str) -> None:
    result = run_earnest("events", "tail", "--from", start, EARNEST_REDIS_URL=NOWHERE)
    assert result.status == 1
    assert "Redis does not answer" in result.error_line()


def test_submit_without_a_running_stack_names_the_command_that_starts_it(tmp_path: Path) -> None:
    result = run_earnest("submit", "-", "--var", tmp_path, stdin='{"id": "cmd_0001"}\n')
    assert result.status == 2
    assert "`earnest up`" in result.error_line()


@pytest.mark.parametrize("command", ["up", "migrate"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    for var in (tmp_path / "file", tmp_path / "file" / "var"):
        result = run_earnest(command, "--var", var)
        assert result.status != 0
        assert str(tmp_path / "file") in result.error_line()


@pytest.mark.parametrize(
    "arguments", [["dead-letters", "show"], ["dead-letters", "replay"], ["quarantine", "drop"]]
)
@pytest.mark.parametrize("number", ["0", str(2**63), "9" * 99, "x"])
def test_a_number_that_no_database_row_can_have_is_refused(
    arguments: list[str], number: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, number])


@pytest.mark.parametrize(
    "arguments", [["orders"], ["books"], ["migrate"], ["submit", "-", "--wait"]]
)
def test_a_postgresql_that_does_not_answer_is_named_without_its_password(
    arguments: list[str],
) -> None:
    result = run_earnest(*arguments, "--database-url", NO_POSTGRES, "--redis-url", NOWHERE)
    assert result.status == 1
    assert "127.0.0.1" in result.error_line()
    assert "secret" not in result.err


@pytest.mark.parametrize("arguments", [["orders"], ["books"], ["orders", "show", "o1"]])
def test_an_empty_folder_holds_no_orders_and_stays_empty(
    tmp_path: Path, arguments: list[str]
) -> None:
    for var in (tmp_path, tmp_path / "none"):
        result = run_earnest(*arguments, "--var", var)
        assert result.status == 2
        assert "`earnest up`" in result.error_line()
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_our_tables_is_refused(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "earnest.db").touch()
    for arguments in (["orders"], ["submit", "-", "--wait"], ["worker"]):
        result = run_earnest(*arguments, "--var", tmp_path, "--redis-url", redis_url)
        assert result.status == 2
        assert "`earnest migrate`" in result.error_line()


def test_migrating_twice_is_harmless_and_makes_the_folder(tmp_path: Path) -> None:
    var = tmp_path / "deep" / "var"
    for _ in range(2):
        assert run_earnest("migrate", "--var", var).status == 0
    assert run_earnest("orders", "--var", var).out == "No orders.\n"


def test_orders_with_invalid_arguments_says_what_would_be_valid(tmp_path: Path) -> None:
    migrate_sqlite(tmp_path)
    for arguments, hint in (
        (["show"], "`earnest orders list`"),
        (["show", "nobody"], "no order nobody"),
        (["--status", "lost"], "awaiting_deposit"),
    ):
        result = run_earnest("orders", *arguments, "--var", tmp_path)
        assert result.status == 2
        assert hint in result.error_line()


def test_a_redis_that_may_drop_commands_is_refused(tmp_path: Path, redis_url: str) -> None:
    migrate_sqlite(tmp_path)
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            for command in ("worker", "scheduler"):
                result = run_earnest(command, "--var", tmp_path, "--redis-url", redis_url)
                assert result.status == 2
                assert "allkeys-lru" in result.error_line()
        finally:
            client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.postgres
def test_a_process_refuses_a_postgresql_with_synchronous_commit_off(
    postgresql_url: str, redis_url: str
) -> None:
    engine = open_database(postgresql_url)
    migrate(engine)
    with writing(engine) as connection:
        change = f"ALTER DATABASE {engine.url.database} SET synchronous_commit = off"
        connection.exec_driver_sql(change)
    engine.dispose()
    for command in ("migrate", "worker"):
        result = run_earnest(command, "--database-url", postgresql_url, "--redis-url", redis_url)
        assert result.status == 2
        assert "synchronous_commit off" in result.error_line()


def test_a_folder_is_up_once_and_comes_down_on_ctrl_c(tmp_path: Path) -> None:
    with start_earnest("up", "--var", tmp_path, "--workers", "1") as up:
        assert up.stderr
        assert any("everything is ready" in line for line in up.stderr)
        result = run_earnest("up", "--var", tmp_path)
        assert result.status == 1
        assert "already up" in result.error_line()
        assert set(json.loads((tmp_path / "up.json").read_text())) > {"up", "redis", "worker.1"}
        up.send_signal(signal.SIGINT)
        up.stderr.read()
        assert up.wait() == 0
    assert not (tmp_path / "up.json").exists()


@pytest.mark.parametrize("number", ["0", "65", "-1"])
def test_a_number_of_workers_out_of_range_is_refused(tmp_path: Path, number: str) -> None:
    result = run_earnest("up", "--var", tmp_path, f"--workers={number}")
    assert result.status == 2
    assert "1 to 64" in result.error_line()


def open_descriptors(folder: Path) -> list[str]:
    """List the files of a folder that this process has open."""
    descriptors = Path("/proc/self/fd").iterdir()
    files = [descriptor.readlink() for descriptor in descriptors if descriptor.is_symlink()]
    return [str(file) for file in files if file.is_relative_to(folder)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate",),
        ("orders",),
        ("books",),
        ("doctor",),
        ("events", "replay", "--since", "2026-01-01T00:00Z"),
        ("events", "replay", "--since", "yesterday"),
    ],
    ids=" ".join,
)
def test_a_command_leaves_no_connection_open(
    tmp_path: Path, redis_url: str, arguments: tuple[str, ...]
) -> None:
    migrate_sqlite(tmp_path)
    run_in_process(*arguments, "--var", tmp_path, "--redis-url", redis_url)
    assert open_descriptors(tmp_path) == []


def test_a_file_that_is_no_database_is_not_kept_open(tmp_path: Path) -> None:
    file = tmp_path / "earnest.db"
    file.write_text("long enough to look at " * 100)
    engine = open_database(f"sqlite:///{file}")
    with pytest.raises(DatabaseError) as error, engine.connect():
        pass
    del error
    assert open_descriptors(tmp_path) == []
