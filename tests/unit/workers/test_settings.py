"""Settings: what a process believes about its surroundings."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from workers.settings import (
    MAX_SOCKET_BYTES,
    Settings,
    SettingsError,
    embedded_redis_url,
    project_root,
    redis_socket,
)

VAR = Path("/srv/earnest")


def test_without_settings_everything_is_embedded_under_the_project() -> None:
    settings = Settings.read({})
    assert settings.var == project_root() / "var"
    assert settings.database_url == f"sqlite:///{settings.var}/earnest.db"
    assert settings.redis_url == f"unix://{settings.var}/redis/redis.sock"
    assert settings.policy is None
    assert settings.embedded_database
    assert settings.embedded_redis


def test_an_empty_setting_is_an_absent_one() -> None:
    assert Settings.read({"EARNEST_REDIS_URL": "", "EARNEST_VAR": ""}) == Settings.read({})


def test_an_argument_beats_a_setting_of_the_environment() -> None:
    environ = {"EARNEST_REDIS_URL": "redis://elsewhere/0", "EARNEST_VAR": "/elsewhere"}
    settings = Settings.read(environ, redis_url="redis://here/0", var=VAR)
    assert settings.redis_url == "redis://here/0"
    assert settings.var == VAR


def test_servers_of_others_are_not_embedded() -> None:
    environ = {"EARNEST_REDIS_URL": "rediss://r/0", "EARNEST_DATABASE_URL": "postgresql://d/e"}
    settings = Settings.read(environ)
    assert not settings.embedded_redis
    assert not settings.embedded_database


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_gets_the_installed_driver(scheme: str) -> None:
    settings = Settings.read({}, database_url=f"{scheme}://user:secret@host/name")
    assert settings.database_url == "postgresql+psycopg://user:secret@host/name"


@pytest.mark.parametrize("url", ["mysql://h/d", "postgresql+psycopg2://h/d", "h/d", ""])
def test_databases_other_than_sqlite_and_postgresql_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="must be postgresql://"):
        Settings.read({}, database_url=url or "://")


@pytest.mark.parametrize("rest", ["", "/", "/:memory:", "/:memory:?cache=shared"])
def test_a_database_in_memory_is_refused_since_processes_could_not_share_it(rest: str) -> None:
    with pytest.raises(SettingsError, match="names no file"):
        Settings.read({}, database_url=f"sqlite://{rest}")


def test_urls_that_are_not_of_redis_are_refused() -> None:
    with pytest.raises(SettingsError, match="begins with amqp://"):
        Settings.read({}, redis_url="amqp://host")


def test_a_refused_url_is_not_repeated_since_it_may_hold_a_password() -> None:
    for wrong in ("mysql://user:hunter2@host/name", "hunter2"):
        with pytest.raises(SettingsError) as refusal:
            Settings.read({}, database_url=wrong)
        assert "hunter2" not in str(refusal.value)


def test_a_misspelt_setting_is_refused_with_the_likely_name() -> None:
    with pytest.raises(SettingsError, match="did you mean EARNEST_DATABASE_URL"):
        Settings.read({"EARNEST_DATABSE_URL": "sqlite:////x"})


def test_a_setting_like_no_other_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(SettingsError, match="EARNEST_VAR, EARNEST_POLICY"):
        Settings.read({"EARNEST_1": "x", "PATH": "/bin"})


def test_a_child_process_reads_back_what_its_parent_wrote() -> None:
    parent_settings = Settings.read(
        {}, var="/a b/c%d", policy="policy.toml", redis_url="redis://h/1"
    )
    assert Settings.read(parent_settings.environ()) == parent_settings
    embedded = Settings.read({}, var="/a b/c%d")
    assert Settings.read(embedded.environ()) == embedded
    assert Settings.read(embedded.environ()).embedded_redis


def test_paths_in_settings_are_absolute_whatever_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({}, var="state", policy="policy.toml")
    assert settings.var == tmp_path / "state"
    assert settings.policy == tmp_path / "policy.toml"


@pytest.mark.parametrize(
    ("text", "after"),
    [("", timedelta(days=400)), ("P30D", timedelta(days=30)), ("never", None)],
)
def test_orders_are_archived_after_a_while_or_never(text: str, after: timedelta | None) -> None:
    settings = Settings.read({"EARNEST_ARCHIVE_AFTER": text})
    assert settings.archive_after == after
    assert Settings.read(settings.environ()) == settings


@pytest.mark.parametrize("text", ["400", "P1Y", "off", "-P1D"])
def test_an_archiving_age_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="a duration like P400D"):
        Settings.read({"EARNEST_ARCHIVE_AFTER": text})


@pytest.mark.parametrize("name", ["earnest", "earnest-2", "a_b", "x" * 32])
def test_a_namespace_is_read_back_as_it_was_set(name: str) -> None:
    settings = Settings.read({"EARNEST_NAMESPACE": name})
    assert settings.namespace == name
    assert Settings.read(settings.environ()) == settings


@pytest.mark.parametrize("name", ["Earnest", "a:b", "a b", "*", "x" * 33, "é", "a\n"])
def test_a_namespace_that_could_be_something_else_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="EARNEST_NAMESPACE must be"):
        Settings.read({"EARNEST_NAMESPACE": name})


def test_a_socket_lies_beside_its_data_if_its_name_is_short_enough() -> None:
    room = MAX_SOCKET_BYTES - len("/redis/redis.sock")
    fits, does_not = Path("/" + "v" * (room - 1)), Path("/" + "v" * room)
    assert redis_socket(fits) == fits / "redis" / "redis.sock"
    assert not redis_socket(does_not).is_relative_to(does_not)


def test_a_long_state_folder_has_one_short_socket_of_its_own() -> None:
    long = Path("/" + "long/" * 40)
    socket = redis_socket(long)
    assert len(bytes(socket)) <= MAX_SOCKET_BYTES
    assert socket.is_relative_to(tempfile.gettempdir())
    assert socket == redis_socket(long)
    assert socket != redis_socket(long / "er")


def test_odd_characters_survive_in_the_url_of_redis() -> None:
    assert embedded_redis_url(Path("/a b")) == "unix:///a%20b/redis/redis.sock"
