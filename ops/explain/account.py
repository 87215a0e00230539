"""Account: why an order is where it is, what happens next, and what each party may do now.

Its life is folded again from its events, each step a command, time or the creator's standing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby, zip_longest
from typing import Any

from models.creators import Creator
from models.events.event import Event
from models.events.orders import ClockStopped
from models.fields import duration_text, instant_text
from models.lifecycle import ENFORCE_DEADLINE, Role, State, find
from models.orders.decide import elapse
from models.orders.evolve import begin, evolve
from models.orders.order import Order
from models.policy import WINDOWS
from ops.explain.permitted import effect, rights
from ops.explain.policy_inputs import armed, leads, numbers
from ops.explain.texts import fen, told, told_party
from ops.order_views import WAITS_FOR
from workers.database.repository import Store
from workers.queries.reader import History, history
from workers.timestamps import MICROSECOND

Account = dict[str, Any]


def explain(
    store: Store, order_id: str, *, at: datetime, watermark: datetime | None = None
) -> Account | None:
    """Account for one order as of `at`, or return None if there is none; all of it is JSON.

    `watermark` is the instant before which everything received is settled; deadlines wait for it.
    """
    order_history = history(store, order_id)
    return None if order_history is None else account(order_history, at=at, watermark=watermark)


def account(order_history: History, *, at: datetime, watermark: datetime | None = None) -> Account:
    """Account for one order from everything that is on record about it."""
    order, steps = order_history.order, chain(order_history)
    elapsed_order = elapse(order, at, order_history.creator.turns(at)).order
    return {
        "order_id": order.order_id,
        "name": order_history.name,
        "status": order.state.value,
        "reason": order.reason,
        "since": instant_text(order.entered_at),
        "why": why(steps),
        "since_then": since(steps),
        "parties": _parties(order_history),
        "creator": _creator_standing(order_history),
        "chain": steps,
        "refused": _refused(order_history),
        "money": _money(order_history),
        "policy": _policy(order_history),
        "next": upcoming(order_history, at, watermark),
        "later": later(order_history, at),
        "may": rights(elapsed_order, order_history.creator, at),
        # Time is enforced before anyone is heard: this is the state in which rights are judged.
        "judged_as": elapsed_order.state.value,
        "clock": {"at": instant_text(at), "watermark": text(watermark)},
    }


def _parties(order_history: History) -> Account:
    order = order_history.order
    return {
        "client": order.client_id,
        "creator": order.creator_id,
        "mcn": order_history.creator.agency,
        "client_provider": order.client_provider,
        "creator_provider": order.creator_provider,
        # To whom money is owed was frozen when the order was accepted.
        "payee_mcn": order.mcn_id,
        "mcn_share_bps": order.mcn_share_bps,
    }


def _creator_standing(order_history: History) -> Account:
    """Tell the standing of the order's creator, and what led to it."""
    creator = order_history.creator
    standing_events = [
        event for event in order_history.standing if event.fact.type != "creator.registered"
    ]
    return {
        "admitted": creator.admitted,
        "bans": [
            {
                "violation_id": ban.violation_id,
                "step": ban.step,
                "since": instant_text(ban.since),
                "until": text(ban.until),
            }
            for ban in creator.bans
        ],
        "told": [
            {"at": instant_text(event.at), "what": told_party(event.fact)}
            for event in standing_events
        ],
    }


def _refused(order_history: History) -> list[Account]:
    return [
        {
            "command_id": receipt.command_id,
            "received_at": instant_text(receipt.received_at),
            "reason": receipt.reason,
            "cost_fen": receipt.cost_fen,
            "by": order_history.asked_by.get(receipt.command_id),
        }
        for receipt in order_history.receipts.values()
        if receipt.outcome == "rejected"
    ]


def _money(order_history: History) -> Account:
    order = order_history.order
    return {
        "original_amount_fen": order.original_amount_fen,
        "amount_fen": order.amount_fen,
        "total_fen": order.total_fen,
        "deposit_fen": order.deposit_fen,
        "held_fen": order.held_fen,
        "balance_due_fen": order.balance_due_fen,
        "held": _holdings(order.held),
        "forfeited": _holdings(order.forfeited),
        "refunds": [
            {"refund_id": refund.refund_id, "client_id": refund.client_id} | _debt(refund)
            for refund in order_history.refunds
        ],
        "payouts": [
            {"payout_id": payout.payout_id, "party": payout.party} | _debt(payout)
            for payout in order_history.payouts
        ],
    }


def _holdings(holdings: Any) -> list[Account]:  # noqa: ANN401 - a tuple of holdings
    return [
        {"payment_id": holding.payment_id, "amount_fen": holding.amount_fen} for holding in holdings
    ]


def _debt(debt: Any) -> Account:  # noqa: ANN401 - a refund or a payout
    return {
        "amount_fen": debt.amount_fen,
        "requested_at": instant_text(debt.requested_at),
        "confirmed_at": text(debt.confirmed_at),
    }


def _policy(order_history: History) -> Account:
    policy = order_history.order.policy
    numbers = policy.model_dump(mode="json")
    adopted_at = text(order_history.policy_adopted_at)
    return {"version": policy.version, "adopted_at": adopted_at, "numbers": numbers}


NONE = timedelta(0)

HEAD = ("order_id", "at", "sequence", "caused_by")
"""What every event carries; in a chain it is said once, for the step."""


def chain(history: History) -> list[Account]:
    """Fold the events again, step by step: what caused each, and what it did."""
    order: Order | None = None
    steps = []
    for key, group in groupby(history.events, key=lambda pair: (pair[0].caused_by, pair[0].at)):
        pairs, before = list(group), order
        for event, _ in pairs:
            order = begin(event, history.order.policy) if order is None else evolve(order, event)
        if order is None:
            break
        step = _step(history, [event for event, _ in pairs], before, order)
        steps.append({"at": instant_text(key[1]), "recorded_at": text(pairs[-1][1])} | step)
    return steps


def _step(history: History, events: list[Event], before: Order | None, after: Order) -> Account:
    due_at = before.due_at if before else None
    margin = due_at - events[0].at if due_at else None
    return {
        "cause": _cause(history, events),
        "from": before.state.value if before else None,
        "to": after.state.value,
        "deadline": text(due_at),
        "margin_seconds": margin.total_seconds() if margin is not None else None,
        "margin": duration_text(margin) if margin is not None and margin >= NONE else None,
        "told": [told(event.fact) for event in events],
        "events": [_body(event) for event in events],
        "numbers": numbers(events, before, after),
    }


def _body(event: Event) -> Account:
    return {key: value for key, value in json.loads(event.text()).items() if key not in HEAD}


def _cause(history: History, events: list[Event]) -> Account:
    kind, _, name = events[0].caused_by.partition(":")
    if kind in ("deadline", "reminder"):
        return {"kind": kind, "state": name, "by": Role.CLOCK.value}
    if kind != "command":
        standing_text = _standing(history, kind, name, events[0].at)
        return {"kind": kind, "name": name, "by": Role.PLATFORM.value, "told": standing_text}
    receipt = history.receipts.get(name)
    received_at = receipt.received_at if receipt else None
    requester = history.asked_by.get(name) or _asker(events)
    return {"kind": kind, "id": name, "by": requester, "received_at": text(received_at)}


def _standing(history: History, kind: str, name: str, at: datetime) -> str | None:
    """Say what had been told of the creator when an order learned of it."""
    event_types = ENDED if kind == "contract" else BANS
    events = [
        event
        for event in history.standing
        if event.fact.type in event_types
        and event.at <= at
        and getattr(event.fact, "violation_id", name) == name
    ]
    if not events:
        return None
    suffix = "" if events[-1].at == at else f" (told at {instant_text(events[-1].at)})"
    return told_party(events[-1].fact) + suffix


BANS = ("creator.banned", "creator.ban_lifted", "violation.overturned")
ENDED = ("contract.ended",)


def _asker(events: list[Event]) -> str:
    """Say who asked: the event does where several may, else its kind tells."""
    requesters = [str(event.fact.by) for event in events if hasattr(event.fact, "by")]
    implied_requesters = [ASKERS[event.fact.type] for event in events if event.fact.type in ASKERS]
    reasons = {getattr(event.fact, "reason", None) for event in events}
    if "client_cancelled" in reasons:
        implied_requesters.append(Role.CLIENT.value)
    return next(iter(requesters + implied_requesters), Role.PAYMENTS.value)


ASKERS = {
    "order.placed": "client",
    "quote.revised": "creator or mcn",
    "quote.restored": "client",
    "creator.reminded": "client",
}


def why(steps: list[Account]) -> str:
    """Say what brought the order to its present state, as far back as only time had moved it."""
    moves = [step for step in steps if step["from"] != step["to"]]
    sentences = [f"{because(moves[-1])}: {'; '.join(shown(moves[-1]))}"]
    for step in reversed(moves[:-1]):
        if step["cause"]["kind"] != "deadline":
            break
        sentences.append(f"Before that, {because(step)}: {'; '.join(shown(step))}")
    return ". ".join(sentences)


def since(steps: list[Account]) -> list[Account]:
    """Return the steps after the one that brought the order to its present state."""
    last_move = max(n for n, step in enumerate(steps) if step["from"] != step["to"])
    return steps[last_move + 1 :]


def shown(step: Account) -> list[str]:
    """Return what a step did: debts as one sum, and nothing said twice."""
    events, kinds = step["events"], {event["type"] for event in step["events"]}
    notes = {event.get("note") for event in events if event["type"] != "operator.acted"}
    repeated_positions = {
        n
        for n, event in enumerate(events)
        if event["type"] == "operator.acted" and event["note"] in notes
    }
    debt_positions = {n for n, event in enumerate(events) if event["type"] in DEBTS}
    clauses = [
        clause
        for n, clause in enumerate(step["told"])
        if n not in repeated_positions | debt_positions
    ]
    refund_fen = sum(event["amount_fen"] for event in events if event["type"] == "refund.requested")
    return clauses + ([] if not refund_fen or kinds & SUMMED else [f"{fen(refund_fen)} go back"])


DEBTS = ("refund.requested", "payout.requested")
SUMMED = {"order.cancelled", "forfeit.released", "payment.unapplied"}
"""Events that say themselves what goes back."""


def because(step: Account) -> str:
    """Name the cause of a step: who asked, whose time was over, or what befell the creator."""
    cause, at = step["cause"], step["at"]
    if (
        cause["kind"] == "command"
        and step["to"] == "forfeited"
        and step["from"] == "balance_overdue"
    ):
        return f"{cause['by']} confirmed, by command {cause['id']}, at {at}, that nothing is paid"
    if cause["kind"] == "command":
        return f"{cause['by']} asked, by command {cause['id']}, at {at}"
    if cause["kind"] == "deadline":
        return _lapsed(cause["state"], step)
    if cause["kind"] == "reminder":
        return f"a reminder was due at {at}"
    if cause["kind"] == "upgrade":
        return (
            f"version {cause['name']} of the database gave what waited for nobody its time, at {at}"
        )
    return f"{cause['told'] or cause['kind'] + ' ' + cause['name']}, at {at}"


def _lapsed(state: str, step: Account) -> str:
    window = WINDOWS[State(state)]
    length = step["numbers"].get(window)
    if step["from"] == step["to"]:
        return f"the pause could last no longer, at {step['at']}"
    wait = f"the time for {WAITS_FOR[State(state)]}{f' ({window} {length})' if length else ''}"
    grace = step["numbers"].get("payment_notice_grace")
    deadline_note = (
        f" (people were told {step['deadline']})" if step["deadline"] != step["at"] else ""
    )
    grace_note = f", and {grace} more for notices under way," if deadline_note and grace else ""
    return f"{wait}{grace_note} was over at {step['at']}{deadline_note}"


def text(at: datetime | None) -> str | None:
    """Write an instant, or None."""
    return None if at is None else instant_text(at)


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
    rows = [*_debt_alerts(history), *_chances(history.order), *_bans(history.creator)]
    rows.sort()
    return [
        {"at": instant_text(due_at), "what": description}
        for due_at, description in rows
        if due_at >= at
    ]


Row = tuple[datetime, str]


def _debt_alerts(history: History) -> Iterator[Row]:
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
