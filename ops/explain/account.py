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
from models.events.notifications import serialize_limits
from models.events.orders import ClockStopped
from models.fields import MICROSECOND, format_duration, format_instant
from models.ids import split_command_key
from models.lifecycle import ENFORCE_DEADLINE, EndReason, Role, State, find_transition
from models.orders.decide import elapse
from models.orders.evolve import begin_order, evolve
from models.orders.order import Order
from models.policy import WINDOW_SETTINGS
from ops.explain.permitted import Explanation, decision_effect, permitted_actions
from ops.explain.policy_inputs import policy_inputs, reminder_inputs, window_inputs
from ops.explain.texts import event_text, fen_text, party_event_text
from ops.order_views import WAITS_FOR
from ops.serializers import debt_fields
from workers.database.repository import Store
from workers.queries.reader import OrderHistory, order_history


def explain_order(
    store: Store, order_id: str, *, at: datetime, watermark: datetime | None = None
) -> Explanation | None:
    """Account for one order as of `at`, or return None if there is none; all of it is JSON.

    `watermark` is the instant before which everything received is settled; deadlines wait for it.
    """
    history = order_history(store, order_id)
    return None if history is None else account_for(history, at=at, watermark=watermark)


def account_for(
    history: OrderHistory, *, at: datetime, watermark: datetime | None = None
) -> Explanation:
    """Account for one order from everything that is on record about it."""
    order, steps = history.order, order_steps(history)
    creator = history.creator.as_of(at) or history.creator
    changes = creator.standing_changes(order.creator_sequence, at)
    elapsed_order = elapse(order, at, changes).order
    return {
        "order_id": order.order_id,
        "name": history.name,
        "status": order.state.value,
        "reason": order.reason,
        "since": format_instant(order.entered_at),
        "why": why_text(steps),
        "since_then": steps_since(steps),
        "parties": _parties(history),
        "creator": _creator_standing(history),
        "chain": steps,
        "refused": _rejections(history),
        "schedule": _schedule(order),
        "money": _money(history),
        "policy": _policy(history),
        "next": next_change(history, at, watermark),
        "later": later_changes(history, at),
        "may": permitted_actions(elapsed_order, creator, at),
        # Time is enforced before anyone is heard: this is the state in which a command is decided.
        "judged_as": elapsed_order.state.value,
        "clock": {"at": format_instant(at), "watermark": optional_instant_text(watermark)},
    }


def _parties(history: OrderHistory) -> Explanation:
    order = history.order
    return {
        "client": order.client_id,
        "creator": order.creator_id,
        "mcn": history.creator.agency,
        "client_provider": order.client_provider,
        "creator_provider": order.creator_provider,
        # To whom money is owed was frozen when the order was accepted.
        "payee_mcn": order.mcn_id,
        "mcn_share_bps": order.mcn_share_bps,
    }


def _schedule(order: Order) -> Explanation:
    """Tell for when the publication is planned, and what other day was proposed last."""
    proposal = order.proposal
    return {
        "expected_publish_at": optional_instant_text(order.expected_publish_at),
        "proposal": None
        if proposal is None
        else {
            "side": proposal.side,
            "expected_publish_at": format_instant(proposal.expected_publish_at),
            "open_until": format_instant(proposal.open_until),
        },
    }


def _creator_standing(history: OrderHistory) -> Explanation:
    """Tell the standing of the order's creator, and what led to it."""
    creator = history.creator
    standing_events = [
        event for event in history.standing if event.fact.type != "creator.registered"
    ]
    return {
        "admitted": creator.admitted,
        "bans": [
            {
                "violation_id": ban.violation_id,
                "step": ban.step,
                "since": format_instant(ban.since),
                "until": optional_instant_text(ban.until),
            }
            for ban in creator.bans
        ],
        "told": [
            {"at": format_instant(event.at), "what": party_event_text(event.fact)}
            for event in standing_events
        ],
    }


def _rejections(history: OrderHistory) -> list[Explanation]:
    return [
        {
            "command_id": receipt.command_id,
            "received_at": format_instant(receipt.received_at),
            "reason": receipt.reason,
            "cost_fen": (receipt.limits or {}).get("cost_fen"),
            "limits": serialize_limits(receipt.limits),
            "by": receipt.sender or None,
        }
        for receipt in history.receipts.values()
        if receipt.outcome == "rejected"
    ]


def _money(history: OrderHistory) -> Explanation:
    order = history.order
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
            {"refund_id": refund.refund_id, "client_id": refund.client_id} | debt_fields(refund)
            for refund in history.refunds
        ],
        "payouts": [
            {"payout_id": payout.payout_id, "party": payout.party}
            | debt_fields(payout)
            | {"held_at": optional_instant_text(payout.held_at)}
            for payout in history.payouts
        ],
    }


def _holdings(holdings: Any) -> list[Explanation]:  # noqa: ANN401 - a tuple of holdings
    return [
        {"payment_id": holding.payment_id, "amount_fen": holding.amount_fen} for holding in holdings
    ]


def _policy(history: OrderHistory) -> Explanation:
    policy = history.order.policy
    numbers = policy.model_dump(mode="json")
    adopted_at = optional_instant_text(history.policy_adopted_at)
    return {"version": policy.version, "adopted_at": adopted_at, "numbers": numbers}


NO_TIME = timedelta(0)

ENVELOPE_FIELDS = ("order_id", "at", "sequence", "caused_by")
"""What every event carries; in a chain it is said once, for the step."""


def order_steps(history: OrderHistory) -> list[Explanation]:
    """Fold the events again, step by step: what caused each, and what it did."""
    order: Order | None = None
    steps = []
    for key, group in groupby(history.events, key=lambda pair: (pair[0].caused_by, pair[0].at)):
        pairs, before = list(group), order
        for event, _ in pairs:
            order = (
                begin_order(event, history.order.policy) if order is None else evolve(order, event)
            )
        if order is None:
            break
        step = _step(history, [event for event, _ in pairs], before, order)
        steps.append(
            {"at": format_instant(key[1]), "recorded_at": optional_instant_text(pairs[-1][1])}
            | step
        )
    return steps


def _step(
    history: OrderHistory, events: list[Event], before: Order | None, after: Order
) -> Explanation:
    due_at = before.due_at if before else None
    margin = due_at - events[0].at if due_at else None
    return {
        "cause": _cause(history, events),
        "from": before.state.value if before else None,
        "to": after.state.value,
        "deadline": optional_instant_text(due_at),
        "margin_seconds": margin.total_seconds() if margin is not None else None,
        "margin": format_duration(margin) if margin is not None and margin >= NO_TIME else None,
        "told": [event_text(event.fact) for event in events],
        "events": [_event_body(event) for event in events],
        "numbers": policy_inputs(events, before, after),
    }


def _event_body(event: Event) -> Explanation:
    return {
        key: value for key, value in json.loads(event.text()).items() if key not in ENVELOPE_FIELDS
    }


def _cause(history: OrderHistory, events: list[Event]) -> Explanation:
    kind, _, name = events[0].caused_by.partition(":")
    if kind in ("deadline", "reminder"):
        return {"kind": kind, "state": name, "by": Role.CLOCK.value}
    if kind != "command":
        standing_text = _standing_text(history, kind, name, events[0].at)
        return {"kind": kind, "name": name, "by": Role.PLATFORM.value, "told": standing_text}
    receipt = history.receipts.get(name)
    sender, command_id = split_command_key(name)
    return {
        "kind": kind,
        "id": command_id,
        "by": sender or (receipt.sender if receipt else None) or _sender(events),
        "received_at": optional_instant_text(receipt.received_at if receipt else None),
    }


def _standing_text(history: OrderHistory, kind: str, name: str, at: datetime) -> str | None:
    """Say what had been told of the creator when an order learned of it."""
    event_types = CONTRACT_EVENTS if kind == "contract" else BAN_EVENTS
    events = [
        event
        for event in history.standing
        if event.fact.type in event_types
        and event.at <= at
        and getattr(event.fact, "violation_id", name) == name
    ]
    if not events:
        return None
    suffix = "" if events[-1].at == at else f" (told at {format_instant(events[-1].at)})"
    return party_event_text(events[-1].fact) + suffix


BAN_EVENTS = ("creator.banned", "creator.ban_lifted", "violation.overturned")
CONTRACT_EVENTS = ("contract.ended",)


def _sender(events: list[Event]) -> str:
    """Say who asked: the event does where several may, else its kind tells."""
    requesters = [str(event.fact.by) for event in events if hasattr(event.fact, "by")]
    implied_requesters = [
        SENDERS[event.fact.type] for event in events if event.fact.type in SENDERS
    ]
    reasons = {getattr(event.fact, "reason", None) for event in events}
    if EndReason.CLIENT_CANCELLED in reasons:
        implied_requesters.append(Role.CLIENT.value)
    return next(iter(requesters + implied_requesters), Role.PAYMENTS.value)


SENDERS = {
    "order.placed": "client",
    "quote.revised": "creator or mcn",
    "quote.restored": "client",
    "creator.reminded": "client",
}


def why_text(steps: list[Explanation]) -> str:
    """Say what brought the order to its present state, as far back as only time had moved it."""
    moves = [step for step in steps if step["from"] != step["to"]]
    sentences = [f"{cause_text(moves[-1])}: {'; '.join(step_texts(moves[-1]))}"]
    for step in reversed(moves[:-1]):
        if step["cause"]["kind"] != "deadline":
            break
        sentences.append(f"Before that, {cause_text(step)}: {'; '.join(step_texts(step))}")
    return ". ".join(sentences)


def steps_since(steps: list[Explanation]) -> list[Explanation]:
    """Return the steps after the one that brought the order to its present state."""
    last_move = max(n for n, step in enumerate(steps) if step["from"] != step["to"])
    return steps[last_move + 1 :]


def step_texts(step: Explanation) -> list[str]:
    """Return what a step did: debts as one sum, and nothing said twice."""
    events, kinds = step["events"], {event["type"] for event in step["events"]}
    notes = {event.get("note") for event in events if event["type"] != "operator.acted"}
    repeated_positions = {
        n
        for n, event in enumerate(events)
        if event["type"] == "operator.acted" and event["note"] in notes
    }
    debt_positions = {n for n, event in enumerate(events) if event["type"] in DEBT_EVENTS}
    clauses = [
        clause
        for n, clause in enumerate(step["told"])
        if n not in repeated_positions | debt_positions
    ]
    refund_fen = sum(event["amount_fen"] for event in events if event["type"] == "refund.requested")
    return clauses + (
        [] if not refund_fen or kinds & REFUNDING_EVENTS else [f"{fen_text(refund_fen)} go back"]
    )


DEBT_EVENTS = ("refund.requested", "payout.requested")

REFUNDING_EVENTS = {"order.cancelled", "forfeit.released", "payment.unapplied"}
"""Events that say themselves what goes back."""


def cause_text(step: Explanation) -> str:
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
        return _deadline_text(cause["state"], step)
    if cause["kind"] == "reminder":
        return f"a reminder was due at {at}"
    if cause["kind"] == "upgrade":
        return (
            f"version {cause['name']} of the database gave what waited for nobody its time, at {at}"
        )
    return f"{cause['told'] or cause['kind'] + ' ' + cause['name']}, at {at}"


def _deadline_text(state: str, step: Explanation) -> str:
    window = WINDOW_SETTINGS[State(state)]
    length = step["numbers"].get(window)
    if any(event["type"] == "order.deposit_overdue" for event in step["events"]):
        return (
            f"the time for {WAITS_FOR[State(state)]} ({window} {length}) was over at {step['at']}"
        )
    if step["from"] == step["to"]:
        return f"the pause could last no longer, at {step['at']}"
    wait = f"the time for {WAITS_FOR[State(state)]}{f' ({window} {length})' if length else ''}"
    grace = step["numbers"].get("payment_notice_grace")
    deadline_note = (
        f" (people were told {step['deadline']})" if step["deadline"] != step["at"] else ""
    )
    grace_note = f", and {grace} more for notices under way," if deadline_note and grace else ""
    return f"{wait}{grace_note} was over at {step['at']}{deadline_note}"


def optional_instant_text(at: datetime | None) -> str | None:
    """Write an instant, or None."""
    return None if at is None else format_instant(at)


def next_change(
    history: OrderHistory, at: datetime, watermark: datetime | None
) -> Explanation | None:
    """Say what ends the wait, and when; None where the order waits for nobody."""
    order = history.order
    if order.is_final:
        return None
    account: Explanation = {
        "waits_for": WAITS_FOR[order.state],
        "due_at": optional_instant_text(order.due_at),
        "grace": "PT0S",
        "lapses_at": None,
        "reminder_at": None,
        "grace_begins_at": None,
        "becomes": [],
        "then": {},
        "overdue_seconds": 0.0,
        "held_back_by_backlog": False,
        "numbers": window_inputs(order) | reminder_inputs(order),
    }
    if order.state is State.IN_ARBITRATION:
        return account | {"alert_at": optional_instant_text(order.alert_at)}
    if order.stoppers:
        return account | _paused_clock(history)
    return account | _running_clock(order, at, watermark)


def _running_clock(order: Order, at: datetime, watermark: datetime | None) -> Explanation:
    due_at, lapses_at = order.due_at, order.lapses_at
    if due_at is None or lapses_at is None:
        return {}
    leads_left = order.remaining_reminder_leads()
    effects = decision_effect(elapse(order, lapses_at + MICROSECOND), order)
    return {
        "grace": format_duration(lapses_at - due_at),
        "lapses_at": format_instant(lapses_at),
        "reminder_at": optional_instant_text(
            due_at - leads_left[0] if leads_left and at <= due_at else None
        ),
        "grace_begins_at": optional_instant_text(order.grace_begins_at),
        "becomes": [effects.pop("becomes")],
        "then": effects,
        "overdue_seconds": max(timedelta(0), at - lapses_at).total_seconds(),
        # What was received in time and is still queued is heard first.
        "held_back_by_backlog": watermark is not None and watermark <= lapses_at < at,
    }


def _paused_clock(history: OrderHistory) -> Explanation:
    """Say who stops the clock, when it runs again at the latest, and what is due then."""
    order, ends = history.order, _pause_ends(history.order, history.creator)
    time_left = order.left or timedelta(0)
    resumes_at = None if None in ends else max(end_at for end_at in ends if end_at is not None)
    transition = find_transition(order.state, ENFORCE_DEADLINE)
    return {
        "left": format_duration(time_left),
        "left_seconds": time_left.total_seconds(),
        "stopped_by": [_pause_cause(history, stopper) for stopper in order.stoppers],
        "resumes_at": optional_instant_text(resumes_at),
        "due_then": optional_instant_text(resumes_at + time_left if resumes_at else None),
        "becomes": sorted(state.value for state in transition.targets) if transition else [],
    }


def _pause_ends(order: Order, creator: Creator) -> list[datetime | None]:
    """Return until when each stops the clock, None where nobody knows."""
    ends = {
        "operator": order.paused_until,
        # Bans run one after the other: only the end of the last lets the clock run.
        "ban": creator.bans[-1].until if creator.bans else None,
    }
    return [ends[stopper] for stopper in order.stoppers]


def _pause_cause(history: OrderHistory, stopper: str) -> Explanation:
    order = history.order
    stops = [
        (event, event.fact)
        for event, _ in history.events
        if isinstance(event.fact, ClockStopped) and event.fact.stopper == stopper
    ]
    last_stop, fact = stops[-1]
    ends = dict(zip(order.stoppers, _pause_ends(order, history.creator), strict=True))
    return {
        "who": stopper,
        "since": format_instant(last_stop.at),
        "caused_by": last_stop.caused_by,
        "was_due_at": optional_instant_text(fact.old_due_at),
        "until": optional_instant_text(ends[fact.stopper]),
    }


def later_changes(history: OrderHistory, at: datetime) -> list[Explanation]:
    """List what else time does: debts that an operator is told of, and the end of chances."""
    rows = [*_debt_alerts(history), *_late_notices(history.order), *_ban_ends(history.creator)]
    rows.sort()
    return [
        {"at": format_instant(due_at), "what": description}
        for due_at, description in rows
        if due_at >= at
    ]


DatedText = tuple[datetime, str]


def _debt_alerts(history: OrderHistory) -> Iterator[DatedText]:
    debts = [(refund.refund_id, "refund", refund.wake_at) for refund in history.refunds]
    debts += [(payout.payout_id, "payout", payout.wake_at) for payout in history.payouts]
    for name, kind, due_at in debts:
        if due_at is not None:
            yield due_at, f"an operator is told if {kind} {name} has not left"


def _late_notices(order: Order) -> Iterator[DatedText]:
    if order.reason == EndReason.BALANCE_NOT_PAID and not order.released:
        until = order.entered_at + order.policy.late_notice_window
        description = (
            "the last notice of a balance paid in time is heard, and reinstates the order; "
            "from then on an operator may release the deposit"
        )
        yield until, description


def _ban_ends(creator: Creator) -> Iterator[DatedText]:
    for ban, next_ban in zip_longest(creator.bans, creator.bans[1:]):
        if ban.until is None:
            continue
        next_ban_text = ""
        if next_ban is not None:
            until = f"until {format_instant(next_ban.until)}" if next_ban.until else "for good"
            next_ban_text = f", and that for {next_ban.violation_id} begins, {until}"
        yield ban.until, f"the ban for violation {ban.violation_id} is over{next_ban_text}"
