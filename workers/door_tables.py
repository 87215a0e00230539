"""Door tables: what stands beside the book, for those who hand in and those who watch."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Text

from workers.debt_tables import refunds
from workers.schema import Whole, partial, strict
from workers.tables import orders, receipts

inbox = strict(
    "inbox",
    Column("command_id", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("command", Text, nullable=False),
    Column("received_at", Whole, nullable=False),
    Column("stamp", Whole, nullable=False),
    Column("message_id", Text, nullable=False, index=True),
    Column("excused", Whole, nullable=False),
    Column("trace", Text),
)
"""Commands accepted and not settled yet. Settling one, or burying it, removes its row."""


Index("ix_inbox_received_at_stamp", inbox.c.received_at, inbox.c.stamp)


tallies = strict(
    "tallies",
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),
    Column("value", Whole, nullable=False),
)
"""Running totals over all events, each counted once: in the commit that marks it published."""


audits = strict(
    "audits",
    Column("audit_id", Whole, primary_key=True, autoincrement=True),
    Column("audited_at", Whole, nullable=False),
    Column("orders", Whole, nullable=False),
    Column("payments", Whole, nullable=False),
    Column("took_ms", Whole, nullable=False),
    Column("findings", Text, nullable=False),
)
"""The latest verdicts on the books; `findings` is a JSON list, empty when they are right."""


partial("ix_orders_due_at", orders.c.due_at, "due_at IS NOT NULL")


Index("ix_receipts_about", receipts.c.about)


partial("ix_refunds_waiting", refunds.c.requested_at, "confirmed_at IS NULL")
