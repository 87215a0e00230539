"""Lifecycle: the table of who may ask what, while an order is where, and what it may become.

Everything else is drawn from this table: the handlers are checked against it at run time, and the
diagram, the decision table and the exhaustive refusal tests are generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """Where an order can be. The names are a storage format."""

    AWAITING_DEPOSIT = "awaiting_deposit"
    OFFERED = "offered"
    AWAITING_BALANCE = "awaiting_balance"
    BALANCE_OVERDUE = "balance_overdue"
    IN_FULFILMENT = "in_fulfilment"
    SCRIPT_REVIEW = "script_review"
    SCRIPT_REVISION = "script_revision"
    PRODUCING = "producing"
    CONTENT_REVIEW = "content_review"
    READY_TO_PUBLISH = "ready_to_publish"
    PUBLISHED = "published"
    ACCEPTED_DELIVERY = "accepted_delivery"
    IN_ARBITRATION = "in_arbitration"
    EXPIRED = "expired"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    FORFEITED = "forfeited"
    COMPLETED = "completed"


class EndReason(StrEnum):
    """Why an order ended. The names are a storage format."""

    DEPOSIT_NOT_PAID = "deposit_not_paid"
    NOT_ACCEPTED = "not_accepted"
    CREATOR_DECLINED = "creator_declined"
    CREATOR_BANNED = "creator_banned"
    CREATOR_LEFT = "creator_left"
    CLIENT_CANCELLED = "client_cancelled"
    OPERATOR_CANCELLED = "operator_cancelled"
    CREATOR_WITHDREW = "creator_withdrew"
    NO_WORK = "no_work"
    ARBITRATED = "arbitrated"
    BALANCE_NOT_PAID = "balance_not_paid"
    SETTLED = "settled"


class DisputeReason(StrEnum):
    """Why an order is in arbitration. The names are a storage format."""

    SCRIPT_OVERDUE = "script_overdue"
    CONTENT_OVERDUE = "content_overdue"
    NOT_PUBLISHED = "not_published"
    DISPUTED = "disputed"
    CREATOR_BANNED = "creator_banned"


class DebtStatus(StrEnum):
    """How far a refund or a payout is. The names are a storage format."""

    REQUESTED = "requested"
    FAILED = "failed"
    CONFIRMED = "confirmed"
    VOIDED = "voided"
    REVERSED = "reversed"


class Role(StrEnum):
    """Who asks. The clock is nobody that a sender can be."""

    CLIENT = "client"
    CREATOR = "creator"
    MCN = "mcn"
    OPERATOR = "operator"
    PAYMENTS = "payments"
    PLATFORM = "platform"
    PROVIDER = "provider"
    CLOCK = "clock"


class PublicStatus(StrEnum):
    """What a task list says of an order. The names are a storage format."""

    PENDING_PAYMENT = "pending_payment"
    PENDING_ACCEPTANCE = "pending_acceptance"
    IN_PROGRESS = "in_progress"
    PENDING_REVIEW = "pending_review"
    FINISHED = "finished"
    CANCELLED = "cancelled"


PausedBy = Literal["operator", "ban"]
"""Who can stop an order's clock: it runs again when nobody does."""

# Short names, for the table only: written out, few rows would fit into one line.
S, R = State, Role

FINAL_STATES = frozenset({S.EXPIRED, S.DECLINED, S.CANCELLED, S.FORFEITED, S.COMPLETED})
"""States in which an order has ended and nothing is held in escrow for it.

Only `forfeited` is ever left again: by a payment that was made in time, or by an operator.
"""

STATES_WITH_REASON = frozenset({*FINAL_STATES, S.IN_ARBITRATION})
"""States that an order is in for a reason of its own."""

OWED_STATUSES = frozenset({DebtStatus.REQUESTED, DebtStatus.FAILED})
"""While the money is owed and has not left; a payout that is held is owed all the same."""

ENDED_STATUSES = frozenset({DebtStatus.VOIDED, DebtStatus.REVERSED})
"""Ends of a refund or payout whose money is never to leave."""

END_REASONS: dict[State, tuple[EndReason, ...]] = {
    S.EXPIRED: (EndReason.DEPOSIT_NOT_PAID, EndReason.NOT_ACCEPTED),
    S.DECLINED: (EndReason.CREATOR_DECLINED, EndReason.CREATOR_BANNED, EndReason.CREATOR_LEFT),
    S.CANCELLED: (
        EndReason.CLIENT_CANCELLED,
        EndReason.OPERATOR_CANCELLED,
        EndReason.CREATOR_WITHDREW,
        EndReason.CREATOR_BANNED,
        EndReason.CREATOR_LEFT,
        EndReason.NO_WORK,
        EndReason.ARBITRATED,
    ),
    S.FORFEITED: (EndReason.BALANCE_NOT_PAID, EndReason.CLIENT_CANCELLED),
    S.COMPLETED: (EndReason.SETTLED,),
}
"""Every reason with which an order can end, by final state."""

ENFORCE_DEADLINE = "enforce_deadline"
BEGIN_GRACE = "begin_grace"
END_PAUSE = "end_pause"
BAN = "ban"
BAN_FOR_GOOD = "ban_for_good"
LIFT_BAN = "lift_ban"
CONTRACT_ENDED = "contract_ended"

SYSTEM_REQUESTS = (
    *(ENFORCE_DEADLINE, BEGIN_GRACE, END_PAUSE),
    *(BAN, BAN_FOR_GOOD, LIFT_BAN, CONTRACT_ENDED),
)
"""What time, a ban or an ended contract does to an order, without anybody asking for it.

No command of these kinds exists, so no sender can make such a request.
"""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: while `source`, any of `roles` may ask `command`, and the order becomes a target."""

    source: State
    command: str
    roles: frozenset[Role]
    targets: frozenset[State]


def row(source: State, command: str, roles: set[Role], *targets: State) -> Transition:
    """Write one row of the table."""
    return Transition(source, command, frozenset(roles), frozenset(targets))


CLIENT = {R.CLIENT}
CREATOR_SIDE = {R.CREATOR, R.MCN}
EITHER_SIDE = CLIENT | CREATOR_SIDE
OPERATOR = {R.OPERATOR}
PAYMENTS = {R.PAYMENTS}
CLOCK = {R.CLOCK}

# A service provider whom a side has appointed may do that side's part of the work.
CLIENT_TEAM = CLIENT | {R.PROVIDER}

CREATOR_TEAM = CREATOR_SIDE | {R.PROVIDER}

REVIEW_COMMANDS = frozenset(
    {"approve_script", "reject_script", "approve_content", "reject_content", "confirm_delivery"}
)
"""What a service provider may ask for the client; all else that one may ask is for the creator."""

STATES_BEFORE_PUBLICATION = (
    S.SCRIPT_REVIEW,
    S.SCRIPT_REVISION,
    S.PRODUCING,
    S.CONTENT_REVIEW,
    S.READY_TO_PUBLISH,
)
"""Where work has begun and nothing is out yet: to walk away has its price."""

ADJUSTABLE_STATES = (
    S.AWAITING_DEPOSIT,
    S.OFFERED,
    S.AWAITING_BALANCE,
    S.IN_FULFILMENT,
    *STATES_BEFORE_PUBLICATION,
    S.PUBLISHED,
    S.ACCEPTED_DELIVERY,
)
"""States whose clock an operator may move or stop: all that lapse but `balance_overdue`.

That one is no wait for anybody, only the grace in which notices of payments may still come.
"""

RESCHEDULABLE_STATES = (S.AWAITING_BALANCE, S.IN_FULFILMENT, *STATES_BEFORE_PUBLICATION)
"""States in which the day of the publication may still be moved: accepted, and nothing is out."""

STATES_AFTER_PUBLICATION = (S.PUBLISHED, S.ACCEPTED_DELIVERY)
"""Where the work is out: whoever is not content disputes, and the operator alone decides."""

WAYS_OUT = frozenset({"cancel_order", "withdraw_order"})
"""How either side walks away; not from a dispute about a work that is out."""

CORE_TRANSITIONS = (
    # while it is           may ask             who         and it becomes
    row(S.AWAITING_DEPOSIT, "confirm_payment", PAYMENTS, S.AWAITING_DEPOSIT, S.OFFERED),
    row(S.AWAITING_DEPOSIT, "cancel_order", CLIENT | OPERATOR, S.CANCELLED),
    # The payment side has the grace to ask its provider.
    row(S.AWAITING_DEPOSIT, BEGIN_GRACE, CLOCK, S.AWAITING_DEPOSIT),
    row(S.AWAITING_DEPOSIT, ENFORCE_DEADLINE, CLOCK, S.EXPIRED),
    row(S.AWAITING_DEPOSIT, BAN, CLOCK, S.CANCELLED),
    row(S.AWAITING_DEPOSIT, BAN_FOR_GOOD, CLOCK, S.CANCELLED),
    row(S.AWAITING_DEPOSIT, CONTRACT_ENDED, CLOCK, S.CANCELLED),
    row(S.OFFERED, "accept_order", CREATOR_SIDE, S.AWAITING_BALANCE, S.IN_FULFILMENT),
    row(S.OFFERED, "decline_order", CREATOR_SIDE, S.DECLINED),
    row(S.OFFERED, "cancel_order", CLIENT | OPERATOR, S.CANCELLED),
    row(S.OFFERED, "nudge_creator", CLIENT, S.OFFERED),
    row(S.OFFERED, "confirm_payment", PAYMENTS, S.OFFERED),
    row(S.OFFERED, ENFORCE_DEADLINE, CLOCK, S.EXPIRED),
    row(S.OFFERED, BAN, CLOCK, S.DECLINED),
    row(S.OFFERED, BAN_FOR_GOOD, CLOCK, S.DECLINED),
    row(S.OFFERED, CONTRACT_ENDED, CLOCK, S.DECLINED),
    row(S.AWAITING_BALANCE, "confirm_payment", PAYMENTS, S.AWAITING_BALANCE, S.IN_FULFILMENT),
    row(S.AWAITING_BALANCE, "revise_quote", CREATOR_SIDE, S.AWAITING_BALANCE),
    row(S.AWAITING_BALANCE, "restore_quote", CLIENT, S.AWAITING_BALANCE),
    row(S.AWAITING_BALANCE, "cancel_order", CLIENT | OPERATOR, S.FORFEITED, S.CANCELLED),
    row(S.AWAITING_BALANCE, "withdraw_order", CREATOR_SIDE, S.CANCELLED),
    row(S.AWAITING_BALANCE, ENFORCE_DEADLINE, CLOCK, S.BALANCE_OVERDUE),
    row(S.AWAITING_BALANCE, BAN, CLOCK, S.AWAITING_BALANCE),
    row(S.AWAITING_BALANCE, LIFT_BAN, CLOCK, S.AWAITING_BALANCE),
    row(S.AWAITING_BALANCE, BAN_FOR_GOOD, CLOCK, S.CANCELLED),
    row(S.BALANCE_OVERDUE, "confirm_payment", PAYMENTS, S.BALANCE_OVERDUE, S.IN_FULFILMENT),
    row(S.BALANCE_OVERDUE, "confirm_unpaid", PAYMENTS, S.FORFEITED),
    row(S.BALANCE_OVERDUE, ENFORCE_DEADLINE, CLOCK, S.FORFEITED),
    row(S.IN_FULFILMENT, "submit_script", CREATOR_TEAM, S.SCRIPT_REVIEW),
    row(S.IN_FULFILMENT, "submit_content", CREATOR_TEAM, S.CONTENT_REVIEW),
    row(S.IN_FULFILMENT, "cancel_order", CLIENT | OPERATOR, S.CANCELLED),
    row(S.IN_FULFILMENT, "withdraw_order", CREATOR_SIDE, S.CANCELLED),
    row(S.IN_FULFILMENT, ENFORCE_DEADLINE, CLOCK, S.CANCELLED),
    row(S.IN_FULFILMENT, BAN_FOR_GOOD, CLOCK, S.CANCELLED),
    row(S.SCRIPT_REVIEW, "approve_script", CLIENT_TEAM, S.PRODUCING, S.READY_TO_PUBLISH),
    row(S.SCRIPT_REVIEW, "reject_script", CLIENT_TEAM, S.SCRIPT_REVISION),
    # Silence approves.
    row(S.SCRIPT_REVIEW, ENFORCE_DEADLINE, CLOCK, S.PRODUCING, S.READY_TO_PUBLISH),
    row(S.SCRIPT_REVISION, "submit_script", CREATOR_TEAM, S.SCRIPT_REVIEW),
    row(S.SCRIPT_REVISION, ENFORCE_DEADLINE, CLOCK, S.IN_ARBITRATION),
    row(S.PRODUCING, "submit_content", CREATOR_TEAM, S.CONTENT_REVIEW),
    row(S.PRODUCING, ENFORCE_DEADLINE, CLOCK, S.IN_ARBITRATION),
    row(S.CONTENT_REVIEW, "approve_content", CLIENT_TEAM, S.READY_TO_PUBLISH),
    row(S.CONTENT_REVIEW, "reject_content", CLIENT_TEAM, S.PRODUCING),
    row(S.CONTENT_REVIEW, ENFORCE_DEADLINE, CLOCK, S.READY_TO_PUBLISH),
    row(S.READY_TO_PUBLISH, "publish_work", CREATOR_TEAM, S.PUBLISHED),
    row(S.READY_TO_PUBLISH, ENFORCE_DEADLINE, CLOCK, S.IN_ARBITRATION),
    *(row(state, "cancel_order", CLIENT, S.CANCELLED) for state in STATES_BEFORE_PUBLICATION),
    *(
        row(state, "withdraw_order", CREATOR_SIDE, S.CANCELLED)
        for state in STATES_BEFORE_PUBLICATION
    ),
    *(
        row(state, "dispute_order", EITHER_SIDE, S.IN_ARBITRATION)
        for state in STATES_BEFORE_PUBLICATION
    ),
    *(row(state, BAN_FOR_GOOD, CLOCK, S.IN_ARBITRATION) for state in STATES_BEFORE_PUBLICATION),
    row(S.PUBLISHED, "confirm_delivery", CLIENT_TEAM, S.ACCEPTED_DELIVERY),
    row(S.PUBLISHED, "dispute_order", EITHER_SIDE, S.IN_ARBITRATION),
    row(S.PUBLISHED, ENFORCE_DEADLINE, CLOCK, S.ACCEPTED_DELIVERY),
    row(S.ACCEPTED_DELIVERY, "dispute_order", EITHER_SIDE, S.IN_ARBITRATION),
    row(S.ACCEPTED_DELIVERY, ENFORCE_DEADLINE, CLOCK, S.COMPLETED),
    row(
        S.IN_ARBITRATION,
        "resolve_dispute",
        OPERATOR,
        *(*STATES_BEFORE_PUBLICATION, S.PUBLISHED, S.ACCEPTED_DELIVERY, S.CANCELLED),
    ),
    row(S.IN_ARBITRATION, "cancel_order", CLIENT, S.CANCELLED),
    row(S.IN_ARBITRATION, "withdraw_order", CREATOR_SIDE, S.CANCELLED),
    # A payment made in time whose notice came after the forfeiture reinstates the order.
    row(S.FORFEITED, "confirm_payment", PAYMENTS, S.FORFEITED, S.IN_FULFILMENT),
    row(S.FORFEITED, "reinstate_order", OPERATOR, S.AWAITING_BALANCE),
    row(S.FORFEITED, "release_forfeit", OPERATOR, S.FORFEITED),
    row(S.COMPLETED, "rate_order", CLIENT, S.COMPLETED),
)

# Money that arrives when nothing is due is a fact too: recorded, and sent back.
_STATES_TAKING_PAYMENT = {
    transition.source for transition in CORE_TRANSITIONS if transition.command == "confirm_payment"
}

_OPEN_STATES = tuple(state for state in S if state not in FINAL_STATES)

TRANSITIONS = (
    *CORE_TRANSITIONS,
    *(
        row(state, "confirm_payment", PAYMENTS, state)
        for state in S
        if state not in _STATES_TAKING_PAYMENT
    ),
    *(row(state, "extend_deadline", OPERATOR, state) for state in ADJUSTABLE_STATES),
    *(row(state, "pause_clock", OPERATOR, state) for state in ADJUSTABLE_STATES),
    *(row(state, "resume_clock", OPERATOR, state) for state in ADJUSTABLE_STATES),
    *(row(state, END_PAUSE, CLOCK, state) for state in ADJUSTABLE_STATES),
    *(row(state, "appoint_provider", EITHER_SIDE, state) for state in _OPEN_STATES),
    *(row(state, "propose_schedule", EITHER_SIDE, state) for state in RESCHEDULABLE_STATES),
    *(row(state, "agree_schedule", EITHER_SIDE, state) for state in RESCHEDULABLE_STATES),
    *(row(state, "reschedule_order", OPERATOR, state) for state in RESCHEDULABLE_STATES),
)

WAITING_STATES = frozenset(
    transition.source for transition in TRANSITIONS if transition.command == ENFORCE_DEADLINE
)
"""A state waits for somebody exactly when the clock may end the wait."""

STATES_BY_COMMAND = {
    command: frozenset(
        transition.source for transition in TRANSITIONS if transition.command == command
    )
    for command in {transition.command for transition in TRANSITIONS}
}
"""The states a command is meant for: if time ended one of them, the command is `late`."""

ROLES_BY_COMMAND = {
    command: frozenset[Role]().union(
        *(transition.roles for transition in TRANSITIONS if transition.command == command)
    )
    for command in {transition.command for transition in TRANSITIONS}
}
"""Who may ever ask a command about an order, whatever its state."""


def find_transition(source: State, command: str) -> Transition | None:
    """Return the row for a command in a state, or None where the table has none."""
    return _TRANSITION_BY_STATE_AND_COMMAND.get((source, command))


_TRANSITION_BY_STATE_AND_COMMAND = {
    (transition.source, transition.command): transition for transition in TRANSITIONS
}
