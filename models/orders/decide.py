"""Decide: handle one command for one order: time first, then who asks, then what is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from models.commands.command import OrderCommand
from models.commands.operators import OperatorAct
from models.creators import FREE, Creator, Standing, Turn
from models.lifecycle import END_PAUSE, ENFORCE_DEADLINE, REVIEWS, ROLES, Role, State, find
from models.orders import disputes, endings, fulfilment, offers, operator_actions, timeouts
from models.orders.decision import Judgement, Verdict, _worry, conclude
from models.orders.order import Order
from models.reasons import Alert, Reason


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
    order_command = (
        operator_actions.lent(command, order) if isinstance(command, OperatorAct) else command
    )
    if unknown is not None:
        return elapsed.refuse(unknown)
    if not _is_heard(order, order_command, at) or (order_command is not command and order.is_final):
        return elapsed.refuse(late_or_wrong_state(order, order_command, at))
    judgement = JUDGES[order_command.kind](order, order_command, at)
    caused_by = f"command:{command.id}"
    decision = conclude(
        elapsed,
        order_command.kind,
        operator_actions.signed(judgement, command, creator),
        at,
        caused_by,
    )
    if decision.reason is not None:
        return decision
    decision = decision.then(operator_actions.trail(command, order, decision.order), at, caused_by)
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
        facts = timeouts.enforce(decision.order, lapses_at)
        kind = END_PAUSE if paused else ENFORCE_DEADLINE
        decision = conclude(decision, kind, facts, lapses_at, f"deadline:{state}")
    return decision


def heeding(
    decision: Verdict, creator_standing: Standing, at: datetime, *, begins: bool = False
) -> Verdict:
    """Let an order learn what its creator's standing means for it, if it has not yet."""
    kind, facts = timeouts.effect(decision.order, creator_standing, at, begins=begins)
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
        [timeouts.remind(order, due_at, missed_leads[-1])], now, f"reminder:{order.state}"
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


JUDGES: dict[str, Callable[[Order, Any, datetime], Judgement]] = {
    "accept_order": offers.accept_order,
    "decline_order": offers.decline_order,
    "nudge_creator": offers.nudge_creator,
    "revise_quote": offers.revise_quote,
    "restore_quote": offers.restore_quote,
    "cancel_order": endings.cancel_order,
    "withdraw_order": endings.withdraw_order,
    "confirm_unpaid": endings.confirm_unpaid,
    "submit_script": fulfilment.submit_script,
    "approve_script": fulfilment.approve_script,
    "reject_script": fulfilment.reject_script,
    "submit_content": fulfilment.submit_content,
    "approve_content": fulfilment.approve_content,
    "reject_content": fulfilment.reject_content,
    "publish_work": fulfilment.publish_work,
    "confirm_delivery": fulfilment.confirm_delivery,
    "rate_order": fulfilment.rate_order,
    "dispute_order": disputes.dispute_order,
    "resolve_dispute": disputes.resolve_dispute,
    "extend_deadline": operator_actions.extend_deadline,
    "pause_clock": operator_actions.pause_clock,
    "resume_clock": operator_actions.resume_clock,
    "reinstate_order": operator_actions.reinstate_order,
    "release_forfeit": operator_actions.release_forfeit,
    "appoint_provider": operator_actions.appoint_provider,
}
"""The handler of each command about one order; `confirm_payment` is handled share by share."""
