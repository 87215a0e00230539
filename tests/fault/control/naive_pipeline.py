"""Naive pipeline: as most would write it, kept to prove that the faults here can bite.

Stock Dramatiq actors with everything on; one transaction, and then the event is sent; deadlines by
`delay=`; no receipts. Nothing in it is wrong on a good day. Run as
`dramatiq tests.fault.control.naive_pipeline`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from models.fields import format_instant
from workers.timestamps import from_us, now_us

STREAM = "naive:events"

WINDOW_MS = 3_000
"""How long an order waits for each next step."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
  order_id TEXT PRIMARY KEY, state TEXT, held_fen INTEGER, due_us INTEGER, sequence INTEGER);
CREATE TABLE IF NOT EXISTS outcomes (
  key TEXT, outcome TEXT, reason TEXT, received_us INTEGER);
CREATE TABLE IF NOT EXISTS events (
  subject TEXT, sequence INTEGER, type TEXT, at_us INTEGER, recorded_us INTEGER,
  caused_by TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS postings (event_id TEXT, account TEXT, amount_fen INTEGER);
"""

# From which state a command leads where; whoever is paid moves money first.
TRANSITIONS = {
    ("awaiting_deposit", "confirm_payment"): ("offered", "order.offered"),
    ("offered", "accept_order"): ("awaiting_balance", "order.accepted"),
    ("awaiting_balance", "confirm_payment"): ("in_fulfilment", "order.funded"),
    ("offered", "decline_order"): ("declined", "order.declined"),
    ("offered", "cancel_order"): ("cancelled", "order.cancelled"),
}

TIMEOUT_STATES = {
    "awaiting_deposit": "expired",
    "offered": "expired",
    "awaiting_balance": "forfeited",
}

NaiveEvent = dict[str, Any]
url = os.environ.get("NAIVE_REDIS", "redis://127.0.0.1:1/0")
broker = RedisBroker(url=url)  # type: ignore[no-untyped-call]

dramatiq.set_broker(broker)


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """Open the database for one transaction."""
    with closing(sqlite3.connect(os.environ["NAIVE_DATABASE"], timeout=15)) as connection:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


@dramatiq.actor(max_retries=3, min_backoff=500)
def handle(text: str, received_us: int) -> None:
    """Apply a command, and then publish its events."""
    command = json.loads(text)
    with transaction() as connection:
        events = apply_command(connection, command, received_us)
        outcome = "applied" if events else "rejected"
        values = (key_of(command), outcome, None, received_us)
        connection.execute("INSERT INTO outcomes VALUES (?, ?, ?, ?)", values)
    publish(events)
    for event in events:
        if event["waits"]:
            enforce.send_with_options(args=(event["order_id"], event["state"]), delay=WINDOW_MS)


@dramatiq.actor(max_retries=3, min_backoff=500)
def enforce(order_id: str, state: str) -> None:
    """End an order's wait, if it still waits for the same."""
    with transaction() as connection:
        row = read_order(connection, order_id)
        events = []
        if row is not None and row[0] == state:
            caused_by = f"deadline:{state}"
            change = (TIMEOUT_STATES[state], f"order.{TIMEOUT_STATES[state]}", -row[1])
            events = [record_change(connection, order_id, change, caused_by, row[2])]
    publish(events)


def key_of(command: NaiveEvent) -> str:
    """Name a command as Earnest does, so that both are held to the same."""
    return f"{command['by']['role']}:{command['by']['id']}:{command['id']}"


def apply_command(
    connection: sqlite3.Connection, command: NaiveEvent, at_us: int
) -> list[NaiveEvent]:
    """Change the order; return what happened."""
    caused_by, kind = f"command:{key_of(command)}", command["kind"]
    if kind == "register_creator":
        return [{"id": None, "waits": False}]
    order_id = command.get("order_id") or command["shares"][0]["order_id"]
    if kind == "place_order":
        values = (order_id, "", 0, 0, 0)
        connection.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?)", values)
        change = ("awaiting_deposit", "order.placed", 0)
        return [record_change(connection, order_id, change, caused_by, at_us)]
    row = read_order(connection, order_id)
    if row is None:
        return []
    if kind == "confirm_payment" and (row[0], kind) not in TRANSITIONS:
        # The money has come, so it is booked.
        change = (row[0], "payment.applied", command["amount_fen"])
        return [record_change(connection, order_id, change, caused_by, at_us)]
    if (row[0], kind) not in TRANSITIONS:
        return []
    state, event_type = TRANSITIONS[row[0], kind]
    amount_fen = command.get("amount_fen", 0) if kind == "confirm_payment" else 0
    amount_fen = -row[1] if state in {"declined", "cancelled"} else amount_fen
    return [record_change(connection, order_id, (state, event_type, amount_fen), caused_by, at_us)]


def read_order(connection: sqlite3.Connection, order_id: str) -> tuple[str, int, int] | None:
    query = "SELECT state, held_fen, due_us FROM orders WHERE order_id = ?"
    row: tuple[str, int, int] | None = connection.execute(query, (order_id,)).fetchone()
    return row


def record_change(
    connection: sqlite3.Connection,
    order_id: str,
    change: tuple[str, str, int],
    caused_by: str,
    at_us: int,
) -> NaiveEvent:
    """Write down one change of one order: its state, its event, its money."""
    state, event_type, amount_fen = change
    due_us = at_us + WINDOW_MS * 1000 if state in TIMEOUT_STATES else None
    connection.execute(
        "UPDATE orders SET state = ?, held_fen = held_fen + ?, due_us = ?, sequence = sequence + 1"
        " WHERE order_id = ?",
        (state, amount_fen, due_us, order_id),
    )
    query = "SELECT sequence FROM orders WHERE order_id = ?"
    (sequence,) = connection.execute(query, (order_id,)).fetchone()
    subject = f"order:{order_id}"
    body = {"type": event_type, "at": format_instant(from_us(at_us)), "state": state}
    values = (subject, sequence, event_type, at_us, now_us(), caused_by, json.dumps(body))
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    if amount_fen:
        for account, fen in ((f"escrow:{order_id}", amount_fen), ("psp", -amount_fen)):
            posting = (f"{subject}/{sequence}", account, fen)
            connection.execute("INSERT INTO postings VALUES (?, ?, ?)", posting)
    header = {"id": f"{subject}/{sequence}", "order_id": order_id, "waits": state in TIMEOUT_STATES}
    return header | body


def publish(events: list[NaiveEvent]) -> None:
    """Publish events, after they were committed."""
    with redis.Redis.from_url(os.environ["NAIVE_REDIS"]) as client:
        for event in events:
            if event["id"]:
                client.xadd(STREAM, {"event": json.dumps(published_fields(event))})


def published_fields(event: NaiveEvent) -> NaiveEvent:
    return {field: event[field] for field in ("id", "type", "at")}
