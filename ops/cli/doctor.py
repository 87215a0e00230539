"""Doctor: whether all that the pipeline relies on is there, and set up to lose nothing."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import redis
from sqlalchemy import Engine, text

from models import calendar
from models.errors import EarnestError, Unavailable
from ops import terminal
from ops.private_files import mode_for_others, state_paths
from workers.database.engine import LOCK_NOTICE_S, has_one_writer, open_database, reading, writing
from workers.database.migrations import is_current
from workers.outbox import streams as event_streams
from workers.outbox.timeline import find_setback, read_timeline
from workers.processing import failures
from workers.queries import monitoring
from workers.queue.redis import connect
from workers.queue.upgrade import has_leftovers
from workers.runtime import policy_in_force
from workers.server_checks import refuse_unsafe_postgresql
from workers.settings import Settings, SettingsError
from workers.signing import UNSIGNED_FAULT
from workers.timestamps import SECOND_US

CheckState = Literal["ok", "warn", "fail"]

MIN_REDIS_VERSION = (6, 2)

SYNCHRONOUS_FULL = 2
"""What SQLite calls `PRAGMA synchronous = FULL`: a commit is on disk before it returns."""

SKEW_WARN_S, SKEW_FAIL_S = 0.5, 5.0
"""Beyond the first, what people read is off; beyond the second, leases and ages make no sense."""

DISK_WARN_BYTES, DISK_FAIL_BYTES = 1_000_000_000, 100_000_000
"""Bytes that should be free where the state is kept."""

SECRET_MASK, POLICY_MASK = 0o007, 0o002
"""What others must not be able to do with a file of secrets, and with the policy.

A group may: it is the service's, or, where the umask is 002, its owner's alone."""

MAX_REASONS = 3
"""Reasons of quarantine worth a line: the most frequent ones."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One thing that was looked at, and what to do about it if anything."""

    name: str
    state: CheckState
    detail: str


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Check everything; return 1 if any check fails."""
    checks = examine(settings)
    has_failures = any(check.state == "fail" for check in checks)
    if as_json:
        print(json.dumps({"ok": not has_failures, "checks": [asdict(check) for check in checks]}))
    else:
        marks = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}
        rows = [(marks[check.state], check.name, check.detail) for check in checks]
        print(terminal.draw_table("Health", ("", "what", "found"), rows))
    return 1 if has_failures else 0


def examine(settings: Settings) -> list[HealthCheck]:
    """Run every check; one that cannot be made is a failure, and keeps no other from being made."""
    engine, redis_client = open_database(settings.database_url), connect(settings.redis_url)
    checks: dict[str, Callable[[], Iterator[HealthCheck]]] = {
        "policy": lambda: _check_policy(settings),
        "database": lambda: _check_database(engine),
        "database lock": lambda: _check_lock(engine),
        "schema": lambda: _check_schema(engine),
        "redis": lambda: _check_redis(redis_client),
        "timeline": lambda: _check_timeline(engine, redis_client),
        "calendar": lambda: _check_calendar(settings),
        "clocks": lambda: _check_clocks(engine, redis_client),
        "disk": lambda: _check_disk(settings),
        "private files": lambda: _check_modes(settings, engine),
        "processes": lambda: _check_processes(engine, redis_client),
        "quarantine": lambda: _check_quarantine(engine),
        "old messages": lambda: _check_leftovers(redis_client),
        "readers": lambda: _check_readers(settings, redis_client),
    }
    results: list[HealthCheck] = []
    for name, check in checks.items():
        try:
            results += check()
        except (EarnestError, SettingsError, redis.RedisError, OSError) as error:
            results.append(HealthCheck(name, "fail", str(error).splitlines()[0][:200]))
    engine.dispose()
    redis_client.close()
    return results


def _check_policy(settings: Settings) -> Iterator[HealthCheck]:
    source = settings.policy or "the defaults"
    yield HealthCheck("policy", "ok", f"{policy_in_force(settings).version}, {source}")


def _check_calendar(settings: Settings) -> Iterator[HealthCheck]:
    """Look whether the calendar of working days reaches far enough, where it is in force."""
    policy, now = policy_in_force(settings), datetime.now(UTC)
    if policy.day_count != "civil_cn":
        return
    ends_soon = calendar.ends_soon(policy, now)
    detail = f"ends {calendar.last_known_day()}, in {calendar.days_left(now)} days"
    advice = ": install a `chinesecalendar` that knows the next year" if ends_soon else ""
    yield HealthCheck("calendar", "fail" if ends_soon else "ok", detail + advice)


def _check_database(engine: Engine) -> Iterator[HealthCheck]:
    with reading(engine) as connection:
        kind = "PostgreSQL" if engine.dialect.name == "postgresql" else "SQLite"
        version_query = "SHOW server_version" if kind == "PostgreSQL" else "SELECT sqlite_version()"
        yield HealthCheck(
            "database", "ok", f"{kind} {connection.execute(text(version_query)).scalar_one()}"
        )
        if kind == "SQLite":
            mode = connection.execute(text("PRAGMA journal_mode")).scalar_one()
            level = int(connection.execute(text("PRAGMA synchronous")).scalar_one())
            is_durable = mode == "wal" and level >= SYNCHRONOUS_FULL
            detail = f"journal_mode {mode}, synchronous {level}"
            yield HealthCheck("durability of commits", "ok" if is_durable else "fail", detail)
    if kind == "PostgreSQL":
        refuse_unsafe_postgresql(engine)
        detail = "fsync, synchronous_commit and full_page_writes are on"
        yield HealthCheck("durability of commits", "ok", detail)


def _check_lock(engine: Engine) -> Iterator[HealthCheck]:
    """Look whether SQLite's only writer comes to its turn, or who keeps it from that."""
    if not has_one_writer(engine):
        return
    try:
        with writing(engine, timeout_s=LOCK_NOTICE_S):
            yield HealthCheck("database lock", "ok", "whoever writes comes to its turn")
    except Unavailable as error:
        advice = "nothing is settled until it commits or ends: let it, or stop it"
        yield HealthCheck("database lock", "fail", f"{error}; {advice}")


def _check_schema(engine: Engine) -> Iterator[HealthCheck]:
    current = is_current(engine)
    detail = "up to date" if current else "another version: run `earnest migrate`"
    yield HealthCheck("schema", "ok" if current else "fail", detail)


def _check_timeline(engine: Engine, redis_client: redis.Redis) -> Iterator[HealthCheck]:
    """Look whether the database has all that was published."""
    setback = find_setback(engine, redis_client)
    if setback is not None:
        yield HealthCheck("timeline", "fail", f"{setback}; until then nothing is published")
        return
    number = read_timeline(engine).number
    yield HealthCheck("timeline", "ok", f"the database has all that was published (no. {number})")


def _check_redis(redis_client: redis.Redis) -> Iterator[HealthCheck]:
    server_info: Any = redis_client.info("server")
    version = str(server_info.get("valkey_version") or server_info["redis_version"])
    version_numbers = tuple(int(part) for part in version.split(".")[:2])
    name = "Valkey" if "valkey_version" in server_info else "Redis"
    yield HealthCheck(
        "redis", "ok" if version_numbers >= MIN_REDIS_VERSION else "fail", f"{name} {version}"
    )
    try:
        config: Any = redis_client.config_get("maxmemory-policy", "appendonly", "appendfsync")
    except redis.ResponseError:
        yield HealthCheck("durability of the wire", "warn", "the server does not show its settings")
        return
    evicts = config["maxmemory-policy"] != "noeviction"
    detail = f"maxmemory-policy {config['maxmemory-policy']}"
    yield HealthCheck("eviction", "fail" if evicts else "ok", detail)
    is_durable = config["appendonly"] == "yes" and config["appendfsync"] != "no"
    detail = f"appendonly {config['appendonly']}, appendfsync {config['appendfsync']}"
    warning = "" if is_durable else ": what is queued would not survive a restart"
    yield HealthCheck("durability of the wire", "ok" if is_durable else "warn", detail + warning)


def _check_clocks(engine: Engine, redis_client: redis.Redis) -> Iterator[HealthCheck]:
    def redis_time() -> float:
        seconds, micros = redis_client.time()
        return float(seconds + micros / SECOND_US)

    def database_time() -> float:
        with reading(engine) as connection:
            query = text("SELECT extract(epoch FROM clock_timestamp())")
            return float(connection.execute(query).scalar_one())

    yield _check_skew("Redis", redis_time)
    if engine.dialect.name == "postgresql":
        yield _check_skew("PostgreSQL", database_time)


def _check_skew(name: str, read_time: Callable[[], float]) -> HealthCheck:
    """Compare a server's clock with this host's, halfway between question and answer."""
    asked_at = time.time()
    server_time = read_time()
    answered_at = time.time()
    skew_s, uncertainty_s = server_time - (asked_at + answered_at) / 2, (answered_at - asked_at) / 2
    certain_skew_s = max(0.0, abs(skew_s) - uncertainty_s)
    state: CheckState = (
        "fail" if certain_skew_s > SKEW_FAIL_S else "warn" if certain_skew_s > SKEW_WARN_S else "ok"
    )
    detail = f"{skew_s:+.3f} s against this host (±{uncertainty_s:.3f}); Redis's clock decides"
    return HealthCheck(f"clock of {name}", state, detail)


def _check_disk(settings: Settings) -> Iterator[HealthCheck]:
    existing_path = next(path for path in (settings.var, *settings.var.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing_path).free
    state: CheckState = (
        "fail" if free_bytes < DISK_FAIL_BYTES else "warn" if free_bytes < DISK_WARN_BYTES else "ok"
    )
    yield HealthCheck("disk", state, f"{free_bytes / 1e9:.1f} GB free at {settings.var}")


def _check_modes(settings: Settings, engine: Engine) -> Iterator[HealthCheck]:
    """Look whether other users of the machine can read state or secrets, or write the policy."""
    faults: list[tuple[str, str, Path]] = []
    # A folder without any state of ours keeps no secret.
    state = list(state_paths(settings.var))
    if state and any(map(mode_for_others, (settings.var, *state))):
        faults.append(("the state folder", "-R go-rwx", settings.var))
    if settings.embedded_database:
        database = Path(engine.url.database or "")
        if database.parent != settings.var and mode_for_others(database):
            faults.append(("the database", "go-rwx", database))
    if settings.tokens and mode_for_others(settings.tokens) & SECRET_MASK:
        faults.append(("the file of tokens", "o-rwx", settings.tokens))
    if settings.policy and mode_for_others(settings.policy) & POLICY_MASK:
        faults.append(("the policy", "o-w", settings.policy))
    for name, mode, path in faults:
        advice = f"`chmod {mode} {shlex.quote(str(path))}`"
        yield HealthCheck("private files", "fail", f"{name} is open to other users: {advice}")
    if not faults:
        yield HealthCheck("private files", "ok", "no other user can read state or secrets")


def _check_processes(engine: Engine, redis_client: redis.Redis) -> Iterator[HealthCheck]:
    queues = monitoring.queue_status(engine, redis_client)
    workers_alive = queues["workers_alive"]
    yield HealthCheck("workers", "ok" if workers_alive else "warn", f"{workers_alive} alive")
    if stalled_commands := queues["stalled"]:
        oldest = stalled_commands[0]
        behind = oldest["behind"] or "a row that somebody else has locked"
        detail = f"{len(stalled_commands)} wait for long, {oldest['command']} behind {behind}"
        yield HealthCheck("commands", "warn", f"{detail}: see `earnest queues`")
    for name in ("relay", "scheduler"):
        detail = "at work" if queues[name] else "not there: nobody renewed its lease"
        yield HealthCheck(name, "ok" if queues[name] else "warn", detail)


def _check_quarantine(engine: Engine) -> Iterator[HealthCheck]:
    reasons = failures.quarantine_reasons(engine)
    if not reasons:
        yield HealthCheck("quarantine", "ok", "empty")
        return
    counts = [f"{count} {reason}" for reason, count in reasons.items()]
    detail = f"{', '.join(counts[:MAX_REASONS])}: see `earnest quarantine`"
    if dropped_count := failures.count_dropped(engine):
        detail += f". {dropped_count} more were dropped: there is room for so many only"
    if UNSIGNED_FAULT in reasons:
        detail += ". Dramatiq's own senders cannot sign; CommandClient and the HTTP gateway do"
    yield HealthCheck("quarantine", "warn", detail)


def _check_leftovers(redis_client: redis.Redis) -> Iterator[HealthCheck]:
    if has_leftovers(redis_client):
        detail = "a version before 0.3 left some: a worker carries them over when it starts"
        yield HealthCheck("old messages", "warn", detail)


def _check_readers(settings: Settings, redis_client: redis.Redis) -> Iterator[HealthCheck]:
    consumer_groups = event_streams.list_groups(redis_client, settings.retention)
    late_groups = [f"{group.name} of {group.stream}" for group in consumer_groups if group.behind]
    detail = f"{len(consumer_groups)} groups" + (
        f", too far behind: {', '.join(late_groups)}" if late_groups else ""
    )
    yield HealthCheck("readers of events", "warn" if late_groups else "ok", detail)
