"""Public: the few statuses that people are shown, exactly one for every state.

`finished` and `pending_review` share a state: which of the two depends on whether the client has
rated the completed order.
"""

from __future__ import annotations

from enum import StrEnum

from models.lifecycle import State


class PublicStatus(StrEnum):
    """What a task list says of an order. The names are a storage format."""

    PENDING_PAYMENT = "pending_payment"
    PENDING_ACCEPTANCE = "pending_acceptance"
    IN_PROGRESS = "in_progress"
    PENDING_REVIEW = "pending_review"
    FINISHED = "finished"
    CANCELLED = "cancelled"


P, S = PublicStatus, State

COVERED = {
    P.PENDING_PAYMENT: frozenset({S.AWAITING_DEPOSIT, S.AWAITING_BALANCE, S.BALANCE_OVERDUE}),
    P.PENDING_ACCEPTANCE: frozenset({S.OFFERED}),
    P.IN_PROGRESS: frozenset(
        {
            *(S.IN_FULFILMENT, S.SCRIPT_REVIEW, S.SCRIPT_REVISION, S.PRODUCING),
            *(S.CONTENT_REVIEW, S.READY_TO_PUBLISH, S.PUBLISHED, S.ACCEPTED_DELIVERY),
            S.IN_ARBITRATION,
        }
    ),
    P.PENDING_REVIEW: frozenset({S.COMPLETED}),
    P.FINISHED: frozenset({S.COMPLETED}),
    P.CANCELLED: frozenset({S.EXPIRED, S.DECLINED, S.CANCELLED, S.FORFEITED}),
}
"""The states that each status stands for."""

OPEN = (P.PENDING_PAYMENT, P.PENDING_ACCEPTANCE, P.IN_PROGRESS)
"""The statuses of orders that have not ended."""


def public_status(state: State, *, rated: bool) -> PublicStatus:
    """Say what people are shown of an order in a state; only a completed one can be rated."""
    if state is State.COMPLETED:
        return PublicStatus.FINISHED if rated else PublicStatus.PENDING_REVIEW
    return _BY_STATE[state]


def statuses_of(state: State) -> tuple[PublicStatus, ...]:
    """Return every status that orders in a state may have."""
    return tuple(status for status, states in COVERED.items() if state in states)


_BY_STATE = {state: status for status, states in COVERED.items() for state in states}
