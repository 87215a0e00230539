"""Archive: tables for what has come to rest, and the instant at which each order ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

STATES = (
    "'accepted_delivery', 'awaiting_balance', 'awaiting_deposit', 'balance_overdue', 'cancelled',"
    " 'completed', 'content_review', 'declined', 'expired', 'forfeited', 'in_arbitration',"
    " 'in_fulfilment', 'offered', 'producing', 'published', 'ready_to_publish', 'script_review',"
    " 'script_revision'"
)
REASONED = "'cancelled', 'completed', 'declined', 'expired', 'forfeited', 'in_arbitration'"
FINAL = "'cancelled', 'completed', 'declined', 'expired', 'forfeited'"
IN_RANGE = (
    "amount_fen > 0 AND original_amount_fen > 0 AND total_fen >= amount_fen"
    " AND deposit_fen BETWEEN 0 AND total_fen AND held_fen BETWEEN 0 AND total_fen"
    " AND balance_due_fen BETWEEN 0 AND total_fen"
)

SHOWN = (
    "public_status IN ('cancelled', 'finished', 'in_progress', 'pending_acceptance',"
    " 'pending_payment', 'pending_review') AND (state NOT IN ('awaiting_balance',"
    " 'awaiting_deposit', 'balance_overdue') OR public_status IN ('pending_payment'))"
    " AND (state NOT IN ('offered') OR public_status IN ('pending_acceptance')) AND (state NOT IN"
    " ('accepted_delivery', 'content_review', 'in_arbitration', 'in_fulfilment', 'producing',"
    " 'published', 'ready_to_publish', 'script_review', 'script_revision')"
    " OR public_status IN ('in_progress')) AND (state NOT IN ('completed') OR public_status IN"
    " ('finished', 'pending_review')) AND (state NOT IN ('cancelled', 'declined', 'expired',"
    " 'forfeited') OR public_status IN ('cancelled'))"
)
PAGES = {
    "newest": "placed_at order_id creator_id",
    "by_status": "public_status placed_at order_id creator_id state",
    "by_creator": "creator_id public_status placed_at order_id",
    "by_client": "client_id placed_at order_id",
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHUNK = 1_000


def upgrade() -> None:
    """Create what `workers/database/archive_schema.py` describes, and say when orders ended."""
    op.add_column("orders", _maybe("ended_at"))
    _date_endings()
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_orders_ended_at", "orders", ["ended_at"], sqlite_where=ended, postgresql_where=ended
    )
    _orders()
    _facts()
    _debts()
    _table("archive_totals", ["name"], [*_texts("name"), *_wholes("value")], {})


def _orders() -> None:
    texts = "order_id client_id creator_id name task_type industry brief state"
    money = "original_amount_fen amount_fen total_fen deposit_fen held_fen balance_due_fen"
    columns = [
        *(*_texts(texts), _maybe("reason", sa.Text()), *_texts("policy_version")),
        *(*_wholes(money), *_wholes("placed_at sequence"), _maybe("due_at"), _maybe("wake_at")),
        *(*_texts("document public_status"), _maybe("expected_publish_at"), _maybe("ended_at")),
    ]
    checks = {
        "state_known": f"state IN ({STATES})",
        "ended": f"(state IN ({REASONED})) = (reason IS NOT NULL)",
        "final_holds_nothing": f"state NOT IN ({FINAL}) OR held_fen = 0",
        "waits_and_wakes": "due_at IS NULL OR wake_at IS NOT NULL",
        "money_in_range": IN_RANGE,
        "shown_as_it_is": SHOWN,
        "at_rest": "ended_at IS NOT NULL",
    }
    _table("archived_orders", ["order_id"], columns, checks)
    for name, keys in PAGES.items():
        op.create_index(f"ix_archived_orders_{name}", "archived_orders", keys.split())


def _facts() -> None:
    columns = [
        sa.Column("position", WHOLE, nullable=False, autoincrement=False),
        *(*_texts("subject"), *_wholes("sequence"), *_texts("type"), *_wholes("at recorded_at")),
        *(*_texts("caused_by body"), _maybe("published_at"), _maybe("trace", sa.Text())),
    ]
    checks = {"sequence_counts": "sequence > 0", "at_rest": "published_at IS NOT NULL"}
    _table("archived_events", ["position"], columns, checks, ["subject", "sequence"])
    moved = [*_texts("subject"), *_wholes("sequence ordinal"), *_texts("source target")]
    checks = {"moves_something": "amount_fen > 0", "moves_somewhere": "source <> target"}
    keys = ["subject", "sequence", "ordinal"]
    _table("archived_postings", keys, [*moved, *_wholes("amount_fen")], checks)


def _debts() -> None:
    checks = {"some_money": "amount_fen > 0", "at_rest": "confirmed_at IS NOT NULL"}
    columns = [
        *(*_texts("refund_id base_id payment_id"), _maybe("order_id", KEY)),
        *(*_texts("client_id"), *_wholes("amount_fen requested_at"), _maybe("confirmed_at")),
        *(_maybe("for_order_id", sa.Text()), _maybe("due_at"), _maybe("wake_at")),
    ]
    _table("archived_refunds", ["refund_id"], columns, checks, ["payment_id", "order_id"])
    columns = [
        *(*_texts("payout_id order_id party"), *_wholes("amount_fen requested_at")),
        *map(_maybe, ("confirmed_at", "due_at", "wake_at")),
    ]
    _table("archived_payouts", ["payout_id"], columns, checks)
    for table in ("archived_refunds", "archived_payouts"):
        op.create_index(f"ix_{table}_order_id", table, ["order_id"])


def _date_endings() -> None:
    """Take from each ended order's document when it ended."""
    for chunk in _ended():
        rows = [{"order_id": name, "ended_at": _entered(document)} for name, document in chunk]
        op.get_bind().execute(
            sa.text("UPDATE orders SET ended_at = :ended_at WHERE order_id = :order_id"), rows
        )


def _ended() -> Iterator[list[Any]]:
    after = ""
    query = sa.text(
        f"SELECT order_id, document FROM orders WHERE state IN ({FINAL})"  # noqa: S608 - ours
        " AND order_id > :after ORDER BY order_id LIMIT :chunk"
    )
    while rows := op.get_bind().execute(query, {"after": after, "chunk": CHUNK}).all():
        yield list(rows)
        after = rows[-1][0]


def _entered(document: str) -> int:
    at = datetime.fromisoformat(json.loads(document)["entered_at"])
    return (at - EPOCH) // timedelta(microseconds=1)


def _texts(names: str) -> Iterator[sa.Column[Any]]:
    kinds = {"order_id": KEY, "subject": KEY}
    return (sa.Column(one, kinds.get(one, sa.Text()), nullable=False) for one in names.split())


def _wholes(names: str) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, WHOLE, nullable=False) for name in names.split())


def _maybe(name: str, kind: Any = WHOLE) -> sa.Column[Any]:  # noqa: ANN401 - any type of SQL
    return sa.Column(name, kind, nullable=True)


def _table(
    name: str,
    keys: list[str],
    columns: list[sa.Column[Any]],
    checks: dict[str, str],
    unique: list[str] | None = None,
) -> None:
    parts: list[Any] = [sa.PrimaryKeyConstraint(*keys, name=op.f(f"pk_{name}"))]
    parts += [
        sa.CheckConstraint(text, name=op.f(f"ck_{name}_{one}")) for one, text in checks.items()
    ]
    if unique:
        parts.append(sa.UniqueConstraint(*unique, name=op.f(f"uq_{name}_{'_'.join(unique)}")))
    op.create_table(name, *columns, *parts, sqlite_strict=True)
