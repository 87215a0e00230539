"""Auth: who needs a token, and what a file of tokens may say."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ops.web.auth import Grant, open_tokens, read_tokens
from workers.settings import Settings, SettingsError


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
def test_an_address_beyond_this_machine_is_refused_without_tokens(
    tmp_path: Path, bind: str
) -> None:
    settings = Settings.read({"EARNEST_WEB_BIND": bind}, var=tmp_path)
    with pytest.raises(SettingsError, match="EARNEST_TOKENS"):
        open_tokens(settings)


def test_on_this_machine_the_operator_has_a_token_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings.read({}, var=tmp_path)
    tokens, reopened = open_tokens(settings), open_tokens(settings)
    assert tokens.entries == reopened.entries
    assert not tokens.required
    assert stat.S_IMODE((tmp_path / "operator-token").stat().st_mode) == 0o600


def test_each_line_of_a_token_file_grants_a_role_or_one_party(tmp_path: Path) -> None:
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
def test_a_malformed_token_file_is_refused_without_quoting_its_tokens(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as refusal:
        read_tokens(path)
    assert "0123456789abcdef" not in str(refusal.value)
    with pytest.raises(SettingsError, match="No such file or directory"):
        read_tokens(tmp_path / "none")
