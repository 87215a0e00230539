"""Doctor: whether all that the pipeline relies on is there, and set up to lose nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import redis
from sqlalchemy import Engine, text

from models.errors import EarnestError
from ops import tables
from workers import groups, watching
from workers.clock import SECOND_US
from workers.database import open_database, reading, refuse_unsafe
from workers.migrate import is_current
from workers.process import policy_in_force
from workers.settings import Settings, SettingsError
from workers.wire import connect

State = Literal["ok", "warn", "fail"]

OLDEST_REDIS = (6, 2)
SKEW_WARN_S, SKEW_FAIL_S = 0.5, 5.0
"""Beyond the first, what people read is off; beyond the second, leases and ages make no sense."""

DISK_WARN, DISK_FAIL = 1_000_000_000, 100_000_000
"""Bytes that should be free where the state is kept."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do about it if anything."""

    name: str
    state: State
    detail: str


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Look at everything; return 1 if anything must be mended."""
    found = examine(settings)
    failed = any(one.state == "fail" for one in found)
    if as_json:
        print(json.dumps({"ok": not failed, "checks": [asdict(one) for one in found]}))
    else:
        marks = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}
        rows = [(marks[one.state], one.name, one.detail) for one in found]
        print(tables.draw("Health", ("", "what", "found"), rows))
    return 1 if failed else 0


def examine(settings: Settings) -> list[Check]:
    """Run every check; one that cannot be made is a failure, and keeps no other from being made."""
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    checks: dict[str, Callable[[], Iterator[Check]]] = {
        "policy": lambda: _policy(settings),
        "database": lambda: _database(engine),
        "schema": lambda: _schema(engine),
        "redis": lambda: _redis(client),
        "clocks": lambda: _clocks(engine, client),
        "disk": lambda: _disk(settings),
        "processes": lambda: _processes(engine, client),
        "readers": lambda: _readers(settings, client),
    }
    found: list[Check] = []
    for name, check in checks.items():
        try:
            found += check()
        except (EarnestError, SettingsError, redis.RedisError, OSError) as error:
            found.append(Check(name, "fail", str(error).splitlines()[0][:200]))
    engine.dispose()
    client.close()
    return found


def _policy(settings: Settings) -> Iterator[Check]:
    where = settings.policy or "the defaults"
    yield Check("policy", "ok", f"{policy_in_force(settings).version}, {where}")


def _database(engine: Engine) -> Iterator[Check]:
    with reading(engine) as connection:
        kind = "PostgreSQL" if engine.dialect.name == "postgresql" else "SQLite"
        asked = "SHOW server_version" if kind == "PostgreSQL" else "SELECT sqlite_version()"
        yield Check("database", "ok", f"{kind} {connection.execute(text(asked)).scalar_one()}")
        if kind == "SQLite":
            mode = connection.execute(text("PRAGMA journal_mode")).scalar_one()
            level = int(connection.execute(text("PRAGMA synchronous")).scalar_one())
            safe = mode == "wal" and level >= FULL
            said = f"journal_mode {mode}, synchronous {level}"
            yield Check("durability of commits", "ok" if safe else "fail", said)
    if kind == "PostgreSQL":
        refuse_unsafe(engine)
        said = "fsync, synchronous_commit and full_page_writes are on"
        yield Check("durability of commits", "ok", said)


FULL = 2


def _schema(engine: Engine) -> Iterator[Check]:
    current = is_current(engine)
    said = "up to date" if current else "another version: run `earnest migrate`"
    yield Check("schema", "ok" if current else "fail", said)


def _redis(client: redis.Redis) -> Iterator[Check]:
    server: Any = client.info("server")
    version = str(server.get("valkey_version") or server["redis_version"])
    number = tuple(int(part) for part in version.split(".")[:2])
    name = "Valkey" if "valkey_version" in server else "Redis"
    yield Check("redis", "ok" if number >= OLDEST_REDIS else "fail", f"{name} {version}")
    try:
        chosen: Any = client.config_get("maxmemory-policy", "appendonly", "appendfsync")
    except redis.ResponseError:
        yield Check("durability of the wire", "warn", "the server does not show its settings")
        return
    evicts = chosen["maxmemory-policy"] != "noeviction"
    said = f"maxmemory-policy {chosen['maxmemory-policy']}"
    yield Check("eviction", "fail" if evicts else "ok", said)
    kept = chosen["appendonly"] == "yes" and chosen["appendfsync"] != "no"
    said = f"appendonly {chosen['appendonly']}, appendfsync {chosen['appendfsync']}"
    lost = "" if kept else ": what is queued would not survive a restart"
    yield Check("durability of the wire", "ok" if kept else "warn", said + lost)


def _clocks(engine: Engine, client: redis.Redis) -> Iterator[Check]:
    def redis_time() -> float:
        seconds, micros = client.time()
        return float(seconds + micros / SECOND_US)

    def database_time() -> float:
        with reading(engine) as connection:
            asked = text("SELECT extract(epoch FROM clock_timestamp())")
            return float(connection.execute(asked).scalar_one())

    yield _skew("Redis", redis_time)
    if engine.dialect.name == "postgresql":
        yield _skew("PostgreSQL", database_time)


def _skew(name: str, ask: Callable[[], float]) -> Check:
    """Compare a server's clock with this host's, halfway between question and answer."""
    before = time.time()
    theirs = ask()
    after = time.time()
    skew, doubt = theirs - (before + after) / 2, (after - before) / 2
    off = max(0.0, abs(skew) - doubt)
    state: State = "fail" if off > SKEW_FAIL_S else "warn" if off > SKEW_WARN_S else "ok"
    said = f"{skew:+.3f} s against this host (±{doubt:.3f}); Redis's clock decides"
    return Check(f"clock of {name}", state, said)


def _disk(settings: Settings) -> Iterator[Check]:
    place = next(one for one in (settings.var, *settings.var.parents) if one.exists())
    free = shutil.disk_usage(place).free
    state: State = "fail" if free < DISK_FAIL else "warn" if free < DISK_WARN else "ok"
    yield Check("disk", state, f"{free / 1e9:.1f} GB free at {settings.var}")


def _processes(engine: Engine, client: redis.Redis) -> Iterator[Check]:
    found = watching.queues(engine, client)
    alive = found["workers_alive"]
    yield Check("workers", "ok" if alive else "warn", f"{alive} alive")
    for name in ("relay", "scheduler"):
        said = "at work" if found[name] else "not there: nobody renewed its lease"
        yield Check(name, "ok" if found[name] else "warn", said)


def _readers(settings: Settings, client: redis.Redis) -> Iterator[Check]:
    found = groups.groups(client, settings.retention)
    late = [f"{one.name} of {one.stream}" for one in found if one.behind]
    said = f"{len(found)} groups" + (f", too far behind: {', '.join(late)}" if late else "")
    yield Check("readers of events", "warn" if late else "ok", said)
