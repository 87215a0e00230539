"""Decide: handle one command for one order: time first, then who asks, then what is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from models.commands.command import OrderCommand
from models.commands.operators import ON_BEHALF_KINDS, OperatorAct
from models.creators import UNRESTRICTED, Creator, Standing, StandingChange
from models.events.notifications import Limits
from models.lifecycle import (
    REVIEW_COMMANDS,
    ROLES_BY_COMMAND,
    STATES_AFTER_PUBLICATION,
    WAYS_OUT,
    Role,
    State,
    find_transition,
)
from models.orders import (
    disputes,
    endings,
    fulfilment,
    offers,
    operator_actions,
    schedules,
    timeouts,
)
from models.orders.decision import Decision, HandlerResult, alert_operator, conclude
from models.orders.order import Order
from models.reasons import Alert, RejectionReason


def decide(
    order: Order,
    command: OrderCommand | OperatorAct,
    at: datetime,
    creator: Creator | None,
    unknown_party: RejectionReason | None = None,
) -> Decision:
    """Decide one command received at `at`: what happens to the order, or why it is refused.

    `creator` is the order's, as of then. `unknown_party` is the refusal due if the command names
    a party that nobody knows; it comes after `not_allowed`, and before `late` and `wrong_state`.

    Time is enforced before anyone is heard, so a slow, doubled or dead scheduler changes nobody's
    rights: it only changes how soon the order learns of its fate.
    """
    changes = creator.standing_changes(order.creator_sequence, at) if creator else ()
    elapsed = elapse(order, at, changes)
    order = elapsed.order
    if not is_authorized(command, order, creator.agency if creator else None):
        return elapsed.refuse(RejectionReason.NOT_ALLOWED)
    order_command = (
        operator_actions.on_behalf_of(command, order)
        if isinstance(command, OperatorAct)
        else command
    )
    if unknown_party is not None:
        return elapsed.refuse(unknown_party)
    if not is_permitted(order, order_command.kind, order_command.by.role, at) or (
        order_command is not command and order.is_final
    ):
        reason = late_or_wrong_state(order, order_command, at)
        return elapsed.refuse(reason, state_limits(order, command, order_command, reason, at))
    result = HANDLERS[order_command.kind](order, order_command, at)
    caused_by = f"command:{command.key}"
    decision = conclude(
        elapsed,
        order_command.kind,
        operator_actions.attribute_facts(result, command, creator),
        at,
        caused_by,
    )
    if decision.reason in (RejectionReason.LATE, RejectionReason.WRONG_STATE):
        limits = state_limits(order, command, order_command, decision.reason, at)
        return replace(decision, limits=limits | (decision.limits or {}))
    if decision.reason is not None:
        return decision
    decision = decision.then(
        operator_actions.make_audit_entry(command, order, decision.order), at, caused_by
    )
    return apply_standing(decision, creator.standing_at(at) if creator else UNRESTRICTED, at)


def elapse(order: Order, until: datetime, changes: Iterable[StandingChange] = ()) -> Decision:
    """Let every deadline before `until` take effect, each at its own instant.

    On time means at or before a deadline, so a state ends only when `until` is later. `changes` are
    those in its creator's standing that hold at `until`; they take effect in between, each at its
    own instant too, however long ago they were written down of the creator.
    """
    decision = Decision(order)
    for change in changes:
        decision = _learn(_enforce_deadlines(decision, change.at), change)
    return _enforce_deadlines(decision, until)


def _learn(decision: Decision, change: StandingChange) -> Decision:
    """Let an order learn of a change in its creator's standing, once."""
    order = decision.order
    if not order.has_learned(change):
        # What somebody received later has moved already learns of it where it is now.
        at = max(change.at, order.entered_at)
        decision = apply_standing(decision, change.standing, at, begins=change.begins)
    return replace(decision, order=decision.order.after_learning(change))


def _enforce_deadlines(decision: Decision, until: datetime) -> Decision:
    while (at := decision.order.next_timeout_at) is not None and until > at:
        kind, facts = timeouts.find_timeout_effect(decision.order, at)
        caused_by = f"deadline:{decision.order.state}"
        decision = conclude(decision, kind, facts, at, caused_by)
    return decision


def apply_standing(
    decision: Decision, standing: Standing, at: datetime, *, begins: bool = False
) -> Decision:
    """Let an order learn what its creator's standing means for it, if it has not yet."""
    kind, facts = timeouts.find_standing_effect(decision.order, standing, at, begins=begins)
    if not facts:
        return decision
    caused_by = (
        standing.caused_by if standing.violation_id else f"contract:{decision.order.creator_id}"
    )
    return conclude(decision, kind, facts, at, caused_by)


def is_authorized(command: OrderCommand | OperatorAct, order: Order, agency: str | None) -> bool:
    """Tell whether the sender may ask this about this order; `agency` is the creator's now."""
    role, sender_id = Role(command.by.role), command.by.id
    if isinstance(command, OperatorAct):
        return role is Role.OPERATOR
    if role not in ROLES_BY_COMMAND[command.kind]:
        return False
    match role:
        case Role.CLIENT:
            return sender_id == order.client_id
        case Role.CREATOR:
            return sender_id == order.creator_id
        case Role.MCN:
            return sender_id == agency
        case Role.PROVIDER if command.kind in REVIEW_COMMANDS:
            return sender_id == order.client_provider
        case Role.PROVIDER:
            return sender_id == order.creator_provider
        case Role.OPERATOR | Role.PAYMENTS:
            # They are no party to an order: any of them may speak.
            return True
        case _:
            return False


def is_permitted(order: Order, kind: str, role: str, at: datetime) -> bool:
    """Tell whether the table lists a command here, and time is not up for all but payments.

    From a dispute about a work that is out nobody walks away, or there was a way round it.
    """
    if accepts_only_payments(order, at) and kind not in ALLOWED_WHILE_ONLY_PAYMENTS:
        return False
    if kind in WAYS_OUT and order.came_from in STATES_AFTER_PUBLICATION:
        return False
    transition = find_transition(order.state, kind)
    return transition is not None and role in transition.roles


ALLOWED_WHILE_ONLY_PAYMENTS = frozenset({"confirm_payment", "confirm_unpaid", "appoint_provider"})
"""The commands accepted while only payments can change an order's fate."""


def state_limits(
    order: Order,
    command: OrderCommand | OperatorAct,
    order_command: OrderCommand,
    reason: RejectionReason,
    at: datetime,
) -> Limits:
    """Say where an order is that has no use for a command, and what its sender may ask instead.

    Of an operator who acts for a side, that is what may be asked in its stead. Of a late command it
    is also said when time ended what that was meant for.
    """
    allowed = _commands_open_to(order, order_command.by.role, at) - {order_command.kind}
    if order_command is not command:
        allowed &= set() if order.is_final else ON_BEHALF_KINDS
    elif command.by.role == Role.PROVIDER.value:
        for_client = command.kind in REVIEW_COMMANDS
        allowed = {kind for kind in allowed if (kind in REVIEW_COMMANDS) is for_client}
    limits: Limits = {"state": order.state.value, "allowed": sorted(allowed)}
    ended_at = _missed_at(order, order_command) if reason is RejectionReason.LATE else None
    return limits if ended_at is None else limits | {"ended_at": ended_at}


def late_share_limits(order: Order, role: str, at: datetime) -> Limits:
    """Say where an order is for which money came too late, what may be asked, and since when."""
    allowed = sorted(_commands_open_to(order, role, at))
    return {"state": order.state.value, "allowed": allowed, "ended_at": order.pay_by}


def _commands_open_to(order: Order, role: str, at: datetime) -> set[str]:
    """Name what a role may ask now: what the table lists, and an operator in a side's stead."""
    acts_for_sides = role == Role.OPERATOR.value and not order.is_final
    return {*allowed_commands(order, role, at), *(["operator_act"] if acts_for_sides else [])}


def allowed_commands(order: Order, role: str, at: datetime) -> list[str]:
    """List what the table lets a role ask about an order now."""
    return [kind for kind in ROLES_BY_COMMAND if is_permitted(order, kind, role, at)]


def _missed_at(order: Order, command: OrderCommand) -> datetime | None:
    """Return when time ended what a command was meant for, None if that was not noted."""
    if order.state is State.AWAITING_DEPOSIT:
        return order.due_at
    missed = [state for state in order.lapsed if _is_meant_for(command, state)]
    if not missed:
        # While only payments are heard, whatever else is asked comes too late for it.
        return order.entered_at
    return order.lapse_instants().get(missed[-1])


def _is_meant_for(command: OrderCommand, state: State) -> bool:
    transition = find_transition(state, command.kind)
    return transition is not None and command.by.role in transition.roles


def accepts_only_payments(order: Order, at: datetime) -> bool:
    """Tell whether the order's time is up but for notices of payments made in time."""
    if order.state is State.AWAITING_DEPOSIT and order.due_at is not None:
        return at > order.due_at
    return order.state is State.BALANCE_OVERDUE


def late_or_wrong_state(order: Order, command: OrderCommand, at: datetime) -> RejectionReason:
    """Tell a latecomer from somebody who asks the wrong thing: only time makes late."""
    missed = any(_is_meant_for(command, state) for state in order.lapsed)
    return (
        RejectionReason.LATE
        if missed or accepts_only_payments(order, at)
        else RejectionReason.WRONG_STATE
    )


def wake(order: Order, now: datetime, changes: Iterable[StandingChange] = ()) -> Decision:
    """Tell an order that time has passed: end what has lapsed, else remind who is waited for.

    Of several reminders missed only the latest is sent, and none after the deadline.
    """
    decision = elapse(order, now, changes)
    order = decision.order
    due_at = order.due_at
    if order.state is State.IN_ARBITRATION:
        return _alert_arbitration_overdue(decision, now)
    if due_at is None or now > due_at:
        return decision
    missed_leads = [lead for lead in order.remaining_reminder_leads() if due_at - lead <= now]
    if not missed_leads:
        return decision
    return decision.then(
        [timeouts.remind(order, due_at, missed_leads[-1])], now, f"reminder:{order.state}"
    )


def _alert_arbitration_overdue(decision: Decision, now: datetime) -> Decision:
    """Tell an operator that nobody has decided, and then at every interval."""
    order = decision.order
    first_alert_at, interval = order.alert_at, order.policy.arbitration_interval
    if first_alert_at is None or now < first_alert_at:
        return decision
    due_at = first_alert_at + (now - first_alert_at) // interval * interval
    fact = alert_operator(order, Alert.ARBITRATION_OVERDUE, due_at)
    return decision.then([fact], now, f"reminder:{order.state}")


HANDLERS: dict[str, Callable[[Order, Any, datetime], HandlerResult]] = {
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
    "propose_schedule": schedules.propose_schedule,
    "agree_schedule": schedules.agree_schedule,
    "reschedule_order": schedules.reschedule_order,
    "reinstate_order": operator_actions.reinstate_order,
    "release_forfeit": operator_actions.release_forfeit,
    "appoint_provider": operator_actions.appoint_provider,
}
"""The handler of each command about one order; `confirm_payment` is handled share by share."""
