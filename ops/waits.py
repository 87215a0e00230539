"""Waits: whom an order waits for, and for what, in the words that every page uses."""

from __future__ import annotations

from models.lifecycle import State

WAITS_FOR = {
    State.AWAITING_DEPOSIT: "the client to pay",
    State.OFFERED: "the creator to accept or decline",
    State.AWAITING_BALANCE: "the client to pay the balance",
    State.BALANCE_OVERDUE: "notices of a balance paid in time",
    State.IN_FULFILMENT: "the creator to hand in the first work",
    State.SCRIPT_REVIEW: "the client to approve the script or send it back",
    State.SCRIPT_REVISION: "the creator to hand in another script",
    State.PRODUCING: "the creator to hand in the content",
    State.CONTENT_REVIEW: "the client to approve the content or send it back",
    State.READY_TO_PUBLISH: "the creator to publish",
    State.PUBLISHED: "the client to confirm delivery, or to dispute it",
    State.ACCEPTED_DELIVERY: "settlement, unless somebody disputes",
    State.IN_ARBITRATION: "an operator to resolve the dispute",
}
"""What ends the wait in every state that is not final."""
