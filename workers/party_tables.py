"""Party tables: who takes part, and what was reported of whom."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, Text

from workers.schema import Whole, listed, partial, strict

STANDINGS = ("free", "banned", "banned_for_good", "left")

creators = strict(
    "creators",
    Column("creator_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("mcn_id", Text),
    Column("sequence", Whole, nullable=False),
    Column("standing", Text, nullable=False),
    Column("wake_at", Whole),
    Column("document", Text, nullable=False),
    CheckConstraint(f"standing IN ({listed(STANDINGS)})", name="standing_known"),
)
"""As of an order, `document` is all that the rules know of a creator; `mcn_id` is the agency that
may act for the creator now, None once a contract has ended."""
Index("ix_creators_by_mcn", creators.c.mcn_id, creators.c.creator_id)
partial("ix_creators_wake_at", creators.c.wake_at, "wake_at IS NOT NULL")

mcns = strict(
    "mcns",
    Column("mcn_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sequence", Whole, nullable=False),
)

clients = strict(
    "clients",
    Column("client_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sequence", Whole, nullable=False),
)

providers = strict(
    "providers",
    Column("provider_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sequence", Whole, nullable=False),
)

violations = strict(
    "violations",
    Column("violation_id", Text, primary_key=True),
    Column("creator_id", Text, nullable=False, index=True),
    Column("content", LargeBinary, nullable=False),
    Column("reported_at", Whole, nullable=False),
    Column("overturned_at", Whole),
)
