"""Upcoming: what happens to an order by itself, and when, if nobody asks for anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from models.creator import Creator
from models.decide import elapse
from models.fields import duration_text, instant_text
from models.lifecycle import ENFORCE_DEADLINE, State, find
from models.order import Order
from models.work_events import ClockStopped
from ops.numbers import armed, leads
from ops.steps import text
from ops.trials import effect
from ops.waits import WAITS_FOR
from workers.clock import MICROSECOND
from workers.history import History

Account = dict[str, Any]


def upcoming(found: History, at: datetime, watermark: datetime | None) -> Account | None:
    """Say what ends the wait, and when; None where the order waits for nobody."""
    order = found.order
    if order.is_final:
        return None
    said: Account = {
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
        return said | {"alert_at": text(order.alert_at)}
    if order.stoppers:
        return said | _stopped(found)
    return said | _running(order, at, watermark)


def _running(order: Order, at: datetime, watermark: datetime | None) -> Account:
    due_at, lapses_at = order.due_at, order.lapses_at
    if due_at is None or lapses_at is None:
        return {}
    ahead = order.leads_left()
    found = effect(elapse(order, lapses_at + MICROSECOND), order)
    return {
        "grace": duration_text(lapses_at - due_at),
        "lapses_at": instant_text(lapses_at),
        "reminder_at": text(due_at - ahead[0] if ahead and at <= due_at else None),
        "becomes": [found.pop("becomes")],
        "then": found,
        "overdue_seconds": max(timedelta(0), at - lapses_at).total_seconds(),
        # What was received in time and is still queued is heard first.
        "held_back_by_backlog": watermark is not None and watermark <= lapses_at < at,
    }


def _stopped(found: History) -> Account:
    """Say who stops the clock, when it runs again at the latest, and what is due then."""
    order, ends = found.order, _release(found.order, found.creator)
    left = order.left or timedelta(0)
    resumes_at = None if None in ends else max(one for one in ends if one is not None)
    transition = find(order.state, ENFORCE_DEADLINE)
    return {
        "left": duration_text(left),
        "left_seconds": left.total_seconds(),
        "stopped_by": [_stopper(found, one) for one in order.stoppers],
        "resumes_at": text(resumes_at),
        "due_then": text(resumes_at + left if resumes_at else None),
        "becomes": sorted(one.value for one in transition.targets) if transition else [],
    }


def _release(order: Order, creator: Creator) -> list[datetime | None]:
    """Return until when each stops the clock, None where nobody knows."""
    ends = {
        "operator": order.paused_until,
        # Bans run one after the other: only the end of the last lets the clock run.
        "ban": creator.bans[-1].until if creator.bans else None,
    }
    return [ends[one] for one in order.stoppers]


def _stopper(found: History, stopper: str) -> Account:
    order = found.order
    stops = [
        (event, event.fact)
        for event, _ in found.events
        if isinstance(event.fact, ClockStopped) and event.fact.stopper == stopper
    ]
    last, fact = stops[-1]
    ends = dict(zip(order.stoppers, _release(order, found.creator), strict=True))
    return {
        "who": stopper,
        "since": instant_text(last.at),
        "caused_by": last.caused_by,
        "was_due_at": text(fact.old_due_at),
        "until": text(ends[fact.stopper]),
    }


def later(found: History, at: datetime) -> list[Account]:
    """List what else time does: debts that an operator is told of, and the end of chances."""
    rows = [*_debts(found), *_chances(found.order), *_bans(found.creator)]
    rows.sort()
    return [{"at": instant_text(due_at), "what": what} for due_at, what in rows if due_at >= at]


Row = tuple[datetime, str]


def _debts(found: History) -> Iterator[Row]:
    owed = [(one.refund_id, "refund", one.wake_at) for one in found.refunds]
    owed += [(one.payout_id, "payout", one.wake_at) for one in found.payouts]
    for name, kind, due_at in owed:
        if due_at is not None:
            yield due_at, f"an operator is told if {kind} {name} has not left"


def _chances(order: Order) -> Iterator[Row]:
    if order.reason == "balance_not_paid" and not order.released:
        until = order.entered_at + order.policy.late_notice_window
        what = (
            "the last notice of a balance paid in time is heard, and reinstates the order; "
            "from then on an operator may release the deposit"
        )
        yield until, what


def _bans(creator: Creator) -> Iterator[Row]:
    for ban, after in zip_longest(creator.bans, creator.bans[1:]):
        if ban.until is None:
            continue
        then = ""
        if after is not None:
            until = f"until {instant_text(after.until)}" if after.until else "for good"
            then = f", and that for {after.violation_id} begins, {until}"
        yield ban.until, f"the ban for violation {ban.violation_id} is over{then}"
