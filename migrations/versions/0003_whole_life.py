"""Whole life: work, settlement, parties with a standing, and debts with deadlines of their own.

What waited for nobody before waits for somebody now: an order in fulfilment gets its whole first
window from this moment on, told by an event of its own, so that an upgrade cancels nobody; money
owed gets its whole time to leave.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

STATES = (
    "'accepted_delivery', 'awaiting_balance', 'awaiting_deposit', 'balance_overdue', 'cancelled',"
    " 'completed', 'content_review', 'declined', 'expired', 'forfeited', 'in_arbitration',"
    " 'in_fulfilment', 'offered', 'producing', 'published', 'ready_to_publish', 'script_review',"
    " 'script_revision'"
)
REASONED = "'cancelled', 'completed', 'declined', 'expired', 'forfeited', 'in_arbitration'"
FINAL = "'cancelled', 'completed', 'declined', 'expired', 'forfeited'"

FIRST_WORK = timedelta(days=14)
FIRST_LEAD = timedelta(days=1)
UNCONFIRMED_US = 7 * 86_400 * 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHUNK = 1_000

SUSPENDED = "INSERT INTO suspended VALUES (:share_id, :payment_id, :order_id, :fen, :at, NULL)"

DOCUMENTED = """
    INSERT INTO creators (creator_id, name, mcn_id, sequence, standing, document)
    SELECT creator_id, name, mcn_id, sequence, 'free', CAST(json_object(
        'creator_id', creator_id, 'name', name, 'mcn_id', mcn_id, 'sequence', sequence
    ) AS TEXT) FROM creators_before
"""


def upgrade() -> None:
    """Create what the tables of `workers/` describe, and carry over what is there."""
    now = datetime.now(UTC)
    _orders()
    _parties()
    _debts(_us(now))
    op.add_column("receipts", _maybe("cost_fen"))
    _give_time(now)


def _orders() -> None:
    checks = {
        "state_known": f"state IN ({STATES})",
        "ended": f"(state IN ({REASONED})) = (reason IS NOT NULL)",
        "waits_and_wakes": "due_at IS NULL OR wake_at IS NOT NULL",
    }
    if op.get_bind().dialect.name == "sqlite":
        _rewrite(checks)
    else:
        for name, condition in checks.items():
            op.drop_constraint(op.f(f"ck_orders_{name}"), "orders", type_="check")
            op.create_check_constraint(op.f(f"ck_orders_{name}"), "orders", condition)
    _partial("ix_orders_roster", "orders", "creator_id", f"state NOT IN ({FINAL})")


def _rewrite(checks: dict[str, str]) -> None:
    """Write SQLite's table anew: it has no other way to change what a table holds to be true."""
    connection = op.get_bind()
    query = "SELECT sql FROM sqlite_master WHERE type = '{}' AND tbl_name = 'orders'"
    (before,) = connection.execute(sa.text(query.format("table"))).scalars()
    indexes = list(connection.execute(sa.text(query.format("index"))).scalars())
    lines = [_checked(line, checks) for line in before.splitlines()]
    connection.execute(sa.text("ALTER TABLE orders RENAME TO orders_before"))
    connection.execute(sa.text("\n".join(lines)))
    connection.execute(sa.text("INSERT INTO orders SELECT * FROM orders_before"))
    connection.execute(sa.text("DROP TABLE orders_before"))
    for one in filter(None, indexes):
        connection.execute(sa.text(one))


def _checked(line: str, checks: dict[str, str]) -> str:
    for name, condition in checks.items():
        if f"CONSTRAINT ck_orders_{name} " in line:
            return f"\tCONSTRAINT ck_orders_{name} CHECK ({condition}), "
    return line


def _parties() -> None:
    op.rename_table("creators", "creators_before")
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute("ALTER INDEX pk_creators RENAME TO pk_creators_before")
    known = "standing IN ('banned', 'banned_for_good', 'free', 'left')"
    check = sa.CheckConstraint(known, name=op.f("ck_creators_standing_known"))
    columns = (*_texts("name"), _maybe("mcn_id", sa.Text()), _whole("sequence"))
    projections = (*_texts("standing"), _maybe("wake_at"), *_texts("document"))
    _table("creators", "creator_id", *columns, *projections, check)
    op.execute(DOCUMENTED if sqlite else DOCUMENTED.replace("json_object", "json_build_object"))
    op.drop_table("creators_before")
    _partial("ix_creators_wake_at", "creators", "wake_at", "wake_at IS NOT NULL")
    for table, key in (("clients", "client_id"), ("providers", "provider_id")):
        _table(table, key, *_texts("name"), _whole("sequence"))
    content = sa.Column("content", sa.LargeBinary(), nullable=False)
    reported = (_whole("reported_at"), _maybe("overturned_at"))
    _table("violations", "violation_id", *_texts("creator_id"), content, *reported)
    op.create_index(op.f("ix_violations_creator_id"), "violations", ["creator_id"])


def _debts(now: int) -> None:
    for column in (_maybe("for_order_id", sa.Text()), _maybe("due_at"), _maybe("wake_at")):
        op.add_column("refunds", column)
    op.get_bind().execute(
        sa.text("UPDATE refunds SET due_at = :at, wake_at = :at WHERE confirmed_at IS NULL"),
        {"at": now + UNCONFIRMED_US},
    )
    _partial("ix_refunds_wake_at", "refunds", "wake_at", "wake_at IS NOT NULL")
    late = map(_maybe, ("confirmed_at", "due_at", "wake_at"))
    owed = (*_texts("order_id party"), _whole("amount_fen"), _whole("requested_at"))
    _table("payouts", "payout_id", *owed, *late, _some_money("payouts"))
    op.create_index(op.f("ix_payouts_order_id"), "payouts", ["order_id"])
    _partial("ix_payouts_wake_at", "payouts", "wake_at", "wake_at IS NOT NULL")
    _partial("ix_payouts_waiting", "payouts", "requested_at", "confirmed_at IS NULL")
    stray = (*_texts("payment_id order_id"), _whole("amount_fen"), _whole("suspended_at"))
    _table("suspended", "share_id", *stray, _maybe("resolved_at"), _some_money("suspended"))
    _suspend()


def _suspend() -> None:
    """Keep a row for each share that has waited in suspense, as its event tells it."""
    query = (
        "SELECT subject, at, body FROM events"
        " WHERE type = 'payment.unapplied' AND subject LIKE 'payment:%'"
    )
    for subject, at, body in op.get_bind().execute(sa.text(query)).all():
        told = json.loads(body)
        if told["client_id"] is None:
            payment_id = subject.removeprefix("payment:")
            row = {"payment_id": payment_id, "order_id": told["for_order_id"], "at": at}
            row |= {"share_id": f"{payment_id}:{told['for_order_id']}", "fen": told["amount_fen"]}
            op.get_bind().execute(sa.text(SUSPENDED), row)


def _give_time(now: datetime) -> None:
    """Arm the first window of orders in fulfilment, and tell everybody."""
    for chunk in _in_fulfilment():
        events, orders = [], []
        for document in map(json.loads, chunk):
            events.append(_extension(document, now))
            document |= {"sequence": document["sequence"] + 1}
            document |= {"due_at": _text(now + FIRST_WORK), "reminded": "P14D"}
            orders.append(_armed(document, now))
        op.get_bind().execute(
            sa.text(
                "INSERT INTO events (subject, sequence, type, at, recorded_at, caused_by, body)"
                " VALUES (:subject, :sequence, :type, :at, :at, :caused_by, :body)"
            ),
            events,
        )
        op.get_bind().execute(
            sa.text(
                "UPDATE orders SET document = :document, sequence = :sequence, due_at = :due_at,"
                " wake_at = :wake_at WHERE order_id = :order_id"
            ),
            orders,
        )


def _in_fulfilment() -> Iterator[list[str]]:
    after = ""
    query = sa.text(
        "SELECT order_id, document FROM orders WHERE state = 'in_fulfilment'"
        " AND order_id > :after ORDER BY order_id LIMIT :chunk"
    )
    while rows := op.get_bind().execute(query, {"after": after, "chunk": CHUNK}).all():
        yield [document for _, document in rows]
        after = rows[-1][0]


def _extension(order: dict[str, Any], now: datetime) -> dict[str, Any]:
    body = {
        "type": "deadline.extended",
        "order_id": order["order_id"],
        "at": _text(now),
        "sequence": order["sequence"] + 1,
        "caused_by": "upgrade:0003",
        "client_id": order["client_id"],
        "creator_id": order["creator_id"],
        "old_due_at": None,
        "due_at": _text(now + FIRST_WORK),
    }
    return {
        "subject": f"order:{order['order_id']}",
        "sequence": body["sequence"],
        "type": body["type"],
        "at": _us(now),
        "caused_by": body["caused_by"],
        "body": json.dumps(body, separators=(",", ":")),
    }


def _armed(document: dict[str, Any], now: datetime) -> dict[str, Any]:
    due_at = now + FIRST_WORK
    return {
        "order_id": document["order_id"],
        "document": json.dumps(document, separators=(",", ":"), ensure_ascii=False),
        "sequence": document["sequence"],
        "due_at": _us(due_at),
        "wake_at": _us(due_at - FIRST_LEAD),
    }


def _us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _texts(names: str) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, sa.Text(), nullable=False) for name in names.split())


def _whole(name: str) -> sa.Column[Any]:
    return sa.Column(name, WHOLE, nullable=False)


def _maybe(name: str, kind: Any = WHOLE) -> sa.Column[Any]:  # noqa: ANN401 - any type of SQL
    return sa.Column(name, kind, nullable=True)


def _some_money(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("amount_fen > 0", name=op.f(f"ck_{table}_some_money"))


def _table(name: str, key: str, *parts: sa.Column[Any] | sa.CheckConstraint) -> None:
    primary = sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{name}"))
    op.create_table(name, *_texts(key), *parts, primary, sqlite_strict=True)


def _partial(name: str, table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
