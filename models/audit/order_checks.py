"""Order checks: invariants of orders and creators, recomputed from the events by other code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby, pairwise

from models.creators import Creator, evolve_creator
from models.errors import BrokenInvariant
from models.events.event import Event
from models.events.orders import OrderPlaced, OrderRescheduled, ScheduleProposed
from models.lifecycle import END_REASONS, TRANSITIONS, WAITING_STATES, DisputeReason, State
from models.orders.evolve import begin_order, evolve
from models.orders.order import Order


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant, `law`, broken in one place; `detail` is a sentence for people."""

    law: str
    where: str
    detail: str


def check_sequence(subject: str, last_sequence: int, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that events number 1, 2, 3 … without a gap, up to what the record says."""
    sequences = [event.sequence for event in events]
    foreign_ids = [event.id for event in events if event.subject != subject]
    if foreign_ids:
        yield Finding("sequence", subject, f"{foreign_ids[0]} is about something else")
    if sequences != list(range(1, last_sequence + 1)):
        yield Finding(
            "sequence", subject, f"{len(sequences)} events do not number 1 to {last_sequence}"
        )


def check_replay(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that folding the events gives the order, and every move it made is in the table."""
    subject = f"order:{order.order_id}"
    try:
        snapshots = list(_replay_by_cause(order, events))
    except (BrokenInvariant, LookupError, TypeError, ValueError) as error:
        yield Finding("replay", subject, f"the events cannot be folded: {error}")
        return
    differing = [
        field.name
        for field in fields(Order)
        if getattr(snapshots[-1], field.name) != getattr(order, field.name)
        and field.name not in UNTOLD_FIELDS
    ]
    noted_count = len(order.lapsed_at)
    if order.lapsed_at != snapshots[-1].lapsed_at[-noted_count:] and noted_count:
        differing.append("lapsed_at")
    if differing:
        yield Finding("replay", subject, f"the events give another {', '.join(differing)}")
    allowed = {(row.source, target) for row in TRANSITIONS for target in row.targets}
    for before, after in pairwise(snapshot.state for snapshot in snapshots):
        if before is not after and (before, after) not in allowed:
            yield Finding("table", subject, f"went from {before} to {after}")


UNTOLD_FIELDS = ("creator_sequence", "heeded_at", "lapsed_at")
"""What an order has learned of its creator: no event tells, for it need not mean anything.

And when time ended states, of which an order from before that was noted knows only later ones.
"""


def _replay_by_cause(order: Order, events: Sequence[Event]) -> Iterator[Order]:
    """Fold the events, those of one cause together; give what the order was after each."""
    event_groups = [
        list(group) for _, group in groupby(events, key=lambda event: (event.caused_by, event.at))
    ]
    replayed = begin_order(event_groups[0].pop(0), order.policy)
    yield replayed
    for group in event_groups:
        for event in group:
            replayed = evolve(replayed, event)
        yield replayed


def check_terms(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that the terms follow from the original amount and the policy they were frozen under."""
    subject, policy = f"order:{order.order_id}", order.policy
    fact = events[0].fact if events else None
    if not isinstance(fact, OrderPlaced):
        yield Finding("terms", subject, "its first event is not order.placed")
        return
    total_fen = fact.amount_fen + bps_of(fact.amount_fen, policy.service_fee_bps)
    deposit_fen = max(1, bps_of(total_fen, policy.deposit_bps)) if fact.prepay_deposit else 0
    if fact.policy_version != policy.version:
        yield Finding("terms", subject, f"placed under {fact.policy_version}, not {policy.version}")
    if (fact.total_fen, fact.deposit_fen) != (total_fen, deposit_fen):
        yield Finding("terms", subject, f"the total is {total_fen} and the deposit {deposit_fen}")
    if (order.original_amount_fen, order.deposit_fen) != (fact.amount_fen, deposit_fen):
        yield Finding("terms", subject, "the original amount or the deposit has moved")


def check_schedules(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that a day was moved by both sides, or an operator, and no deadline became earlier."""
    subject, proposed = f"order:{order.order_id}", None
    for event in events:
        fact = event.fact
        if isinstance(fact, ScheduleProposed):
            proposed = fact
        if not isinstance(fact, OrderRescheduled):
            continue
        if fact.due_at and fact.old_due_at and fact.due_at < fact.old_due_at:
            yield Finding("schedule", subject, f"{event.id} makes the deadline earlier")
        if fact.by.startswith("operator:"):
            continue
        agreeing_side = "client" if fact.by.startswith("client:") else "creator"
        is_agreed = (
            proposed is not None
            and proposed.side != agreeing_side
            and proposed.expected_publish_at == fact.after
            and event.at <= proposed.open_until
        )
        if not is_agreed:
            yield Finding("schedule", subject, f"{event.id} is not what the other side proposed")
        proposed = None


def check_position(order: Order) -> Iterator[Finding]:
    """Hold that where an order is, what it holds, waits for and ended by agree."""
    subject = f"order:{order.order_id}"
    total_fen = order.amount_fen + bps_of(order.amount_fen, order.policy.service_fee_bps)
    deposit_fen = order.deposit_fen if order.prepay_deposit else total_fen
    held_fen, allowed_fen = order.held_fen, {0}
    if order.state is State.OFFERED:
        allowed_fen = {deposit_fen, total_fen}
    elif order.state in (State.AWAITING_BALANCE, State.BALANCE_OVERDUE):
        allowed_fen = {deposit_fen}
    elif order.state is not State.AWAITING_DEPOSIT and not order.is_final:
        allowed_fen = {total_fen}
    if held_fen not in allowed_fen:
        yield Finding(
            "cover", subject, f"{order.state} holds {held_fen} fen, not {sorted(allowed_fen)}"
        )
    in_dispute = order.state is State.IN_ARBITRATION
    reasons = tuple(DisputeReason) if in_dispute else END_REASONS.get(order.state)
    if order.reason not in (reasons or (None,)):
        yield Finding("ending", subject, f"{order.state} because of {order.reason}")
    yield from _check_deadline(order, subject)


def _check_deadline(order: Order, subject: str) -> Iterator[Finding]:
    """Hold that what waits has a deadline, but for a stopped clock, which has time left."""
    waits = order.state in WAITING_STATES or order.state is State.IN_ARBITRATION
    if (waits and not order.stoppers) != (order.due_at is not None):
        yield Finding("waiting", subject, f"{order.state} until {order.due_at}")
    if bool(order.stoppers) != (order.left is not None):
        yield Finding("stopped", subject, f"{order.stoppers} stop it, {order.left} is left")
    if (order.paused_until is not None) != ("operator" in order.stoppers):
        yield Finding("stopped", subject, f"{order.stoppers} stop it until {order.paused_until}")


def check_creator(creator: Creator, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that folding a creator's events gives the creator, and its bans follow each other."""
    subject = f"creator:{creator.creator_id}"
    replayed: Creator | None = None
    try:
        for event in events:
            replayed = evolve_creator(replayed, event)
    except (BrokenInvariant, LookupError, TypeError, ValueError) as error:
        yield Finding("replay", subject, f"the events cannot be folded: {error}")
        return
    if replayed is None or replayed.as_told() != creator.as_told():
        yield Finding("replay", subject, "the events give another creator")
    for before, after in pairwise(creator.bans):
        if before.until != after.since:
            yield Finding("ladder", subject, f"a ban ends at {before.until}, then {after.since}")


def bps_of(amount_fen: int, bps: int) -> int:
    """Take a rate of an amount, half up: once more, by other means than `money`."""
    exact = Decimal(amount_fen) * bps / 10_000
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
