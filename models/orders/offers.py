"""Offers: place an order, accept or decline it, move its quote, nudge the creator."""

from __future__ import annotations

from datetime import datetime

from models import money
from models.commands.command import OrderCommand
from models.commands.orders import AcceptOrder, DeclineOrder, PlaceOrder, ReviseQuote
from models.errors import FieldError
from models.events.event import Fact
from models.events.notifications import CreatorReminded, Limits
from models.events.orders import (
    OrderAccepted,
    OrderDeclined,
    OrderPlaced,
    QuoteRestored,
    QuoteRevised,
)
from models.lifecycle import EndReason, State
from models.orders.decision import (
    HandlerResult,
    Refusal,
    deadline_fields,
    party_fields,
    refund_all_held,
    reminder_fields,
)
from models.orders.order import Order
from models.orders.payments import fund_order
from models.orders.schedules import find_schedule_error
from models.policy import Policy
from models.reasons import RejectionReason


def find_terms_error(command: PlaceOrder, policy: Policy, at: datetime) -> FieldError | None:
    """Say what makes an order impossible whoever asks: such a command is malformed."""
    if money.total(command.amount_fen, policy.service_fee_bps) > money.MAX_FEN:
        return FieldError(
            "amount_fen", "with the service fee it is more than an order can be worth"
        )
    publish_at = command.expected_publish_at
    return None if publish_at is None else find_schedule_error(publish_at, at)


def freeze_terms(command: PlaceOrder, policy: Policy, at: datetime) -> OrderPlaced:
    """Freeze the terms of an order under the policy in force."""
    total_fen = money.total(command.amount_fen, policy.service_fee_bps)
    deposit_fen = money.deposit(total_fen, policy.deposit_bps) if command.prepay_deposit else 0
    return OrderPlaced(
        client_id=command.by.id,
        creator_id=command.creator_id,
        name=command.name,
        task_type=command.task_type,
        industry=command.industry,
        brief=command.brief,
        amount_fen=command.amount_fen,
        total_fen=total_fen,
        deposit_fen=deposit_fen,
        prepay_deposit=command.prepay_deposit,
        due_fen=deposit_fen or total_fen,
        due_at=at + policy.deposit_window,
        policy_version=policy.version,
        expected_publish_at=command.expected_publish_at,
        needs_script=command.needs_script,
    )


def accept_order(order: Order, command: AcceptOrder, at: datetime) -> HandlerResult:
    """Let the creator take the task, and move the quote in the same breath if one is given."""
    amount_fen = command.revised_amount_fen or order.original_amount_fen
    revision: tuple[Fact, ...] = ()
    if amount_fen != order.original_amount_fen:
        refusal = _revision_refusal(order, amount_fen)
        if refusal is not None:
            return refusal
        revision = (_quote_revised(order, amount_fen),)
    total_fen = money.total(amount_fen, order.policy.service_fee_bps)
    due_fen = total_fen - order.held_fen
    terms = deadline_fields(order, State.AWAITING_BALANCE, at) if due_fen else {"due_at": None}
    acceptance = OrderAccepted(
        by=command.sender,
        amount_fen=amount_fen,
        total_fen=total_fen,
        balance_due_fen=due_fen,
        **terms,
        **party_fields(order),
    )
    funded = () if due_fen else (fund_order(order, order.held_fen, at),)
    return (*revision, acceptance, *funded)


def quote_range(order: Order) -> tuple[int, int]:
    """Return the least and the most that a new quote may be, in fen; the original is within."""
    original_fen, bps = order.original_amount_fen, order.policy.service_fee_bps
    min_fen, max_fen = money.swing_range(original_fen, order.policy.quote_swing_percent)
    # Rounding on tiny totals could otherwise leave nothing, or less, to pay.
    while min_fen < original_fen and money.total(min_fen, bps) <= order.deposit_fen:
        min_fen += 1
    return min_fen, min(max_fen, money.largest_amount(bps))


def _revision_refusal(order: Order, amount_fen: int) -> RejectionReason | Refusal | None:
    """Say why the creator may not move the quote to `amount_fen`, if so.

    The swing is measured from the original, never from a revision: otherwise two modest steps
    would add up to one that the client was told could not happen.
    """
    if not order.prepay_deposit:
        return RejectionReason.QUOTE_FIXED
    if order.held_fen >= order.total_fen:
        return RejectionReason.ALREADY_PAID
    if order.revisions >= order.policy.quote_revisions:
        return Refusal(RejectionReason.ALREADY_REVISED, {"amount_fen": order.amount_fen})
    min_fen, max_fen = quote_range(order)
    if not min_fen <= amount_fen <= max_fen:
        limits: Limits = {"min_fen": min_fen, "max_fen": max_fen}
        return Refusal(RejectionReason.OUT_OF_RANGE, limits)
    return None


def _quote_revised(order: Order, amount_fen: int) -> QuoteRevised:
    total_fen = money.total(amount_fen, order.policy.service_fee_bps)
    due_fen = total_fen - order.held_fen
    return QuoteRevised(
        amount_fen=amount_fen, total_fen=total_fen, balance_due_fen=due_fen, **party_fields(order)
    )


def revise_quote(order: Order, command: ReviseQuote, at: datetime) -> HandlerResult:
    """Let the creator move the price once, within a day of the offer and a swing of the original.

    Asking for the original is not a revision: before one it changes nothing.
    """
    if at > order.accept_by:
        return Refusal(RejectionReason.LATE, {"ended_at": order.accept_by})
    if "ban" in order.stoppers:
        return RejectionReason.CREATOR_BANNED
    if command.amount_fen == order.original_amount_fen:
        revised = Refusal(RejectionReason.ALREADY_REVISED, {"amount_fen": order.amount_fen})
        return revised if order.revisions else ()
    refusal = _revision_refusal(order, command.amount_fen)
    return refusal or (_quote_revised(order, command.amount_fen),)


def restore_quote(order: Order, _: OrderCommand, __: datetime) -> HandlerResult:
    """Let the client go back to the original quote, as if it had never moved."""
    if order.amount_fen == order.original_amount_fen:
        return RejectionReason.NOTHING_TO_RESTORE
    total_fen = money.total(order.original_amount_fen, order.policy.service_fee_bps)
    due_fen = total_fen - order.held_fen
    amount_fen = order.original_amount_fen
    return (
        QuoteRestored(
            amount_fen=amount_fen,
            total_fen=total_fen,
            balance_due_fen=due_fen,
            **party_fields(order),
        ),
    )


def decline_order(order: Order, command: DeclineOrder, _: datetime) -> HandlerResult:
    """Let the creator refuse; the client gets everything back."""
    by, reason, note = command.sender, EndReason.CREATOR_DECLINED.value, command.reason
    declined = OrderDeclined(by=by, reason=reason, note=note, **party_fields(order))
    return (declined, *refund_all_held(order))


def nudge_creator(order: Order, _: OrderCommand, at: datetime) -> HandlerResult:
    """Let the client remind a silent creator, not too often and not too many times."""
    policy = order.policy
    if order.nudged_at is not None and at - order.nudged_at < policy.nudge_interval:
        not_before = order.nudged_at + policy.nudge_interval
        return Refusal(RejectionReason.NUDGE_TOO_SOON, {"not_before": not_before})
    if order.nudges >= policy.nudge_limit:
        return Refusal(RejectionReason.NUDGE_LIMIT, {"limit": policy.nudge_limit})
    due_at = order.due_at or at
    return (
        CreatorReminded(
            recipient_id=order.creator_id,
            cause="nudge",
            due_at=due_at,
            lead=None,
            **reminder_fields(order),
        ),
    )
