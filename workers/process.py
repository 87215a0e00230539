"""Process: what the long-running processes share: signals, a policy, servers fit for money."""

from __future__ import annotations

import signal
import threading
from typing import Any

import redis
from sqlalchemy import Engine

from models.errors import Unavailable
from models.policy import Policy, read_policy
from workers.checked import SettingsError
from workers.database import refuse_unsafe
from workers.migrate import is_current
from workers.settings import Settings


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    stopping = threading.Event()

    def stop(*_: Any) -> None:  # noqa: ANN401 - a signal handler's own arguments
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def policy_in_force(settings: Settings) -> Policy:
    """Read the policy file, or take the defaults; raise `InvalidPolicy` or `SettingsError`."""
    if settings.policy is None:
        return Policy()
    try:
        text = settings.policy.read_bytes()
    except OSError as error:
        raise SettingsError(f"policy {settings.policy}: {error.strerror}") from None
    return read_policy(text)


def check_servers(engine: Engine, client: redis.Redis) -> None:
    """Refuse servers that would lose what they acknowledge, or that are not prepared.

    Raise `SettingsError` for what a person must change, `Unavailable` for a server that is away.
    """
    refuse_unsafe(engine)
    refuse_forgetful(client)
    if not is_current(engine):
        raise SettingsError("The database has another schema version: run `earnest migrate`.")


def refuse_forgetful(client: redis.Redis) -> None:
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
