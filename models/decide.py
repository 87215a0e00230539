"""Decide: judge one command against one order, time first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from models import court, hands, heed, judges
from models.command import OrderCommand
from models.commands import OperatorAct
from models.creator import FREE, Creator, Standing, Turn
from models.errors import BrokenInvariant
from models.events import Event, Fact
from models.evolve import evolve
from models.judges import Judgement, Refusal
from models.lifecycle import (
    END_PAUSE,
    ENFORCE_DEADLINE,
    REVIEWS,
    ROLES,
    Role,
    State,
    find,
)
from models.notices import OperatorAlerted
from models.order import Order
from models.reasons import Alert, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows: the order as it is now, the events that led there, and a refusal or None.

    `cost_fen` is what the command would have cost, where that is why it was refused.
    """

    order: Order
    events: tuple[Event, ...] = ()
    reason: Reason | None = None
    cost_fen: int | None = None

    def then(self, facts: Iterable[Fact], at: datetime, caused_by: str) -> Verdict:
        """Let facts happen to the order, in turn."""
        order, events = self.order, list(self.events)
        for fact in facts:
            subject = f"order:{order.order_id}"
            event = Event(subject, order.sequence + 1, at, caused_by, fact)
            order = evolve(order, event)
            events.append(event)
        return Verdict(order, tuple(events))

    def refuse(self, reason: Reason, cost_fen: int | None = None) -> Verdict:
        """Refuse, keeping what time alone has done."""
        return Verdict(self.order, self.events, reason, cost_fen)


def decide(
    order: Order,
    command: OrderCommand | OperatorAct,
    at: datetime,
    creator: Creator | None,
    unknown: Reason | None = None,
) -> Verdict:
    """Judge one command received at `at`; `creator` is as known then, `unknown` whom it lacks.

    Time is enforced before anyone is heard, so a slow, doubled or dead scheduler changes nobody's
    rights: it only changes how soon the order learns of its fate.
    """
    elapsed = elapse(order, at, creator.turns(at) if creator else ())
    order = elapsed.order
    if not is_party(command, order, creator.agency if creator else None):
        return elapsed.refuse(Reason.NOT_ALLOWED)
    order_command = hands.lent(command, order) if isinstance(command, OperatorAct) else command
    if unknown is not None:
        return elapsed.refuse(unknown)
    if not _is_heard(order, order_command, at) or (order_command is not command and order.is_final):
        return elapsed.refuse(late_or_wrong_state(order, order_command, at))
    judgement = court.JUDGES[order_command.kind](order, order_command, at)
    caused_by = f"command:{command.id}"
    decision = conclude(
        elapsed, order_command.kind, hands.signed(judgement, command, creator), at, caused_by
    )
    if decision.reason is not None:
        return decision
    decision = decision.then(hands.trail(command, order, decision.order), at, caused_by)
    return heeding(decision, creator.at(at) if creator else FREE, at)


def _is_heard(order: Order, command: OrderCommand, at: datetime) -> bool:
    """Tell whether the table lists the command here, and time is not up for all but payments."""
    if hears_only_payments(order, at) and command.kind not in ALWAYS_HEARD:
        return False
    transition = find(order.state, command.kind)
    return transition is not None and command.by.role in transition.roles


ALWAYS_HEARD = frozenset({"confirm_unpaid", "appoint_provider"})
"""Besides payments, what is heard while only they can change an order's fate."""


def elapse(order: Order, until: datetime, changes: Iterable[Turn] = ()) -> Verdict:
    """Let every deadline before `until` take effect, each at its own instant.

    On time means at or before a deadline, so a state ends only when `until` is later. `changes` are
    those in its creator's standing before `until`, which take effect in between.
    """
    decision = Verdict(order)
    for change in changes:
        decision = _lapse(decision, change.at)
        if decision.order.learns_at(change.at):
            decision = heeding(decision, change.standing, change.at, begins=True)
    return _lapse(decision, until)


def _lapse(decision: Verdict, until: datetime) -> Verdict:
    while (lapses_at := decision.order.lapses_at) is not None and until > lapses_at:
        state, paused = decision.order.state, decision.order.stoppers
        facts = court.enforce(decision.order, lapses_at)
        kind = END_PAUSE if paused else ENFORCE_DEADLINE
        decision = conclude(decision, kind, facts, lapses_at, f"deadline:{state}")
    return decision


def heeding(
    decision: Verdict, creator_standing: Standing, at: datetime, *, begins: bool = False
) -> Verdict:
    """Let an order learn what its creator's standing means for it, if it has not yet."""
    kind, facts = heed.effect(decision.order, creator_standing, at, begins=begins)
    if not facts:
        return decision
    caused_by = (
        creator_standing.why
        if creator_standing.violation_id
        else f"contract:{decision.order.creator_id}"
    )
    return conclude(decision, kind, facts, at, caused_by)


def wake(order: Order, now: datetime, changes: Iterable[Turn] = ()) -> Verdict:
    """Tell an order that time has passed: end what has lapsed, else remind who is waited for.

    Of several reminders missed only the latest is sent, and none after the deadline.
    """
    decision = elapse(order, now, changes)
    order = decision.order
    due_at = order.due_at
    if order.state is State.IN_ARBITRATION:
        return _ask_for_a_decision(decision, now)
    if due_at is None or now > due_at:
        return decision
    missed_leads = [lead for lead in order.leads_left() if due_at - lead <= now]
    if not missed_leads:
        return decision
    return decision.then(
        [judges.remind(order, due_at, missed_leads[-1])], now, f"reminder:{order.state}"
    )


def _ask_for_a_decision(decision: Verdict, now: datetime) -> Verdict:
    """Tell an operator that nobody has decided, and then at every interval."""
    order = decision.order
    first_alert_at, interval = order.alert_at, order.policy.arbitration_interval
    if first_alert_at is None or now < first_alert_at:
        return decision
    due_at = first_alert_at + (now - first_alert_at) // interval * interval
    fact = _worry(order, Alert.ARBITRATION_OVERDUE, due_at)
    return decision.then([fact], now, f"reminder:{order.state}")


def _worry(order: Order, alert: Alert, due_at: datetime | None = None) -> OperatorAlerted:
    """Tell an operator of an order that waits, and of the money that waits with it."""
    last_holding = order.held[-1]
    return OperatorAlerted(
        alert=alert, payment_id=last_holding.payment_id, amount_fen=order.held_fen, due_at=due_at
    )


def conclude(
    prior: Verdict, kind: str, judgement: Judgement, at: datetime, caused_by: str
) -> Verdict:
    """Fold a judgement, and hold it against the table: the code may not contradict its own map."""
    if isinstance(judgement, Refusal):
        return prior.refuse(judgement.reason, judgement.cost_fen)
    if isinstance(judgement, Reason):
        return prior.refuse(judgement)
    transition = find(prior.order.state, kind)
    decision = prior.then(judgement, at, caused_by)
    if transition is None or decision.order.state not in transition.targets:
        message = f"{kind} took {prior.order.state} to {decision.order.state}: not in the table"
        raise BrokenInvariant(message)
    if decision.order.is_final and decision.order.held:
        message = (
            f"order {decision.order.order_id} ended {decision.order.state} with money still held"
        )
        raise BrokenInvariant(message)
    if decision.order.counted == "unknown_year" and decision.order.state is not prior.order.state:
        # The deadline is counted as it elapses; an operator who knows better may extend it.
        return decision.then([_worry(decision.order, Alert.CALENDAR_UNKNOWN)], at, caused_by)
    return decision


def is_party(command: OrderCommand | OperatorAct, order: Order, agency: str | None) -> bool:
    """Tell whether the asker may speak about this order at all; `agency` is the creator's now."""
    role, requester_id = command.by.role, command.by.id
    if isinstance(command, OperatorAct):
        return role == Role.OPERATOR.value
    if role not in ROLES[command.kind]:
        return False
    provider_id = order.client_provider if command.kind in REVIEWS else order.creator_provider
    party_ids = {Role.CLIENT: order.client_id, Role.CREATOR: order.creator_id}
    return requester_id == (party_ids | {Role.MCN: agency, Role.PROVIDER: provider_id}).get(
        Role(role), requester_id
    )


def hears_only_payments(order: Order, at: datetime) -> bool:
    """Tell whether the order's time is up but for notices of payments made in time."""
    if order.state is State.AWAITING_DEPOSIT and order.due_at is not None:
        return at > order.due_at
    return order.state is State.BALANCE_OVERDUE


def late_or_wrong_state(order: Order, command: OrderCommand, at: datetime) -> Reason:
    """Tell a latecomer from somebody who asks the wrong thing: only time makes late."""
    rows = (find(state, command.kind) for state in order.lapsed)
    missed = any(row is not None and command.by.role in row.roles for row in rows)
    return Reason.LATE if missed or hears_only_payments(order, at) else Reason.WRONG_STATE
