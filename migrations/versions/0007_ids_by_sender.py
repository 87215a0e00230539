"""Ids by sender: a command id belongs to its sender, and another may use the same.

Receipts of whom nobody knows the sender, those from before 0002, keep an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHUNK = 1_000

CHECKS = {
    "outcome_known": "outcome IN ('applied', 'rejected', 'duplicate')",
    "refusal_says_why": "(outcome = 'rejected') = (reason IS NOT NULL) OR outcome = 'duplicate'",
}


def upgrade() -> None:
    """Make sender and command id together the keys of receipts and of the inbox."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_receipts()
        _rebuild_inbox()
    else:
        _rekey_receipts()
        _rekey_inbox()
    unattributed = sa.text("sender = ''")
    op.create_index(
        "ix_receipts_unattributed",
        "receipts",
        ["sender"],
        sqlite_where=unattributed,
        postgresql_where=unattributed,
    )


def _rekey_receipts() -> None:
    op.execute("UPDATE receipts SET asked_by = '' WHERE asked_by IS NULL")
    op.alter_column("receipts", "asked_by", new_column_name="sender", nullable=False)
    _rekey("receipts")


def _rekey_inbox() -> None:
    op.add_column("inbox", sa.Column("sender", sa.Text(), nullable=True))
    for rows in _waiting():
        statement = "UPDATE inbox SET sender = :sender WHERE command_id = :command_id"
        op.get_bind().execute(sa.text(statement), rows)
    op.alter_column("inbox", "sender", nullable=False)
    _rekey("inbox")


def _rekey(table: str) -> None:
    op.drop_constraint(f"pk_{table}", table, type_="primary")
    op.create_primary_key(f"pk_{table}", table, ["command_id", "sender"])


def _rebuild_receipts() -> None:
    """Copy the receipts: SQLite cannot change the key of a table."""
    op.drop_index("ix_receipts_about", "receipts")
    op.rename_table("receipts", "old_receipts")
    columns = [
        *(_column("command_id"), _column("sender"), _column("fingerprint", sa.LargeBinary())),
        *(_column("outcome"), _column("reason", nullable=True)),
        *(_column("received_at", WHOLE), _column("stamp", WHOLE)),
        *(_column("about", nullable=True), _column("cost_fen", WHOLE, nullable=True)),
    ]
    checks = [
        sa.CheckConstraint(text, name=op.f(f"ck_receipts_{name}")) for name, text in CHECKS.items()
    ]
    _create("receipts", columns, checks)
    kept = "fingerprint, outcome, reason, received_at, stamp, about, cost_fen"
    op.execute(
        f"INSERT INTO receipts (command_id, sender, {kept})"  # noqa: S608 - ours
        f" SELECT command_id, coalesce(asked_by, ''), {kept} FROM old_receipts"
    )
    op.drop_table("old_receipts")
    op.create_index("ix_receipts_about", "receipts", ["about"])


def _rebuild_inbox() -> None:
    senders = [row for rows in _waiting() for row in rows]
    for index in ("ix_inbox_message_id", "ix_inbox_received_at_stamp"):
        op.drop_index(index, "inbox")
    op.rename_table("inbox", "old_inbox")
    columns = [
        *(_column("command_id"), _column("sender"), _column("fingerprint", sa.LargeBinary())),
        *(_column("command"), _column("received_at", WHOLE), _column("stamp", WHOLE)),
        *(_column("message_id"), _column("excused", WHOLE), _column("trace", nullable=True)),
    ]
    _create("inbox", columns, [])
    kept = "fingerprint, command, received_at, stamp, message_id, excused, trace"
    statement = (
        f"INSERT INTO inbox (command_id, sender, {kept})"  # noqa: S608 - ours
        f" SELECT command_id, :sender, {kept} FROM old_inbox WHERE command_id = :command_id"
    )
    if senders:
        op.get_bind().execute(sa.text(statement), senders)
    op.drop_table("old_inbox")
    op.create_index("ix_inbox_message_id", "inbox", ["message_id"])
    op.create_index("ix_inbox_received_at_stamp", "inbox", ["received_at", "stamp"])


def _create(name: str, columns: list[sa.Column[Any]], checks: list[sa.CheckConstraint]) -> None:
    key = sa.PrimaryKeyConstraint("command_id", "sender", name=op.f(f"pk_{name}"))
    op.create_table(name, *columns, key, *checks, sqlite_strict=True)


def _column(name: str, kind: Any = None, *, nullable: bool = False) -> sa.Column[Any]:  # noqa: ANN401 - any type of SQL
    return sa.Column(name, sa.Text() if kind is None else kind, nullable=nullable)


def _waiting() -> Iterator[list[dict[str, str]]]:
    """Tell of every command in the inbox who sent it: its text says so, and the gateway checked."""
    after = ""
    query = sa.text(
        "SELECT command_id, command FROM inbox WHERE command_id > :after"
        " ORDER BY command_id LIMIT :chunk"
    )
    while rows := op.get_bind().execute(query, {"after": after, "chunk": CHUNK}).all():
        yield [{"command_id": name, "sender": _sender(text)} for name, text in rows]
        after = rows[-1][0]


def _sender(command: str) -> str:
    by = json.loads(command)["by"]
    return f"{by['role']}:{by['id']}"
