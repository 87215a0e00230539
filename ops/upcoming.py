"""Upcoming: what happens to an order by itself, and when, if nobody asks for anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from models.creators import Creator
from models.events.orders import ClockStopped
from models.fields import duration_text, instant_text
from models.lifecycle import ENFORCE_DEADLINE, State, find
from models.orders.decide import elapse
from models.orders.order import Order
from ops.numbers import armed, leads
from ops.steps import text
from ops.trials import effect
from ops.waits import WAITS_FOR
from workers.queries.reader import History
from workers.timestamps import MICROSECOND

Account = dict[str, Any]


def upcoming(history: History, at: datetime, watermark: datetime | None) -> Account | None:
    """Say what ends the wait, and when; None where the order waits for nobody."""
    order = history.order
    if order.is_final:
        return None
    account: Account = {
        "waits_for": WAITS_FOR[order.state],
        "due_at": text(order.due_at),
        "grace": "PT0S",
        "lapses_at": None,
        "reminder_at": None,
        "becomes": [],
        "then": {},
        "overdue_seconds": 0.0,
        "held_back_by_backlog": False,
        "numbers": armed(order) | leads(order),
    }
    if order.state is State.IN_ARBITRATION:
        return account | {"alert_at": text(order.alert_at)}
    if order.stoppers:
        return account | _stopped(history)
    return account | _running(order, at, watermark)


def _running(order: Order, at: datetime, watermark: datetime | None) -> Account:
    due_at, lapses_at = order.due_at, order.lapses_at
    if due_at is None or lapses_at is None:
        return {}
    leads_left = order.leads_left()
    effects = effect(elapse(order, lapses_at + MICROSECOND), order)
    return {
        "grace": duration_text(lapses_at - due_at),
        "lapses_at": instant_text(lapses_at),
        "reminder_at": text(due_at - leads_left[0] if leads_left and at <= due_at else None),
        "becomes": [effects.pop("becomes")],
        "then": effects,
        "overdue_seconds": max(timedelta(0), at - lapses_at).total_seconds(),
        # What was received in time and is still queued is heard first.
        "held_back_by_backlog": watermark is not None and watermark <= lapses_at < at,
    }


def _stopped(history: History) -> Account:
    """Say who stops the clock, when it runs again at the latest, and what is due then."""
    order, ends = history.order, _release(history.order, history.creator)
    time_left = order.left or timedelta(0)
    resumes_at = None if None in ends else max(end_at for end_at in ends if end_at is not None)
    transition = find(order.state, ENFORCE_DEADLINE)
    return {
        "left": duration_text(time_left),
        "left_seconds": time_left.total_seconds(),
        "stopped_by": [_stopper(history, stopper) for stopper in order.stoppers],
        "resumes_at": text(resumes_at),
        "due_then": text(resumes_at + time_left if resumes_at else None),
        "becomes": sorted(state.value for state in transition.targets) if transition else [],
    }


def _release(order: Order, creator: Creator) -> list[datetime | None]:
    """Return until when each stops the clock, None where nobody knows."""
    ends = {
        "operator": order.paused_until,
        # Bans run one after the other: only the end of the last lets the clock run.
        "ban": creator.bans[-1].until if creator.bans else None,
    }
    return [ends[stopper] for stopper in order.stoppers]


def _stopper(history: History, stopper: str) -> Account:
    order = history.order
    stops = [
        (event, event.fact)
        for event, _ in history.events
        if isinstance(event.fact, ClockStopped) and event.fact.stopper == stopper
    ]
    last_stop, fact = stops[-1]
    ends = dict(zip(order.stoppers, _release(order, history.creator), strict=True))
    return {
        "who": stopper,
        "since": instant_text(last_stop.at),
        "caused_by": last_stop.caused_by,
        "was_due_at": text(fact.old_due_at),
        "until": text(ends[fact.stopper]),
    }


def later(history: History, at: datetime) -> list[Account]:
    """List what else time does: debts that an operator is told of, and the end of chances."""
    rows = [*_debts(history), *_chances(history.order), *_bans(history.creator)]
    rows.sort()
    return [
        {"at": instant_text(due_at), "what": description}
        for due_at, description in rows
        if due_at >= at
    ]


Row = tuple[datetime, str]


def _debts(history: History) -> Iterator[Row]:
    debts = [(refund.refund_id, "refund", refund.wake_at) for refund in history.refunds]
    debts += [(payout.payout_id, "payout", payout.wake_at) for payout in history.payouts]
    for name, kind, due_at in debts:
        if due_at is not None:
            yield due_at, f"an operator is told if {kind} {name} has not left"


def _chances(order: Order) -> Iterator[Row]:
    if order.reason == "balance_not_paid" and not order.released:
        until = order.entered_at + order.policy.late_notice_window
        description = (
            "the last notice of a balance paid in time is heard, and reinstates the order; "
            "from then on an operator may release the deposit"
        )
        yield until, description


def _bans(creator: Creator) -> Iterator[Row]:
    for ban, next_ban in zip_longest(creator.bans, creator.bans[1:]):
        if ban.until is None:
            continue
        next_ban_text = ""
        if next_ban is not None:
            until = f"until {instant_text(next_ban.until)}" if next_ban.until else "for good"
            next_ban_text = f", and that for {next_ban.violation_id} begins, {until}"
        yield ban.until, f"the ban for violation {ban.violation_id} is over{next_ban_text}"
