"""Dataset: a database with as many orders as wanted, written in a few statements.

Made so that nothing is easy: one creator has a twentieth of all orders, forty have a quarter; an
agency has a tenth of the creators, another has only such as have had nothing for long; hardly any
order is offered; most ids rise with time, some are anything. What ended in the older half of the
time has been archived.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from bench.measures.deadlines import offered_order
from models.orders.order import ORDER_ADAPTER
from models.policy import Policy
from workers.database.engine import writing
from workers.database.repository import Store

STEP_US = 80_000_000
"""Between two orders: a million of them take two and a half years."""

FIRST_AT = 1_700_000_000_000_000
FIRST_ID = 10_000_000
CLIENTS = 5_000

FORMER_CREATORS = 2_000
"""Creators who had the oldest tenth of all orders, and none since."""

CHUNK = 100_000
SQL = Path(__file__).with_name("dataset.sql").read_text("utf-8")
*INSERT_PARTIES, INSERT_ORDERS = SQL.removesuffix(";\n").split(";\n")
INSERT_ARCHIVED_ORDERS = INSERT_ORDERS.replace(
    "INSERT INTO orders", "INSERT INTO archived_orders"
).replace("= 'at hand'", "= 'at rest'")


def creators_of(orders: int) -> int:
    """Return how many creators share so many orders."""
    return max(100, orders // 50)


def placed_at(number: int) -> int:
    """Return when an order was placed, in microseconds."""
    return FIRST_AT + number * STEP_US


def write_orders(engine: Engine, orders: int) -> None:
    """Fill a database with orders, their creators and clients."""
    policy, creators = Policy(), creators_of(orders)
    Store(engine, policy).adopt_policy()
    for statement, last in zip(
        INSERT_PARTIES, (creators + 41, FORMER_CREATORS, CLIENTS), strict=True
    ):
        with writing(engine) as connection:
            connection.execute(text(statement), {"first": 0, "last": last})
    order, _ = offered_order(policy)
    parameters = {
        "orders": orders,
        "former": FORMER_CREATORS,
        "creators": creators,
        "clients": CLIENTS,
        "now": FIRST_AT + orders * STEP_US,
        "first_at": FIRST_AT,
        "first_id": FIRST_ID,
        "step": STEP_US,
        "archived_before": placed_at(orders // 2),
        "version": policy.version,
        "document": ORDER_ADAPTER.dump_json(order).decode(),
    }
    for first in range(0, orders, CHUNK):
        bounds = {"first": first, "last": min(first + CHUNK, orders) - 1}
        with writing(engine) as connection:
            connection.execute(text(INSERT_ORDERS), parameters | bounds)
            connection.execute(text(INSERT_ARCHIVED_ORDERS), parameters | bounds)
    _tidy(engine)


def _tidy(engine: Engine) -> None:
    """Let PostgreSQL look at its tables, as its own housekeeping does after such a load."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("VACUUM ANALYZE"))
