"""Voided payments: a notice that was wrong is undone, and its payment may be reported anew.

So one payment may owe to one order more than once. What stands in suspense says what it was meant
for, and until when whoever places its order gets it. The grace of a deposit begins at an instant of
its own.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

OWED = "'failed', 'requested'"
CHECKS = {
    "some_money": "amount_fen > 0",
    "status_known": "status IN ('confirmed', 'failed', 'requested', 'reversed', 'voided')",
    "confirmed_says_when": "(status = 'confirmed') = (confirmed_at IS NOT NULL)",
    "waits_while_owed": f"waits_since IS NULL OR status IN ({OWED})",
    "attempts_count": "attempt > 0",
}
AT_REST = {"at_rest": f"status NOT IN ({OWED})"}

# Of each payment: who paid, as its orders tell, and when an order first took a share of it.
USES = """
    UPDATE payments
    SET client_id = coalesce(payments.client_id, uses.client_id), applied_at = uses.applied_at
    FROM (
        SELECT payment_id, min(client_id) AS client_id, min(applied_at) AS applied_at
        FROM (
            SELECT {payment_id} AS payment_id, {client_id} AS client_id,
                CASE WHEN type = 'payment.applied' THEN at END AS applied_at
            FROM (
                SELECT subject, type, at, body FROM events
                UNION ALL SELECT subject, type, at, body FROM archived_events
            ) AS all_events
            WHERE type IN ('payment.applied', 'payment.unapplied') AND subject LIKE 'order:%'
        ) AS shares
        GROUP BY payment_id
    ) AS uses
    WHERE payments.payment_id = uses.payment_id
"""


def upgrade() -> None:
    """Change what `workers/database/schema.py` describes, and fill in what is known of the past."""
    for name in ("applied_at", "voided_at"):
        op.add_column("payments", sa.Column(name, WHOLE))
    op.add_column("payments", sa.Column("voided_contents", sa.LargeBinary()))
    fields = {name: _field_of_body(name) for name in ("payment_id", "client_id")}
    op.execute(USES.format(**fields))
    op.add_column("suspended", sa.Column("due", sa.Text()))
    op.add_column("suspended", sa.Column("expires_at", WHOLE))
    # Who has been told to an operator is not judged again.
    op.execute("UPDATE suspended SET expires_at = due_at")
    for table, more_checks in (("refunds", {}), ("archived_refunds", AT_REST)):
        if op.get_bind().dialect.name == "sqlite":
            _rebuild(table, CHECKS | more_checks)
        else:
            op.drop_constraint(f"uq_{table}_payment_id_order_id", table)
    op.create_index("ix_refunds_payment_id", "refunds", ["payment_id"])
    op.create_index("ix_archived_refunds_payment_id", "archived_refunds", ["payment_id"])
    op.execute(
        "UPDATE orders SET wake_at = due_at WHERE state = 'awaiting_deposit' AND due_at < wake_at"
    )


def _field_of_body(name: str) -> str:
    if op.get_bind().dialect.name == "sqlite":
        return f"json_extract(body, '$.{name}')"
    return f"CAST(body AS json) ->> '{name}'"


def _rebuild(table: str, checks: dict[str, str]) -> None:
    """Copy the rows: SQLite cannot drop a constraint."""
    indexes = _drop_indexes(table)
    op.rename_table(table, f"old_{table}")
    columns = [
        *(_text("refund_id"), _text("base_id"), _text("payment_id", nullable=True)),
        *(_text("order_id", nullable=True), _text("client_id")),
        *(_whole("amount_fen"), _whole("requested_at"), _whole("confirmed_at", nullable=True)),
        *(_text("for_order_id", nullable=True), _whole("due_at", nullable=True)),
        *(_whole("wake_at", nullable=True), _text("status"), _text("reference_stem")),
        *(_whole("attempt"), _whole("alerts"), _whole("waits_since", nullable=True)),
    ]
    op.create_table(
        table,
        *columns,
        sa.PrimaryKeyConstraint("refund_id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("reference_stem", name=op.f(f"uq_{table}_reference_stem")),
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))
            for name, condition in checks.items()
        ),
        sqlite_strict=True,
    )
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


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, WHOLE, nullable=nullable)
