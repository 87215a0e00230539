"""Steps: an order's life folded again, each step a command, time or the creator's standing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from models.events.event import Event
from models.fields import duration_text, instant_text
from models.lifecycle import Role, State
from models.orders.evolve import begin, evolve
from models.orders.order import Order
from models.policy import WINDOWS
from ops.numbers import numbers
from ops.told import told
from ops.told_parties import told_party
from ops.waits import WAITS_FOR
from ops.wording import fen
from workers.queries.reader import History

Account = dict[str, Any]


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
