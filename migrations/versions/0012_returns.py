"""Returns: refunds and payouts have a status, attempts, and references that name them.

What was confirmed is confirmed, all else requested and at its first attempt; nothing is held.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
CHUNK = 1_000

OWED = "status IN ('failed', 'requested')"
CHECKS = {
    "some_money": "amount_fen > 0",
    "status_known": "status IN ('confirmed', 'failed', 'requested', 'reversed', 'voided')",
    "confirmed_says_when": "(status = 'confirmed') = (confirmed_at IS NOT NULL)",
    "waits_while_owed": f"waits_since IS NULL OR {OWED}",
    "attempts_count": "attempt > 0",
}
PAYOUT_CHECKS = {"held_waits_not": "waits_since IS NULL OR held_at IS NULL"}
ARCHIVE_CHECKS = {"at_rest": "status NOT IN ('failed', 'requested')"}

OLD_REFUND = (
    "refund_id base_id payment_id order_id client_id amount_fen requested_at confirmed_at"
    " for_order_id due_at wake_at"
)
OLD_PAYOUT = "payout_id order_id party amount_fen requested_at confirmed_at due_at wake_at"


def upgrade() -> None:
    """Give both halves of refunds and payouts what `workers/database/schema.py` describes."""
    for half in ("", "archived_"):
        checks = CHECKS | (ARCHIVE_CHECKS if half else {})
        _upgrade(f"{half}refunds", "refund_id", OLD_REFUND, checks)
        _upgrade(f"{half}payouts", "payout_id", OLD_PAYOUT, checks | PAYOUT_CHECKS)
        op.add_column(f"{half}orders", sa.Column("reference_key", WHOLE, nullable=True))
    _add_order_keys()


def _add_order_keys() -> None:
    """Let the open orders be found by the references of what they may owe."""
    query = sa.text(
        "SELECT order_id FROM orders WHERE ended_at IS NULL AND order_id > :after"
        " ORDER BY order_id LIMIT :chunk"
    )
    statement = sa.text("UPDATE orders SET reference_key = :key WHERE order_id = :order_id")
    after = ""
    while rows := op.get_bind().execute(query, {"after": after, "chunk": CHUNK}).all():
        keys = [{"order_id": order_id, "key": _number(f"order:{order_id}")} for (order_id,) in rows]
        op.get_bind().execute(statement, keys)
        after = rows[-1][0]
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_orders_reference_key",
        "orders",
        ["reference_key"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def _upgrade(table: str, key: str, old_columns: str, checks: dict[str, str]) -> None:
    for column in _new_columns(table, filled=False):
        op.add_column(table, column)
    for rows in _stems(table, key):
        statement = f"UPDATE {table} SET reference_stem = :stem WHERE {key} = :{key}"  # noqa: S608
        op.get_bind().execute(sa.text(statement), rows)
    op.execute(
        f"UPDATE {table} SET attempt = 1, alerts = 0,"  # noqa: S608 - ours
        " status = CASE WHEN confirmed_at IS NULL THEN 'requested' ELSE 'confirmed' END,"
        " waits_since = CASE WHEN confirmed_at IS NULL THEN requested_at END"
    )
    if table in ("refunds", "payouts"):
        op.drop_index(f"ix_{table}_waiting", table)
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(table, key, old_columns, checks)
    else:
        _alter(table, checks)
    if table in ("refunds", "payouts"):
        owed = sa.text(OWED)
        op.create_index(
            f"ix_{table}_owed", table, ["waits_since"], sqlite_where=owed, postgresql_where=owed
        )


def _new_columns(table: str, *, filled: bool) -> list[sa.Column[Any]]:
    held = ["held_at"] if table.endswith("payouts") else []
    return [
        *(sa.Column(name, sa.Text(), nullable=not filled) for name in ("status", "reference_stem")),
        *(sa.Column(name, WHOLE, nullable=not filled) for name in ("attempt", "alerts")),
        *(sa.Column(name, WHOLE, nullable=True) for name in ("waits_since", *held)),
    ]


def _stems(table: str, key: str) -> Iterator[list[dict[str, str]]]:
    """Compute what the references of each refund or payout begin with."""
    home = "order_id, NULL" if table.endswith("payouts") else "order_id, payment_id"
    query = sa.text(
        f"SELECT {key}, {home} FROM {table} WHERE {key} > :after"  # noqa: S608 - ours
        f" ORDER BY {key} LIMIT :chunk"
    )
    after = ""
    while rows := op.get_bind().execute(query, {"after": after, "chunk": CHUNK}).all():
        yield [
            {
                key: debt_id,
                "stem": _stem(
                    debt_id, f"order:{order_id}" if order_id else f"payment:{payment_id}"
                ),
            }
            for debt_id, order_id, payment_id in rows
        ]
        after = rows[-1][0]


def _stem(debt_id: str, home: str) -> str:
    return ("P" if debt_id.startswith("po_") else "R") + _letters(home) + _letters(debt_id)


def _letters(subject: str) -> str:
    return b32encode(_key(subject)).decode().rstrip("=")


def _number(subject: str) -> int:
    return int.from_bytes(_key(subject), "big", signed=True)


def _key(subject: str) -> bytes:
    return hashlib.blake2b(subject.encode(), digest_size=8).digest()


def _alter(table: str, checks: dict[str, str]) -> None:
    for name in ("status", "reference_stem", "attempt", "alerts"):
        op.alter_column(table, name, nullable=False)
    if table.endswith("refunds"):
        op.alter_column(table, "payment_id", nullable=True)
    if table.startswith("archived_"):
        op.drop_constraint(op.f(f"ck_{table}_at_rest"), table, type_="check")
    for name, condition in checks.items():
        if name != "some_money":
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    op.create_unique_constraint(op.f(f"uq_{table}_reference_stem"), table, ["reference_stem"])


def _rebuild(table: str, key: str, old_columns: str, checks: dict[str, str]) -> None:
    """Copy the rows: SQLite cannot change the constraints of a table."""
    indexes = _drop_indexes(table)
    op.rename_table(table, f"old_{table}")
    columns = [
        *(_old_column(name, nullable=_is_optional(table, name)) for name in old_columns.split()),
        *_new_columns(table, filled=True),
    ]
    parts: list[Any] = [sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}"))]
    parts += [
        sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))
        for name, condition in checks.items()
    ]
    uniques = [["reference_stem"]]
    if table.endswith("refunds"):
        uniques.append(["payment_id", "order_id"])
    parts += [
        sa.UniqueConstraint(*names, name=op.f(f"uq_{table}_{'_'.join(names)}")) for names in uniques
    ]
    op.create_table(table, *columns, *parts, sqlite_strict=True)
    names = ", ".join(column.name for column in columns)
    op.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM old_{table}")  # noqa: S608
    op.drop_table(f"old_{table}")
    for statement in indexes:
        op.execute(statement)


def _drop_indexes(table: str) -> list[str]:
    """Drop a table's indexes; return the statements that make them again."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table"
    rows = op.get_bind().execute(
        sa.text(f"{query} AND sql IS NOT NULL ORDER BY name"), {"table": table}
    )
    statements = {row.name: row.sql for row in rows}
    for name in statements:
        op.drop_index(name, table)
    return list(statements.values())


def _is_optional(table: str, name: str) -> bool:
    if name == "order_id":
        return table.endswith("refunds")
    return name in ("payment_id", "for_order_id", "confirmed_at", "due_at", "wake_at")


def _old_column(name: str, *, nullable: bool) -> sa.Column[Any]:
    is_whole = name.endswith("_at") or name == "amount_fen"
    kind = WHOLE if is_whole else KEY if name == "order_id" else sa.Text()
    return sa.Column(name, kind, nullable=nullable)
