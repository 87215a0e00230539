"""Server checks: refuse a database or a Redis that could lose what it acknowledges."""

from __future__ import annotations

import redis
from sqlalchemy import Engine, text

from models.errors import Unavailable
from workers.database.engine import reading
from workers.database.migrations import is_current
from workers.settings import SettingsError

MIN_POSTGRESQL_VERSION = 150_000


def check_servers(engine: Engine, client: redis.Redis) -> None:
    """Refuse servers that would lose what they acknowledge, or that are not prepared.

    Raise `SettingsError` for what a person must change, `Unavailable` for a server that is away.
    """
    refuse_unsafe_postgresql(engine)
    refuse_evicting_redis(client)
    if not is_current(engine):
        raise SettingsError("The database has another schema version: run `earnest migrate`.")


def refuse_evicting_redis(client: redis.Redis) -> None:
    """Refuse a Redis that may drop what it was given; raise as `check_servers` does."""
    try:
        config = client.config_get("maxmemory-policy")
    except redis.ResponseError:
        # A managed Redis may not show its settings; then its owner answers for them.
        config = {}
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    eviction_policy = config.get("maxmemory-policy", "noeviction")
    if eviction_policy != "noeviction":
        raise SettingsError(
            f"Redis has maxmemory-policy {eviction_policy}: it could drop commands; set noeviction"
        )


def refuse_unsafe_postgresql(engine: Engine) -> None:
    """Refuse a PostgreSQL that acknowledges commits too early, or cannot keep every text."""
    if engine.dialect.name != "postgresql":
        return
    with reading(engine) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            value = connection.execute(text(f"SHOW {setting}")).scalar_one()
            if value == "off":
                message = f"PostgreSQL has {setting} off: a commit could be lost; turn it on"
                raise SettingsError(message)
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            message = f"The database's encoding is {encoding}: create it with ENCODING 'UTF8'"
            raise SettingsError(message)
        number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
        if number < MIN_POSTGRESQL_VERSION:
            message = f"PostgreSQL {number // 10_000} is too old: 15 or later is needed"
            raise SettingsError(message)
