"""Storage: what an order takes on disk and in streams, and how many commits a disk holds."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Engine, func, select, text

from bench import workload
from bench.servers import BenchServers, process_command, running_servers, wait_until_empty
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import reading, writing
from workers.outbox.streams import EVENTS_STREAM
from workers.queue.redis import COMMANDS, Keys

COMMITS = 300


def figures(database: str, orders: int) -> dict[str, float]:
    """Settle and publish orders; bytes an order, a row and an event, and commits a second."""
    with running_servers(database) as servers:
        client = CommandClient(servers.redis)
        client.submit(workload.registration())
        empty_bytes = _stored(servers.engine)
        client.submit_many(workload.orders(orders))
        with servers.running(*map(process_command, ("worker", "relay"))):
            wait_until_empty(lambda: int(servers.redis.hlen(Keys(COMMANDS).messages)))
            wait_until_empty(lambda: _unpublished(servers.engine))
        return {
            "bytes_an_order": round((_stored(servers.engine) - empty_bytes) / orders),
            **_rows(servers.engine, orders),
            **_streamed(servers, orders),
            "commits_per_s": _commits_per_s(servers.engine),
        }


def _rows(engine: Engine, orders: int) -> dict[str, float]:
    """Tell the table of orders from its indexes, where the database can."""
    if engine.dialect.name == "sqlite":
        return {}
    with reading(engine) as connection:
        query = "SELECT pg_indexes_size('orders'), pg_table_size('orders')"
        indexes, rows = connection.execute(text(query)).one()
    return {"order_row_bytes": round(rows / orders), "order_index_bytes": round(indexes / orders)}


def _stored(engine: Engine) -> int:
    """Return the bytes that a database takes, without what PostgreSQL would clear up by itself."""
    if engine.dialect.name == "sqlite":
        size = "page_count * page_size FROM pragma_page_count, pragma_page_size"
        with reading(engine) as connection:
            return int(connection.execute(text(f"SELECT {size}")).scalar_one())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM FULL"))
        size = "pg_database_size(current_database())"
        return int(connection.execute(text(f"SELECT {size}")).scalar_one())


def _unpublished(engine: Engine) -> int:
    query = select(func.count()).where(schema.events.c.published_at.is_(None))
    with reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


def _streamed(servers: BenchServers, orders: int) -> dict[str, float]:
    client: Any = servers.redis
    length, size = client.xlen(EVENTS_STREAM), client.memory_usage(EVENTS_STREAM, samples=0)
    return {"events_an_order": round(length / orders, 1), "stream_bytes": round(size / length)}


def _commits_per_s(engine: Engine) -> int:
    """Make one small row after another durable."""
    statement = text("UPDATE tallies SET value = value + 1 WHERE name = 'events'")
    began = time.perf_counter()
    for _ in range(COMMITS):
        with writing(engine) as connection:
            connection.execute(statement)
    return round(COMMITS / (time.perf_counter() - began))
