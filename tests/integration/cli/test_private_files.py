"""Private files: what other users of a machine cannot read, whatever the umask was."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.errors import UsageError
from ops.local.redis_server import start_redis
from ops.private_files import make_private_folder
from tests.support.command_line import run_earnest, start_earnest

OTHERS = 0o077


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let whatever is made without care be open to everybody."""
    previous_umask = os.umask(0)
    yield
    os.umask(previous_umask)


def open_paths(folder: Path) -> list[str]:
    """List what others may do anything with, the folder itself included."""
    return [
        f"{path.relative_to(folder)} {stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & OTHERS
    ]


@pytest.mark.usefixtures("no_umask")
def test_nothing_that_a_running_stack_keeps_is_open_to_others(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with start_earnest("up", "--var", var) as process:
        assert process.stderr is not None
        assert any("everything is ready" in line for line in process.stderr), "did not come up"
        assert run_earnest("operate", "pause-clock", "o1", "--var", var).status
        assert run_earnest("orders", "--var", var).status == 0
        assert {path.name for path in var.iterdir()} >= {
            *("earnest.db", "earnest.db-wal", "earnest.db.turn", "log", "operator-token"),
            *("redis", "up.json", "up.lock", "web.json"),
        }
        assert open_paths(var) == []
        process.terminate()
        process.communicate()
    assert open_paths(var) == []


@pytest.mark.usefixtures("no_umask")
def test_a_migrated_folder_is_private_and_so_is_what_a_version_before_left_open(
    tmp_path: Path,
) -> None:
    var = tmp_path / "var"
    (var / "log").mkdir(parents=True)
    (var / "log" / "worker.1.log").touch()
    (var / "analysts").mkdir()
    (var / "earnest.db").touch()
    assert run_earnest("migrate", "--var", var).status == 0
    # What is not ours stays as it is; nobody gets to it.
    assert open_paths(var) == ["analysts 777"]


@pytest.mark.usefixtures("no_umask")
def test_a_database_elsewhere_is_private_and_its_folder_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    url = f"sqlite:///{folder}/books.db"
    assert run_earnest("migrate", "--var", tmp_path / "var", "--database-url", url).status == 0
    assert open_paths(folder) == [". 777"]
    assert (folder / "books.db.turn").exists()


def test_a_folder_of_everybody_is_no_state_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    result = run_earnest("migrate", "--var", tmp_path)
    assert result.status == 2
    assert "let EARNEST_VAR name a folder of its own" in result.error_line()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_a_folder_that_somebody_else_put_a_link_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="belongs to somebody else"):
        make_private_folder(tmp_path / "link")


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """Give a state folder that is in order, with Redis at work."""
    var = tmp_path / "var"
    assert run_earnest("migrate", "--var", var).status == 0
    server = start_redis(var)
    yield var
    server.stop()


def private_files_checks(var: Path, **settings: str) -> list[tuple[str, str]]:
    """Return what the doctor says of modes: a state and an advice each."""
    result = run_earnest("doctor", "--json", "--var", var, **settings)
    checks = json.loads(result.out)["checks"]
    return [(row["state"], row["detail"]) for row in checks if row["name"] == "private files"]


def test_the_doctor_says_which_file_is_open_and_what_mends_that(var: Path, tmp_path: Path) -> None:
    tokens, policy = tmp_path / "the tokens", tmp_path / "policy.json"
    tokens.write_text("operator 0123456789abcdef\n")
    policy.write_text("{}")
    tokens.chmod(0o640)
    policy.chmod(0o664)
    settings = {"EARNEST_TOKENS": str(tokens), "EARNEST_POLICY": str(policy)}
    fine = [("ok", "no other user can read state or secrets")]
    assert private_files_checks(var, **settings) == fine
    (var / "earnest.db").chmod(0o604)
    tokens.chmod(0o644)
    policy.chmod(0o666)
    checks = private_files_checks(var, **settings)
    assert [state for state, _ in checks] == ["fail"] * 3
    for _, advice in checks:
        command = advice.split("`")[1]
        subprocess.run(command, shell=True, check=True)  # noqa: S602 - what a person would type
    assert private_files_checks(var, **settings) == fine
