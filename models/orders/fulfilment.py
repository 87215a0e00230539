"""Fulfilment: scripts, contents, publication, acceptance of delivery, and rating."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models.commands.command import OrderCommand
from models.commands.orders import (
    PublishWork,
    RateOrder,
    RejectContent,
    RejectScript,
    SubmitContent,
    SubmitScript,
)
from models.errors import FieldError
from models.events.event import Fact
from models.events.orders import (
    ContentApproved,
    ContentRejected,
    ContentSubmitted,
    DeliveryAccepted,
    OrderRated,
    ScriptApproved,
    ScriptRejected,
    ScriptSubmitted,
    WorkPublished,
)
from models.lifecycle import State
from models.orders.decision import HandlerResult, Refusal, deadline_fields, party_fields
from models.orders.order import Order
from models.policy import Policy
from models.reasons import RejectionReason

SILENCE = "silence"
"""Who approves when nobody says anything in time."""


def submit_script(order: Order, command: SubmitScript, at: datetime) -> HandlerResult:
    """Let the creator's side hand in a script, where one is wanted."""
    if not order.needs_script:
        return RejectionReason.WRONG_STATE
    terms = deadline_fields(order, State.SCRIPT_REVIEW, at) | party_fields(order)
    version, by = order.scripts + 1, command.sender
    submission: dict[str, Any] = {"links": command.links, "note": command.note}
    return (ScriptSubmitted(by=by, version=version, **submission, **terms),)


def submit_content(order: Order, command: SubmitContent, at: datetime) -> HandlerResult:
    """Let the creator's side hand in the work; where a script is wanted, not before that."""
    if order.state is State.IN_FULFILMENT and order.needs_script:
        return RejectionReason.WRONG_STATE
    terms = deadline_fields(order, State.CONTENT_REVIEW, at) | party_fields(order)
    version, by = order.contents + 1, command.sender
    submission: dict[str, Any] = {"links": command.links, "note": command.note}
    return (ContentSubmitted(by=by, version=version, **submission, **terms),)


def approve_script(order: Order, command: OrderCommand, at: datetime) -> HandlerResult:
    """Let the client's side agree to the script."""
    return (script_approved(order, command.sender, at),)


def script_approved(order: Order, by: str, at: datetime) -> Fact:
    """Agree to the script; a broadcast has nothing else to review."""
    next_state = State.READY_TO_PUBLISH if order.is_live else State.PRODUCING
    terms = deadline_fields(order, next_state, at) | party_fields(order)
    return ScriptApproved(by=by, version=order.scripts, **terms)


def reject_script(order: Order, command: RejectScript, at: datetime) -> HandlerResult:
    """Let the client's side want another script, so many times."""
    limit = order.policy.script_rejections
    rejections_left = limit - order.scripts_rejected
    if rejections_left <= 0:
        return Refusal(RejectionReason.NO_REJECTIONS_LEFT, {"limit": limit})
    terms = deadline_fields(order, State.SCRIPT_REVISION, at) | party_fields(order)
    rejection: dict[str, Any] = {"by": command.sender, "comment": command.comment}
    return (
        ScriptRejected(
            version=order.scripts, rejections_left=rejections_left - 1, **rejection, **terms
        ),
    )


def approve_content(order: Order, command: OrderCommand, at: datetime) -> HandlerResult:
    """Let the client's side agree to the work."""
    return (content_approved(order, command.sender, at),)


def content_approved(order: Order, by: str, at: datetime) -> Fact:
    """Agree to the work: it may be published."""
    terms = deadline_fields(order, State.READY_TO_PUBLISH, at) | party_fields(order)
    return ContentApproved(by=by, version=order.contents, **terms)


def reject_content(order: Order, command: RejectContent, at: datetime) -> HandlerResult:
    """Let the client's side want the work done again, so many times."""
    limit = order.policy.content_rejections
    rejections_left = limit - order.contents_rejected
    if rejections_left <= 0:
        return Refusal(RejectionReason.NO_REJECTIONS_LEFT, {"limit": limit})
    terms = deadline_fields(order, State.PRODUCING, at) | party_fields(order)
    rejection: dict[str, Any] = {"by": command.sender, "comment": command.comment}
    return (
        ContentRejected(
            version=order.contents, rejections_left=rejections_left - 1, **rejection, **terms
        ),
    )


def find_publication_error(command: PublishWork, policy: Policy, at: datetime) -> FieldError | None:
    """Say that a publication lies in the future, by more than clocks differ: it is malformed."""
    if command.published_at <= at + policy.paid_at_tolerance:
        return None
    return FieldError("published_at", "an instant that is not in the future is wanted")


def publish_work(order: Order, command: PublishWork, at: datetime) -> HandlerResult:
    """Let the creator's side say where the work is; when it came out is for the record only."""
    terms = deadline_fields(order, State.PUBLISHED, at) | party_fields(order)
    # A clock that is ahead of ours by less than the tolerance; more than that is malformed.
    published_at = min(command.published_at, at)
    publication: dict[str, Any] = {"url": command.url, "published_at": published_at}
    return (WorkPublished(by=command.sender, **publication, **terms),)


def confirm_delivery(order: Order, command: OrderCommand, at: datetime) -> HandlerResult:
    """Let the client's side accept what was published."""
    return (delivery_accepted(order, command.sender, at),)


def delivery_accepted(order: Order, by: str, at: datetime) -> Fact:
    """Accept what was published: it is settled soon."""
    terms = deadline_fields(order, State.ACCEPTED_DELIVERY, at) | party_fields(order)
    return DeliveryAccepted(by=by, **terms)


def rate_order(order: Order, command: RateOrder, _: datetime) -> HandlerResult:
    """Let the client rate a completed order, once."""
    if order.rated:
        return RejectionReason.WRONG_STATE
    rating: dict[str, Any] = {"rating": command.rating, "comment": command.comment}
    return (OrderRated(by=command.sender, **rating, **party_fields(order)),)
