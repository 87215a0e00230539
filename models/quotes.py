"""Quotes: taking the task, and moving its price."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models import money
from models.commands import AcceptOrder, OrderCommand, ReviseQuote
from models.events import Fact
from models.judges import Judgement, fund, parties, said_by, wait
from models.lifecycle import State
from models.order import Order
from models.order_events import OrderAccepted, QuoteRestored, QuoteRevised
from models.reasons import Reason


def accept_order(order: Order, command: AcceptOrder, at: datetime) -> Judgement:
    """Let the creator take the task, and move the quote in the same breath if one is given."""
    amount_fen = command.revised_amount_fen or order.original_amount_fen
    revision: tuple[Fact, ...] = ()
    if amount_fen != order.original_amount_fen:
        refusal = _may_not_move(order, amount_fen)
        if refusal is not None:
            return refusal
        revision = (_revised(order, amount_fen),)
    total_fen = money.total(amount_fen, order.policy.service_fee_bps)
    due_fen = total_fen - order.held_fen
    terms = wait(order, State.AWAITING_BALANCE, at) if due_fen else {"due_at": None}
    acceptance = OrderAccepted(
        by=said_by(command),
        amount_fen=amount_fen,
        total_fen=total_fen,
        balance_due_fen=due_fen,
        **terms,
        **parties(order),
    )
    funded = () if due_fen else (fund(order, order.held_fen, at),)
    return (*revision, acceptance, *funded)


def _may_not_move(order: Order, amount_fen: int) -> Reason | None:
    """Say why the creator may not move the quote to `amount_fen`, if so.

    The swing is measured from the original, never from a revision: otherwise two modest steps
    would add up to one that the client was told could not happen.
    """
    if not order.prepay_deposit:
        return Reason.QUOTE_FIXED
    if order.held_fen >= order.total_fen:
        return Reason.ALREADY_PAID
    if order.revisions >= order.policy.quote_revisions:
        return Reason.ALREADY_REVISED
    total_fen = money.total(amount_fen, order.policy.service_fee_bps)
    swing_percent = order.policy.quote_swing_percent
    fits = money.within_swing(amount_fen, order.original_amount_fen, swing_percent)
    # Rounding on tiny totals could otherwise leave nothing, or less, to pay.
    if not fits or not order.deposit_fen < total_fen <= money.MAX_FEN:
        return Reason.OUT_OF_RANGE
    return None


def _revised(order: Order, amount_fen: int) -> QuoteRevised:
    total_fen = money.total(amount_fen, order.policy.service_fee_bps)
    due_fen = total_fen - order.held_fen
    return QuoteRevised(
        amount_fen=amount_fen, total_fen=total_fen, balance_due_fen=due_fen, **parties(order)
    )


def revise_quote(order: Order, command: ReviseQuote, at: datetime) -> Judgement:
    """Let the creator move the price once, within a day of the offer and a swing of the original.

    Asking for the original is not a revision: before one it changes nothing.
    """
    if at > order.accept_by:
        return Reason.LATE
    if "ban" in order.stoppers:
        return Reason.CREATOR_BANNED
    if command.amount_fen == order.original_amount_fen:
        return Reason.ALREADY_REVISED if order.revisions else ()
    refusal = _may_not_move(order, command.amount_fen)
    return refusal or (_revised(order, command.amount_fen),)


def restore_quote(order: Order, _: OrderCommand, __: datetime) -> Judgement:
    """Let the client go back to the original quote, as if it had never moved."""
    if order.amount_fen == order.original_amount_fen:
        return Reason.NOTHING_TO_RESTORE
    total_fen = money.total(order.original_amount_fen, order.policy.service_fee_bps)
    due_fen = total_fen - order.held_fen
    amount_fen = order.original_amount_fen
    return (
        QuoteRestored(
            amount_fen=amount_fen, total_fen=total_fen, balance_due_fen=due_fen, **parties(order)
        ),
    )


COMMANDS: dict[str, Callable[[Order, Any, datetime], Judgement]] = {
    "accept_order": accept_order,
    "revise_quote": revise_quote,
    "restore_quote": restore_quote,
}
"""The judge of each command about the price."""
