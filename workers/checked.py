"""Checked: what the text of each setting must be like, and what is said where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from models.fields import parse_duration
from workers.retention import Limits
from workers.signing import InvalidKeys, Keyring

DATABASES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

WIRES = ("redis", "rediss", "unix")

NEVER = "never"
ARCHIVE_AFTER = timedelta(days=400)
"""A year, so that this month and the same one a year ago are both at hand, and a month for the
accounts of the old year to be closed; and longer than any dispute, release or refund takes."""

MOST_KEPT = 100_000_000
HIGHEST_PORT = 65_535


class SettingsError(ValueError):
    """Say which setting is wrong and what it should look like; never what it contained."""


def checked_database(url: str) -> str:
    """Name the driver that is installed, and refuse what the schema does not support."""
    scheme, separator, location = url.partition("://")
    if not separator or scheme not in DATABASES:
        raise SettingsError(
            f"The database URL begins with {shown(scheme, separator)}; it must be "
            "postgresql://… or sqlite:///path/to/file."
        )
    file = location.partition("?")[0]
    if scheme == "sqlite" and (not file.startswith("/") or file in {"/", "/:memory:"}):
        raise SettingsError(
            "The database URL names no file, and a database in memory would be lost "
            "between processes; write sqlite:///path/to/file."
        )
    refuse_unreadable("database", url)
    return f"{DATABASES[scheme]}://{location}"


def checked_redis(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in WIRES:
        raise SettingsError(
            f"The Redis URL begins with {shown(scheme, separator)}; it must be "
            "redis://…, rediss://… or unix:///path/to/socket."
        )
    refuse_unreadable("Redis", url)
    return url


def refuse_unreadable(server_name: str, url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise SettingsError(
            f"The {server_name} URL cannot be read: its port must be a number, and special "
            "characters in a password must be %-encoded."
        ) from None


def checked_keys(text: str) -> str:
    try:
        Keyring.parse(text)
    except InvalidKeys as error:
        raise SettingsError(f"EARNEST_SIGNING_KEYS: {error}") from None
    return text


def retention(environ: Mapping[str, str]) -> Limits:
    """Read how many events the streams keep, and for how long."""
    kept_text, age_text = (
        environ.get("EARNEST_EVENTS_KEPT", ""),
        environ.get("EARNEST_EVENTS_AGE", ""),
    )
    if kept_text and (not kept_text.isdecimal() or not 1 <= int(kept_text) <= MOST_KEPT):
        raise SettingsError(f"EARNEST_EVENTS_KEPT is not a number from 1 to {MOST_KEPT}.")
    try:
        age = parse_duration(age_text) if age_text else Limits().age
    except ValueError:
        raise SettingsError("EARNEST_EVENTS_AGE is not a duration like P7D or PT12H.") from None
    return Limits(int(kept_text) if kept_text else Limits().kept, age)


def checked_archive(text: str) -> timedelta | None:
    """Read how long an order stays after it has ended; None for `never`."""
    if text == NEVER:
        return None
    try:
        return parse_duration(text) if text else ARCHIVE_AFTER
    except ValueError:
        raise SettingsError(
            f"EARNEST_ARCHIVE_AFTER is neither a duration like P400D nor `{NEVER}`."
        ) from None


def checked_bind(bind: str) -> str:
    """Accept an address to listen at: a host, or an IPv6 address in brackets, and a port."""
    host, separator, port = bind.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > HIGHEST_PORT:
        raise SettingsError("EARNEST_WEB_BIND must be like 127.0.0.1:8000 or [::1]:8000.")
    return bind


def shown(scheme: str, separator: str) -> str:
    """Show what a URL begins with, unless that may be a password in the wrong place."""
    return f"{scheme}://" if separator else "no scheme"
