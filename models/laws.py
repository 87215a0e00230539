"""Laws: what is always true of the books, each recomputed from the facts by other code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby, pairwise

from models.creator import Creator, evolve_creator
from models.errors import BrokenInvariant
from models.events import Event
from models.evolve import begin, evolve
from models.lifecycle import DISPUTES, ENDINGS, TRANSITIONS, WAITING, State
from models.order import Order
from models.order_events import OrderPlaced


@dataclass(frozen=True, slots=True)
class Finding:
    """One law of the books, broken in one place; `detail` is a sentence for people."""

    law: str
    where: str
    detail: str


def sequence(subject: str, last: int, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that events number 1, 2, 3 … without a gap, up to what the record says."""
    numbers = [one.sequence for one in events]
    strangers = [one.id for one in events if one.subject != subject]
    if strangers:
        yield Finding("sequence", subject, f"{strangers[0]} is about something else")
    if numbers != list(range(1, last + 1)):
        yield Finding("sequence", subject, f"{len(numbers)} events do not number 1 to {last}")


def life(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that folding the events gives the order, and every move it made is in the table."""
    where = f"order:{order.order_id}"
    try:
        lives = list(_lives(order, events))
    except (BrokenInvariant, LookupError, TypeError, ValueError) as error:
        yield Finding("replay", where, f"the events cannot be folded: {error}")
        return
    differing = [
        one.name
        for one in fields(Order)
        if getattr(lives[-1], one.name) != getattr(order, one.name)
    ]
    if differing:
        yield Finding("replay", where, f"the events give another {', '.join(differing)}")
    listed = {(row.source, target) for row in TRANSITIONS for target in row.targets}
    for before, after in pairwise(one.state for one in lives):
        if before is not after and (before, after) not in listed:
            yield Finding("table", where, f"went from {before} to {after}")


def _lives(order: Order, events: Sequence[Event]) -> Iterator[Order]:
    """Fold the events, those of one cause together; give what the order was after each."""
    causes = [list(some) for _, some in groupby(events, key=lambda one: (one.caused_by, one.at))]
    folded = begin(causes[0].pop(0), order.policy)
    yield folded
    for cause in causes:
        for event in cause:
            folded = evolve(folded, event)
        yield folded


def terms(order: Order, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that the terms follow from the original amount and the policy they were frozen under."""
    where, policy = f"order:{order.order_id}", order.policy
    placed = events[0].fact if events else None
    if not isinstance(placed, OrderPlaced):
        yield Finding("terms", where, "its first event is not order.placed")
        return
    total = placed.amount_fen + part(placed.amount_fen, policy.service_fee_bps)
    deposit = max(1, part(total, policy.deposit_bps)) if placed.prepay_deposit else 0
    if placed.policy_version != policy.version:
        yield Finding("terms", where, f"placed under {placed.policy_version}, not {policy.version}")
    if (placed.total_fen, placed.deposit_fen) != (total, deposit):
        yield Finding("terms", where, f"the total is {total} and the deposit {deposit}")
    if (order.original_amount_fen, order.deposit_fen) != (placed.amount_fen, deposit):
        yield Finding("terms", where, "the original amount or the deposit has moved")


def position(order: Order) -> Iterator[Finding]:
    """Hold that where an order is, what it holds, waits for and ended by agree."""
    where = f"order:{order.order_id}"
    total = order.amount_fen + part(order.amount_fen, order.policy.service_fee_bps)
    deposit = order.deposit_fen if order.prepay_deposit else total
    held, fits = order.held_fen, {0}
    if order.state is State.OFFERED:
        fits = {deposit, total}
    elif order.state in (State.AWAITING_BALANCE, State.BALANCE_OVERDUE):
        fits = {deposit}
    elif order.state is not State.AWAITING_DEPOSIT and not order.is_final:
        fits = {total}
    if held not in fits:
        yield Finding("cover", where, f"{order.state} holds {held} fen, not {sorted(fits)}")
    reasons = DISPUTES if order.state is State.IN_ARBITRATION else ENDINGS.get(order.state)
    if order.reason not in (reasons or (None,)):
        yield Finding("ending", where, f"{order.state} because of {order.reason}")
    yield from _waiting(order, where)


def _waiting(order: Order, where: str) -> Iterator[Finding]:
    """Hold that what waits has a deadline, but for a stopped clock, which has time left."""
    waits = order.state in WAITING or order.state is State.IN_ARBITRATION
    if (waits and not order.stoppers) != (order.due_at is not None):
        yield Finding("waiting", where, f"{order.state} until {order.due_at}")
    if bool(order.stoppers) != (order.left is not None):
        yield Finding("stopped", where, f"{order.stoppers} stop it, {order.left} is left")
    if (order.paused_until is not None) != ("operator" in order.stoppers):
        yield Finding("stopped", where, f"{order.stoppers} stop it until {order.paused_until}")


def creator(creator: Creator, events: Sequence[Event]) -> Iterator[Finding]:
    """Hold that folding a creator's events gives the creator, and its bans follow each other."""
    where = f"creator:{creator.creator_id}"
    told: Creator | None = None
    try:
        for event in events:
            told = evolve_creator(told, event)
    except (BrokenInvariant, LookupError, TypeError, ValueError) as error:
        yield Finding("replay", where, f"the events cannot be folded: {error}")
        return
    if told != creator:
        yield Finding("replay", where, "the events give another creator")
    for before, after in pairwise(creator.bans):
        if before.until != after.since:
            yield Finding("ladder", where, f"a ban ends at {before.until}, then {after.since}")


def part(amount_fen: int, bps: int) -> int:
    """Take a rate of an amount, half up: once more, by other means than `money`."""
    exact = Decimal(amount_fen) * bps / 10_000
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
