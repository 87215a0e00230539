"""Server: the web process takes its address or says in one line why it cannot."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from ops.local.address import listen_on
from ops.web.app import run
from ops.web.auth import Grant, open_tokens, read_tokens
from tests.patience import eventually
from tests.web.conftest import House
from workers.settings import Settings, SettingsError


def test_an_address_that_is_taken_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SettingsError, match=rf"^{bind} is taken; EARNEST_WEB_BIND") as refusal:
            listen_on(bind)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("bind", ["203.0.113.1:80", "no.such.host.invalid:80"])
def test_an_address_that_is_not_ours_is_refused(bind: str) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        listen_on(bind)


@pytest.mark.parametrize("bind", ["8000", "host", ":8000", "host:", "host:99999", "host:x"])
def test_what_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(SettingsError, match="must be like"):
        Settings.read({"EARNEST_WEB_BIND": bind})


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
def test_nobody_listens_beyond_this_machine_without_tokens(tmp_path: Path, bind: str) -> None:
    settings = Settings.read({"EARNEST_WEB_BIND": bind}, var=tmp_path)
    with pytest.raises(SettingsError, match="EARNEST_TOKENS"):
        open_tokens(settings)


def test_on_this_machine_the_operator_has_a_token_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings.read({}, var=tmp_path)
    tokens, reopened = open_tokens(settings), open_tokens(settings)
    assert tokens.entries == reopened.entries
    assert not tokens.required
    assert stat.S_IMODE((tmp_path / "operator-token").stat().st_mode) == 0o600


def test_a_file_of_tokens_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# note\n\nclient/c1  0123456789abcdef\noperator fedcba9876543210\n")
    assert [grant for _, grant in read_tokens(path)] == [
        Grant("client", "c1"),
        Grant("operator", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no token"),
        ("# only a note\n", "no token"),
        ("king 0123456789abcdef", "line 1"),
        ("clock 0123456789abcdef", "line 1"),
        ("operator", "line 1"),
        ("\noperator short", "line 2: 16 characters"),
        ("operator 0123456789abcdef more", "line 1"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_without_a_word_of_what_it_holds(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as refusal:
        read_tokens(path)
    assert "0123456789abcdef" not in str(refusal.value)
    with pytest.raises(SettingsError, match="No such file or directory"):
        read_tokens(tmp_path / "none")


def test_the_process_serves_says_where_and_ends_when_told(house: House) -> None:
    settings = replace(house.settings, web_bind="127.0.0.1:0")
    stopping, ready = threading.Event(), threading.Event()
    server_thread = threading.Thread(target=run, args=(settings, stopping, ready.set))
    server_thread.start()
    assert ready.wait(20)
    url = json.loads((settings.var / "web.json").read_text())["url"]
    assert httpx2.get(f"{url}/readyz").json()["ok"]
    assert os.access(settings.var / "operator-token", os.R_OK)

    def wait() -> None:
        # Whether it comes before the end or after, it must not be kept.
        with suppress(httpx2.HTTPError):
            httpx2.get(f"{url}/commands/unknown-1", params={"wait": 30}, timeout=40)

    waiter = threading.Thread(target=wait)
    waiter.start()
    stopping.set()
    server_thread.join(20)
    eventually(lambda: not server_thread.is_alive() and not waiter.is_alive())
