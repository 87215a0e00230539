"""Preflight: what is sure to fail is found before anything is started, and said in one line.

Every process looks for itself, too, and several would say the same, one after the other.
"""

from __future__ import annotations

from ops.web.address import listen
from workers.settings import Settings


def preflight(settings: Settings) -> None:
    """Look at the address, and at the servers that are not ours to start.

    Raise `SettingsError` for what a person must change, `Unavailable` for a server that is away.
    """
    listen(settings.web_bind).close()
    if not settings.embedded_redis:
        _look_at_redis(settings.redis_url)
    if not settings.embedded_database:
        _look_at_database(settings.database_url)


def _look_at_redis(url: str) -> None:
    # Here, because a supervisor whose servers are all its own needs neither driver, for months.
    from workers.queue.redis import connect  # noqa: PLC0415
    from workers.server_checks import refuse_forgetful  # noqa: PLC0415

    with connect(url) as client:
        refuse_forgetful(client)


def _look_at_database(url: str) -> None:
    from workers.database.engine import open_database  # noqa: PLC0415
    from workers.server_checks import refuse_unsafe  # noqa: PLC0415

    engine = open_database(url, 1)
    try:
        refuse_unsafe(engine)
    finally:
        engine.dispose()
