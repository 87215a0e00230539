"""Settings: where the database, Redis, the state folder and the policy are."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from models.fields import format_duration, parse_duration
from workers.signing import InvalidKeys, Keyring


class SettingsError(ValueError):
    """Say which setting is wrong and what it should look like; never what it contained."""


PREFIX = "EARNEST_"


SETTING_NAMES = (
    "EARNEST_DATABASE_URL",
    "EARNEST_REDIS_URL",
    "EARNEST_VAR",
    "EARNEST_POLICY",
    "EARNEST_SIGNING_KEYS",
    "EARNEST_EVENTS_KEPT",
    "EARNEST_EVENTS_AGE",
    "EARNEST_WEB_BIND",
    "EARNEST_TOKENS",
    "EARNEST_ARCHIVE_AFTER",
    "EARNEST_NAMESPACE",
)


NAMESPACE = "earnest"
"""What the names of all keys in Redis begin with, unless told otherwise."""


NEVER = "never"


WEB_BIND = "127.0.0.1:8000"
"""Where the web process listens unless told otherwise: for this machine alone."""


ARCHIVE_AFTER = timedelta(days=400)
"""A year, so that this month and the same one a year ago are both at hand, and a month for the
accounts of the old year to be closed; and longer than any dispute, release or refund takes."""


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How much a stream keeps. Everything older is in the database, whole.

    Beyond `max_entries` and `max_age` it keeps only what a registered group has yet to settle, and
    says so; beyond `hard_max_entries` it keeps nothing: a consumer that is gone must not fill the
    server's memory.
    """

    max_entries: int = 1_000_000
    max_age: timedelta = timedelta(days=7)

    @property
    def hard_max_entries(self) -> int:
        """Return how many entries there may be at most: as many again as are kept."""
        return 2 * self.max_entries


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process must know before it starts; built once in each `main`, passed down."""

    database_url: str
    redis_url: str
    var: Path
    policy: Path | None = None
    # The only secret that is never an option: other users of a machine can read its command lines.
    signing_keys: str = field(default="", repr=False)
    retention: RetentionLimits = field(default_factory=RetentionLimits)
    web_bind: str = WEB_BIND
    tokens: Path | None = None
    archive_after: timedelta | None = ARCHIVE_AFTER
    """How long after it has ended an order goes into the archive; None: never by itself."""
    namespace: str = NAMESPACE

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        var: Path | str | None = None,
        policy: Path | str | None = None,
    ) -> Self:
        """Combine what the command line gave, the environment, and the embedded defaults.

        Empty means absent. Raise `SettingsError` for unknown `EARNEST_*` names, since
        a misspelt setting would otherwise silently become a default.
        """
        refuse_unknown(environ)
        folder = absolute(var or environ.get("EARNEST_VAR") or project_root() / "var")
        database = database_url or environ.get("EARNEST_DATABASE_URL") or sqlite_url(folder)
        redis = redis_url or environ.get("EARNEST_REDIS_URL") or embedded_redis_url(folder)
        rules = policy or environ.get("EARNEST_POLICY")
        return cls(
            database_url=checked_database(database),
            redis_url=checked_redis(redis),
            var=folder,
            policy=absolute(rules) if rules else None,
            signing_keys=checked_keys(environ.get("EARNEST_SIGNING_KEYS") or ""),
            retention=checked_retention(environ),
            web_bind=checked_bind(environ.get("EARNEST_WEB_BIND") or WEB_BIND),
            tokens=absolute(tokens) if (tokens := environ.get("EARNEST_TOKENS")) else None,
            archive_after=checked_archive(environ.get("EARNEST_ARCHIVE_AFTER") or ""),
            namespace=checked_namespace(environ.get("EARNEST_NAMESPACE") or NAMESPACE),
        )

    @property
    def embedded_database(self) -> bool:
        """Tell whether the truth is a SQLite file, which needs no server."""
        return self.database_url.startswith("sqlite:")

    @property
    def embedded_redis(self) -> bool:
        """Tell whether Redis is ours to start, under `var`."""
        return self.redis_url == embedded_redis_url(self.var)

    @property
    def keyring(self) -> Keyring:
        """The keys that commands are signed with; empty where nobody asked for signatures."""
        return Keyring.parse(self.signing_keys)

    def environ(self) -> dict[str, str]:
        """Name these settings for a child process: `Settings.read` gives them back."""
        policy = str(self.policy or "")
        base_values = (self.database_url, self.redis_url, str(self.var), policy, self.signing_keys)
        events_kept, events_age = (
            str(self.retention.max_entries),
            format_duration(self.retention.max_age),
        )
        web_values = self.web_bind, str(self.tokens or "")
        archive = NEVER if self.archive_after is None else format_duration(self.archive_after)
        return dict(
            zip(
                SETTING_NAMES,
                (*base_values, events_kept, events_age, *web_values, archive, self.namespace),
                strict=True,
            )
        )


def refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in SETTING_NAMES:
            raise SettingsError(f"{name} is not a setting; {suggest_setting(name)}")


def suggest_setting(name: str) -> str:
    """Guess what was meant, by the part in which names differ."""
    known_names = [known_name.removeprefix(PREFIX) for known_name in SETTING_NAMES]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), known_names, n=1, cutoff=0.5)
    return f"did you mean {PREFIX}{near[0]}?" if near else f"known are {', '.join(SETTING_NAMES)}."


def absolute(path: Path | str) -> Path:
    # Not resolve(): a state folder behind a symbolic link keeps the name it was given.
    return Path(os.path.abspath(path))  # noqa: PTH100


def project_root() -> Path:
    return Path(__file__).resolve().parent.parent


def sqlite_url(var: Path) -> str:
    return f"sqlite:///{var / 'earnest.db'}"


def embedded_redis_url(var: Path) -> str:
    """Say where the embedded Redis-protocol server of this state folder listens."""
    return "unix://" + quote(str(redis_socket(var)))


# A unix socket's address holds 104 bytes on macOS and 108 on Linux, with an end mark.
MAX_SOCKET_BYTES = 100


def redis_socket(var: Path) -> Path:
    """Choose the socket: beside the data, or under a short name when that is too long."""
    beside = absolute(var) / "redis" / "redis.sock"
    if len(os.fsencode(beside)) <= MAX_SOCKET_BYTES:
        return beside
    digest = hashlib.sha256(os.fsencode(os.path.realpath(var))).hexdigest()[:16]
    return short_folder() / f"earnest-{digest}" / "redis.sock"


def short_folder() -> Path:
    """Find a folder for sockets whose own name leaves room for theirs."""
    folder = Path(tempfile.gettempdir())
    return folder if len(os.fsencode(folder)) <= MAX_SOCKET_BYTES // 2 else Path("/tmp")  # noqa: S108


DATABASE_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def checked_database(url: str) -> str:
    """Name the driver that is installed, and refuse what the schema does not support."""
    scheme, separator, location = url.partition("://")
    if not separator or scheme not in DATABASE_DRIVERS:
        raise SettingsError(
            f"The database URL begins with {describe_scheme(scheme, separator)}; it must be "
            "postgresql://… or sqlite:///path/to/file."
        )
    file = location.partition("?")[0]
    if scheme == "sqlite" and (not file.startswith("/") or file in {"/", "/:memory:"}):
        raise SettingsError(
            "The database URL names no file, and a database in memory would be lost "
            "between processes; write sqlite:///path/to/file."
        )
    refuse_unreadable("database", url)
    return f"{DATABASE_DRIVERS[scheme]}://{location}"


REDIS_SCHEMES = ("redis", "rediss", "unix")


def checked_redis(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in REDIS_SCHEMES:
        raise SettingsError(
            f"The Redis URL begins with {describe_scheme(scheme, separator)}; it must be "
            "redis://…, rediss://… or unix:///path/to/socket."
        )
    refuse_unreadable("Redis", url)
    return url


def describe_scheme(scheme: str, separator: str) -> str:
    """Show what a URL begins with, unless that may be a password in the wrong place."""
    return f"{scheme}://" if separator else "no scheme"


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


MAX_EVENTS_KEPT = 100_000_000


def checked_retention(environ: Mapping[str, str]) -> RetentionLimits:
    """Read how many events the streams keep, and for how long."""
    kept_text, age_text = (
        environ.get("EARNEST_EVENTS_KEPT", ""),
        environ.get("EARNEST_EVENTS_AGE", ""),
    )
    if kept_text and (not kept_text.isdecimal() or not 1 <= int(kept_text) <= MAX_EVENTS_KEPT):
        raise SettingsError(f"EARNEST_EVENTS_KEPT is not a number from 1 to {MAX_EVENTS_KEPT}.")
    try:
        age = parse_duration(age_text) if age_text else RetentionLimits().max_age
    except ValueError:
        raise SettingsError("EARNEST_EVENTS_AGE is not a duration like P7D or PT12H.") from None
    return RetentionLimits(int(kept_text) if kept_text else RetentionLimits().max_entries, age)


MAX_PORT = 65_535


def checked_bind(bind: str) -> str:
    """Accept an address to listen at: a host, or an IPv6 address in brackets, and a port."""
    host, separator, port = bind.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise SettingsError("EARNEST_WEB_BIND must be like 127.0.0.1:8000 or [::1]:8000.")
    return bind


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


NAMESPACE_PATTERN = re.compile(r"[a-z0-9_-]{1,32}")


def checked_namespace(name: str) -> str:
    """Accept a name that stands before a colon and is a pattern of nothing."""
    if not NAMESPACE_PATTERN.fullmatch(name):
        raise SettingsError(
            "EARNEST_NAMESPACE must be 1 to 32 lower-case letters, digits, `_` and `-`."
        )
    return name
