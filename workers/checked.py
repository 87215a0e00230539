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
    scheme, found, rest = url.partition("://")
    if not found or scheme not in DATABASES:
        raise SettingsError(
            f"The database URL begins with {shown(scheme, found)}; it must be "
            "postgresql://… or sqlite:///path/to/file."
        )
    file = rest.partition("?")[0]
    if scheme == "sqlite" and (not file.startswith("/") or file in {"/", "/:memory:"}):
        raise SettingsError(
            "The database URL names no file, and a database in memory would be lost "
            "between processes; write sqlite:///path/to/file."
        )
    refuse_unreadable("database", url)
    return f"{DATABASES[scheme]}://{rest}"


def checked_redis(url: str) -> str:
    scheme, found, _ = url.partition("://")
    if not found or scheme not in WIRES:
        raise SettingsError(
            f"The Redis URL begins with {shown(scheme, found)}; it must be "
            "redis://…, rediss://… or unix:///path/to/socket."
        )
    refuse_unreadable("Redis", url)
    return url


def refuse_unreadable(what: str, url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise SettingsError(
            f"The {what} URL cannot be read: its port must be a number, and special characters "
            "in a password must be %-encoded."
        ) from None


def checked_keys(text: str) -> str:
    try:
        Keyring.parse(text)
    except InvalidKeys as error:
        raise SettingsError(f"EARNEST_SIGNING_KEYS: {error}") from None
    return text


def retention(environ: Mapping[str, str]) -> Limits:
    """Read how many events the streams keep, and for how long."""
    kept, age = environ.get("EARNEST_EVENTS_KEPT", ""), environ.get("EARNEST_EVENTS_AGE", "")
    if kept and (not kept.isdecimal() or not 1 <= int(kept) <= MOST_KEPT):
        raise SettingsError(f"EARNEST_EVENTS_KEPT is not a number from 1 to {MOST_KEPT}.")
    try:
        length = parse_duration(age) if age else Limits().age
    except ValueError:
        raise SettingsError("EARNEST_EVENTS_AGE is not a duration like P7D or PT12H.") from None
    return Limits(int(kept) if kept else Limits().kept, length)


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
    host, found, port = bind.rpartition(":")
    if not found or not host or not port.isdecimal() or int(port) > HIGHEST_PORT:
        raise SettingsError("EARNEST_WEB_BIND must be like 127.0.0.1:8000 or [::1]:8000.")
    return bind


def shown(scheme: str, found: str) -> str:
    """Show what a URL begins with, unless that may be a password in the wrong place."""
    return f"{scheme}://" if found else "no scheme"
