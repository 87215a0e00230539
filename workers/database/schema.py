"""Schema: every table with its indexes, and constraints that make bad states unwritable.

Instants are microseconds since 1970 UTC, amounts whole fen. An order's `document` is all that the
rules know of it; the other columns are projections for constraints, queries and people.

Of money owed, `due_at` is when an operator is told that it has not left; `wake_at`, as for orders,
is when it next wants attention, and runs ahead while a wake-up is under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql

from models.lifecycle import (
    FINAL_STATES,
    OWED_STATUSES,
    STATES_WITH_REASON,
    DebtStatus,
    PublicStatus,
    State,
)
from models.orders.order import STATES_BY_STATUS

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


metadata = MetaData(naming_convention=NAMING)


WholeNumber = BigInteger().with_variant(Integer(), "sqlite")


IdText = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""What names an order, sorted by bytes, whatever language a server speaks: a prefix is a range.

Where one is compared with another both must be of this kind, or PostgreSQL uses no index for it.
"""


def sql_list(names: Iterable[object]) -> str:
    """Write names as SQL lists them."""
    return ", ".join(f"'{name}'" for name in sorted(map(str, names)))


def strict_table(name: str, *parts: Column[Any] | CheckConstraint | UniqueConstraint) -> Table:
    """Declare a table; on SQLite a STRICT one, which refuses values of the wrong type."""
    return Table(name, metadata, *parts, sqlite_strict=True)


def partial_index(name: str, column: Column[Any], condition: str) -> Index:
    """Index a column of the rows that fulfil a condition: the others cost nothing."""
    where_clause = text(condition)
    return Index(name, column, sqlite_where=where_clause, postgresql_where=where_clause)


STANDINGS = ("free", "banned", "banned_for_good", "left")


creators = strict_table(
    "creators",
    Column("creator_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("mcn_id", Text),
    Column("sequence", WholeNumber, nullable=False),
    Column("standing", Text, nullable=False),
    Column("wake_at", WholeNumber),
    Column("document", Text, nullable=False),
    Column("judged_stamp", WholeNumber),
    CheckConstraint(f"standing IN ({sql_list(STANDINGS)})", name="standing_known"),
)
"""As of an order, `document` is all that the rules know of a creator; `mcn_id` is the agency that
may act for the creator now, None once a contract has ended. `judged_stamp` is that of the latest
command about it, as of when the row was written last."""


Index("ix_creators_by_mcn", creators.c.mcn_id, creators.c.creator_id)


partial_index("ix_creators_wake_at", creators.c.wake_at, "wake_at IS NOT NULL")


mcns = strict_table(
    "mcns",
    Column("mcn_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sequence", WholeNumber, nullable=False),
)


clients = strict_table(
    "clients",
    Column("client_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sequence", WholeNumber, nullable=False),
)


providers = strict_table(
    "providers",
    Column("provider_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sequence", WholeNumber, nullable=False),
)


violations = strict_table(
    "violations",
    Column("violation_id", Text, primary_key=True),
    Column("creator_id", Text, nullable=False, index=True),
    Column("content", LargeBinary, nullable=False),
    Column("reported_at", WholeNumber, nullable=False),
    Column("overturned_at", WholeNumber),
)


IS_OWED = f"status IN ({sql_list(OWED_STATUSES)})"
"""Money that has not left and is to. An index finds it; a query says so in these words."""


def _debt_checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("amount_fen > 0", name="some_money"),
        CheckConstraint(f"status IN ({sql_list(DebtStatus)})", name="status_known"),
        CheckConstraint(
            "(status = 'confirmed') = (confirmed_at IS NOT NULL)", name="confirmed_says_when"
        ),
        CheckConstraint(f"waits_since IS NULL OR {IS_OWED}", name="waits_while_owed"),
        CheckConstraint("attempt > 0", name="attempts_count"),
    )


refunds = strict_table(
    "refunds",
    Column("refund_id", Text, primary_key=True),
    Column("base_id", Text, nullable=False, index=True),
    Column("payment_id", Text),
    Column("order_id", IdText, index=True),
    Column("client_id", Text, nullable=False),
    Column("amount_fen", WholeNumber, nullable=False),
    Column("requested_at", WholeNumber, nullable=False),
    Column("confirmed_at", WholeNumber),
    Column("for_order_id", Text),
    Column("due_at", WholeNumber),
    Column("wake_at", WholeNumber),
    Column("status", Text, nullable=False),
    Column("attempt", WholeNumber, nullable=False),
    Column("reference_stem", Text, nullable=False, unique=True),
    Column("waits_since", WholeNumber),
    Column("alerts", WholeNumber, nullable=False),
    *_debt_checks(),
)
"""`reference_stem` is what the references of all attempts begin with."""


Index("ix_refunds_payment_id", refunds.c.payment_id)


partial_index("ix_refunds_wake_at", refunds.c.wake_at, "wake_at IS NOT NULL")


partial_index("ix_refunds_owed", refunds.c.waits_since, IS_OWED)


payouts = strict_table(
    "payouts",
    Column("payout_id", Text, primary_key=True),
    Column("order_id", IdText, nullable=False, index=True),
    Column("party", Text, nullable=False),
    Column("amount_fen", WholeNumber, nullable=False),
    Column("requested_at", WholeNumber, nullable=False),
    Column("confirmed_at", WholeNumber),
    Column("due_at", WholeNumber),
    Column("wake_at", WholeNumber),
    Column("status", Text, nullable=False),
    Column("attempt", WholeNumber, nullable=False),
    Column("reference_stem", Text, nullable=False, unique=True),
    Column("held_at", WholeNumber),
    Column("waits_since", WholeNumber),
    Column("alerts", WholeNumber, nullable=False),
    *_debt_checks(),
    CheckConstraint("waits_since IS NULL OR held_at IS NULL", name="held_waits_not"),
)


partial_index("ix_payouts_wake_at", payouts.c.wake_at, "wake_at IS NOT NULL")


partial_index("ix_payouts_owed", payouts.c.waits_since, IS_OWED)


suspended = strict_table(
    "suspended",
    Column("share_id", Text, primary_key=True),
    Column("payment_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("amount_fen", WholeNumber, nullable=False),
    Column("suspended_at", WholeNumber, nullable=False),
    Column("number", WholeNumber, nullable=False),
    Column("resolved_at", WholeNumber),
    Column("due_at", WholeNumber),
    Column("wake_at", WholeNumber),
    Column("due", Text),
    Column("expires_at", WholeNumber),
    CheckConstraint("amount_fen > 0", name="some_money"),
)
"""Shares of payments for orders that nobody knew; `share_id` is payment and order, `number` the
payment's stamp, `due` what it was meant for. `due_at` is until when the order may be placed, before
an operator is told, `expires_at` until when whoever places it gets the money."""


Index("ix_suspended_order_id", suspended.c.order_id)


Index("ix_suspended_payment_id", suspended.c.payment_id)


partial_index("ix_suspended_wake_at", suspended.c.wake_at, "wake_at IS NOT NULL")


parked = strict_table(
    "parked",
    Column("stamp", WholeNumber, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("command_id", Text, nullable=False),
    Column("order_id", Text, nullable=False, index=True),
    Column("command", Text, nullable=False),
    Column("received_at", WholeNumber, nullable=False),
    Column("answer_at", WholeNumber, nullable=False),
    Column("wake_at", WholeNumber, nullable=False, index=True),
    Column("trace", Text),
)
"""Commands that wait until `answer_at` for an order to be placed; each is judged and deleted in one
commit. A repeat waits for the same order as the command that it repeats."""


Index("ix_parked_sender_command_id", parked.c.sender, parked.c.command_id)


Index("ix_parked_command_id", parked.c.command_id)


def _public_status_fits_state() -> str:
    """Say that what people are shown of an order fits its state."""
    alike = {
        states: [s for s in PublicStatus if STATES_BY_STATUS[s] == states]
        for states in STATES_BY_STATUS.values()
    }
    fitting = (
        f"(state NOT IN ({sql_list(states)}) OR public_status IN ({sql_list(statuses)}))"
        for states, statuses in alike.items()
    )
    return " AND ".join((f"public_status IN ({sql_list(PublicStatus)})", *fitting))


orders = strict_table(
    "orders",
    Column("order_id", IdText, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("creator_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    Column("industry", Text, nullable=False),
    Column("brief", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("policy_version", Text, nullable=False),
    Column("original_amount_fen", WholeNumber, nullable=False),
    Column("amount_fen", WholeNumber, nullable=False),
    Column("total_fen", WholeNumber, nullable=False),
    Column("deposit_fen", WholeNumber, nullable=False),
    Column("held_fen", WholeNumber, nullable=False),
    Column("balance_due_fen", WholeNumber, nullable=False),
    Column("placed_at", WholeNumber, nullable=False),
    Column("sequence", WholeNumber, nullable=False),
    Column("due_at", WholeNumber),
    Column("wake_at", WholeNumber),
    Column("document", Text, nullable=False),
    Column("public_status", Text, nullable=False),
    Column("expected_publish_at", WholeNumber),
    Column("ended_at", WholeNumber),
    Column("creator_sequence", WholeNumber, nullable=False, server_default=text("0")),
    Column("reference_key", WholeNumber),
    Column("judged_stamp", WholeNumber),
    CheckConstraint(f"state IN ({sql_list(State)})", name="state_known"),
    CheckConstraint(
        f"(state IN ({sql_list(STATES_WITH_REASON)})) = (reason IS NOT NULL)", name="ended"
    ),
    CheckConstraint(
        f"state NOT IN ({sql_list(FINAL_STATES)}) OR held_fen = 0", name="final_holds_nothing"
    ),
    CheckConstraint(_public_status_fits_state(), name="shown_as_it_is"),
    # While its clock is stopped an order has no deadline, and may still want attention.
    CheckConstraint("due_at IS NULL OR wake_at IS NOT NULL", name="waits_and_wakes"),
    CheckConstraint(
        "amount_fen > 0 AND original_amount_fen > 0 AND total_fen >= amount_fen"
        " AND deposit_fen BETWEEN 0 AND total_fen AND held_fen BETWEEN 0 AND total_fen"
        " AND balance_due_fen BETWEEN 0 AND total_fen",
        name="money_in_range",
    ),
)


partial_index("ix_orders_wake_at", orders.c.wake_at, "wake_at IS NOT NULL")


partial_index("ix_orders_due_at", orders.c.due_at, "due_at IS NOT NULL")


IS_UNPAID = "state = 'awaiting_deposit'"
"""What waits for its first payment. Whoever counts it says so in these words, or the index is not
used."""


Index(
    "ix_orders_unpaid",
    orders.c.client_id,
    orders.c.state,
    sqlite_where=text(IS_UNPAID),
    postgresql_where=text(IS_UNPAID),
)


_open_orders = text("ended_at IS NULL")


Index(
    "ix_orders_creator_sequence",
    orders.c.creator_id,
    orders.c.creator_sequence,
    orders.c.order_id,
    sqlite_where=_open_orders,
    postgresql_where=_open_orders,
)
"""Finds the open orders of a creator that have not learned of its latest change, and no others."""


partial_index("ix_orders_reference_key", orders.c.reference_key, "ended_at IS NULL")
"""Finds the open order in whose events a reference is told of, before what that names is owed."""


LIST_INDEXES = {
    "newest": ("placed_at", "order_id", "creator_id"),
    "by_status": ("public_status", "placed_at", "order_id", "creator_id", "state"),
    "by_creator": ("creator_id", "public_status", "placed_at", "order_id"),
    "by_client": ("client_id", "placed_at", "order_id"),
}
"""The indexes of lists. Place and name of an order never change, so a cursor stays true; what else
a list may be asked each index answers by itself, without a look at the orders."""


for _name, _columns in LIST_INDEXES.items():
    Index(f"ix_orders_{_name}", *(orders.c[column_name] for column_name in _columns))


receipts = strict_table(
    "receipts",
    # By the id first: so the index tells whose commands bear it, too.
    Column("command_id", Text, primary_key=True),
    Column("sender", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("received_at", WholeNumber, nullable=False),
    Column("stamp", WholeNumber, nullable=False),
    Column("about", Text),
    Column("limits", Text),
    Column("judged_after", WholeNumber),
    CheckConstraint("outcome IN ('applied', 'rejected', 'duplicate')", name="outcome_known"),
    CheckConstraint(
        "(outcome = 'rejected') = (reason IS NOT NULL) OR outcome = 'duplicate'",
        name="refusal_says_why",
    ),
)
"""`judged_after` is the stamp of a command about the same that came later and was judged before."""


Index("ix_receipts_about", receipts.c.about)


partial_index("ix_receipts_judged_after", receipts.c.judged_after, "judged_after IS NOT NULL")


partial_index("ix_receipts_unattributed", receipts.c.sender, "sender = ''")


events = strict_table(
    "events",
    Column("position", WholeNumber, primary_key=True, autoincrement=True),
    Column("subject", IdText, nullable=False),
    Column("sequence", WholeNumber, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", WholeNumber, nullable=False),
    Column("recorded_at", WholeNumber, nullable=False),
    Column("caused_by", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("published_at", WholeNumber),
    Column("trace", Text),
    Column("timeline", WholeNumber),
    UniqueConstraint("subject", "sequence"),
    CheckConstraint("sequence > 0", name="sequence_counts"),
)


partial_index("ix_events_unpublished", events.c.position, "published_at IS NULL")


timelines = strict_table(
    "timelines",
    Column("number", WholeNumber, primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False, unique=True),
    Column("began_at", WholeNumber, nullable=False),
)
"""The lines of events that this database has published; an event without one is of the first."""


IS_OPERATOR_ACTION = "type = 'operator.acted'"
"""What operators did. Whoever seeks it says so in these words, or the index is not used."""


partial_index("ix_events_acted", events.c.position, IS_OPERATOR_ACTION)


postings = strict_table(
    "postings",
    Column("subject", IdText, primary_key=True),
    Column("sequence", WholeNumber, primary_key=True),
    Column("ordinal", WholeNumber, primary_key=True),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("amount_fen", WholeNumber, nullable=False),
    CheckConstraint("amount_fen > 0", name="moves_something"),
    CheckConstraint("source <> target", name="moves_somewhere"),
)


payments = strict_table(
    "payments",
    Column("payment_id", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("amount_fen", WholeNumber, nullable=False),
    Column("paid_at", WholeNumber, nullable=False),
    Column("received_at", WholeNumber, nullable=False),
    Column("command_id", Text, nullable=False),
    Column("sequence", WholeNumber, nullable=False),
    Column("client_id", Text),
    Column("applied_at", WholeNumber),
    Column("voided_at", WholeNumber),
    Column("voided_contents", LargeBinary),
    CheckConstraint("amount_fen > 0", name="some_money"),
    CheckConstraint("paid_at <= received_at", name="no_foresight"),
)
"""Payments as they were reported last; `voided_contents` are the contents of notices that were
wrong, one behind the other."""


policies = strict_table(
    "policies",
    Column("version", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("adopted_at", WholeNumber, nullable=False),
)


dead_letters = strict_table(
    "dead_letters",
    Column("letter_id", WholeNumber, primary_key=True, autoincrement=True),
    Column("command", Text, nullable=False),
    Column("received_at", WholeNumber, nullable=False),
    Column("stamp", WholeNumber, nullable=False, unique=True),
    Column("error", Text, nullable=False),
    Column("died_at", WholeNumber, nullable=False),
    Column("replayed_at", WholeNumber),
)


quarantine = strict_table(
    "quarantine",
    Column("item_id", WholeNumber, primary_key=True, autoincrement=True),
    Column("queue", Text, nullable=False),
    Column("message_id", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("size", WholeNumber, nullable=False),
    Column("quarantined_at", WholeNumber, nullable=False),
)


leases = strict_table(
    "leases",
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", WholeNumber, nullable=False),
)


inbox = strict_table(
    "inbox",
    Column("command_id", Text, primary_key=True),
    Column("sender", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("command", Text, nullable=False),
    Column("received_at", WholeNumber, nullable=False),
    Column("stamp", WholeNumber, nullable=False),
    Column("message_id", Text, nullable=False, index=True),
    Column("reserved", WholeNumber, nullable=False),
    Column("trace", Text),
)
"""Commands accepted and not settled yet. Settling or dead-lettering one removes its row."""


Index("ix_inbox_received_at_stamp", inbox.c.received_at, inbox.c.stamp)


partial_index("ix_inbox_unreserved", inbox.c.stamp, "reserved = 0")


tallies = strict_table(
    "tallies",
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),
    Column("value", WholeNumber, nullable=False),
)
"""Running totals over all events, each counted once: in the commit that marks it published."""


audits = strict_table(
    "audits",
    Column("audit_id", WholeNumber, primary_key=True, autoincrement=True),
    Column("audited_at", WholeNumber, nullable=False),
    Column("orders", WholeNumber, nullable=False),
    Column("payments", WholeNumber, nullable=False),
    Column("took_ms", WholeNumber, nullable=False),
    Column("findings", Text, nullable=False),
)
"""The latest audits of the books; `findings` is a JSON list, empty when they are right."""
