"""Told: each event that can happen to an order, as a clause for people to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models.events import notifications
from models.events import orders as order_events
from models.events import payments as payment_events
from models.events.event import Fact
from models.events.parties import OperatorActed
from models.fields import duration_text, instant_text
from ops.told_work import WORK
from ops.wording import counted, fen, said, share, who


def told(fact: Fact) -> str:
    """Say what happened, without saying when, or because of what."""
    return TOLD[type(fact)](fact)


def _placed(fact: order_events.OrderPlaced) -> str:
    first = "a deposit" if fact.prepay_deposit else "all"
    return (
        f"placed with creator {fact.creator_id} at {fen(fact.amount_fen)}, "
        f"{fen(fact.total_fen)} with the fee; {first} of {fen(fact.due_fen)} is due until "
        f"{instant_text(fact.due_at)}"
    )


def _offered(fact: order_events.OrderOffered) -> str:
    return f"offered: creator {fact.creator_id} may answer until {instant_text(fact.due_at)}"


def _accepted(fact: order_events.OrderAccepted) -> str:
    part = f"; of it {share(fact.mcn_share_bps)} goes to agency {fact.mcn_id}"
    agency = part if fact.mcn_share_bps else ""
    balance = "nothing is left to pay"
    if fact.due_at is not None:
        balance = f"{fen(fact.balance_due_fen)} are due until {_due(fact, fact.due_at)}"
    return f"accepted by {fact.by} at {fen(fact.amount_fen)}{agency}; {balance}"


def _due(fact: Any, due_at: datetime) -> str:  # noqa: ANN401 - any fact that arms a deadline
    return instant_text(due_at) + counted(fact.counted)


def _declined(fact: order_events.OrderDeclined) -> str:
    return f"declined by {who(fact.by)} ({fact.reason}){said(fact.note)}"


def _expired(fact: order_events.OrderExpired) -> str:
    explanation = {
        "deposit_not_paid": "nobody had paid",
        "not_accepted": f"creator {fact.creator_id} had not answered",
    }[fact.reason]
    return f"expired: {explanation}"


def _cancelled(fact: order_events.OrderCancelled) -> str:
    head = f"cancelled by {who(fact.by)} ({fact.reason}){said(fact.note)}"
    if not fact.cost_fen:
        refund = (
            f"{fen(fact.refund_fen)}, everything, go back"
            if fact.refund_fen
            else "nothing was held"
        )
        return f"{head}; {refund}"
    return (
        f"{head} at a cost of {fen(fact.cost_fen)}: {fen(fact.creator_part_fen)} to the creator's "
        f"side, {fen(fact.fee_part_fen)} to the platform; {fen(fact.refund_fen)} go back"
    )


def _overdue(fact: order_events.OrderBalanceOverdue) -> str:
    return (
        f"the balance of {fen(fact.balance_due_fen)} had not come; notices of a payment made in "
        f"time count until {instant_text(fact.due_at)}"
    )


def _forfeited(fact: order_events.OrderForfeited) -> str:
    explanation = {
        "balance_not_paid": "the balance was not paid in time",
        "client_cancelled": "the client left after the creator had accepted",
    }[fact.reason]
    return f"the deposit of {fen(fact.amount_fen)} is forfeited: {explanation}"


def _reinstated(fact: order_events.OrderReinstated) -> str:
    explanation = "the balance had been paid in time"
    if fact.due_at is not None:
        explanation = f"the balance may be paid until {instant_text(fact.due_at)}"
    return f"reinstated, the deposit of {fen(fact.amount_fen)} is held again: {explanation}"


def _funded(fact: order_events.OrderFunded) -> str:
    until = (
        "" if fact.due_at is None else f", the first work is wanted until {_due(fact, fact.due_at)}"
    )
    return f"everything is paid, {fen(fact.held_fen)} are held{until}"


def _quoted(fact: order_events.QuoteRevised | order_events.QuoteRestored) -> str:
    direction = "moved" if isinstance(fact, order_events.QuoteRevised) else "back"
    return (
        f"the quote is {direction} to {fen(fact.amount_fen)}, {fen(fact.balance_due_fen)} are due"
    )


def _completed(fact: order_events.OrderCompleted) -> str:
    agency = f"{fen(fact.mcn_fen)} to agency {fact.mcn_id}, " if fact.mcn_fen else ""
    return (
        f"completed and settled: {agency}{fen(fact.creator_fen)} to creator {fact.creator_id}, "
        f"{fen(fact.fee_fen)} to the platform"
    )


def _released(fact: order_events.ForfeitReleased) -> str:
    parts = {
        "the platform": fact.platform_fen,
        f"agency {fact.mcn_id}": fact.mcn_fen,
        f"creator {fact.creator_id}": fact.creator_fen,
        f"client {fact.client_id}": fact.client_fen,
    }
    share_texts = ", ".join(f"{fen(part)} to {payee}" for payee, part in parts.items() if part)
    return f"the forfeited deposit is released by {fact.by}{said(fact.note)}: {share_texts}"


def _applied(fact: payment_events.PaymentApplied) -> str:
    return f"payment {fact.payment_id} of {fen(fact.amount_fen)} is held"


def _unapplied(fact: payment_events.PaymentUnapplied) -> str:
    return f"payment {fact.payment_id} of {fen(fact.amount_fen)} is not used ({fact.reason})"


def _refund(fact: payment_events.RefundRequested) -> str:
    return f"refund {fact.refund_id} of {fen(fact.amount_fen)} is owed to client {fact.client_id}"


def _refunded(fact: payment_events.RefundConfirmed) -> str:
    return f"refund {fact.refund_id} of {fen(fact.amount_fen)} has left"


def _payout(fact: payment_events.PayoutRequested) -> str:
    return f"payout {fact.payout_id} of {fen(fact.amount_fen)} is owed to {fact.party}"


def _paid_out(fact: payment_events.PayoutConfirmed) -> str:
    return f"payout {fact.payout_id} of {fen(fact.amount_fen)} has left"


def _reminded(fact: notifications.CreatorReminded | notifications.ClientReminded) -> str:
    side = "creator" if isinstance(fact, notifications.CreatorReminded) else "client"
    if fact.lead is None:
        return f"{side} {fact.recipient_id} is nudged"
    return f"{side} {fact.recipient_id} is reminded, {duration_text(fact.lead)} ahead"


def _alerted(fact: notifications.OperatorAlerted) -> str:
    return f"an operator is told: {fact.alert}, {fen(fact.amount_fen)} at stake"


def _acted(fact: OperatorActed) -> str:
    return f"done with an operator's power, {fact.act}{said(fact.note)}"


TOLD: dict[type[Fact], Callable[[Any], str]] = {
    order_events.OrderPlaced: _placed,
    order_events.OrderOffered: _offered,
    order_events.OrderAccepted: _accepted,
    order_events.OrderDeclined: _declined,
    order_events.OrderExpired: _expired,
    order_events.OrderCancelled: _cancelled,
    order_events.OrderBalanceOverdue: _overdue,
    order_events.OrderForfeited: _forfeited,
    order_events.OrderReinstated: _reinstated,
    order_events.OrderFunded: _funded,
    order_events.QuoteRevised: _quoted,
    order_events.QuoteRestored: _quoted,
    order_events.OrderCompleted: _completed,
    order_events.ForfeitReleased: _released,
    payment_events.PaymentApplied: _applied,
    payment_events.PaymentUnapplied: _unapplied,
    payment_events.RefundRequested: _refund,
    payment_events.RefundConfirmed: _refunded,
    payment_events.PayoutRequested: _payout,
    payment_events.PayoutConfirmed: _paid_out,
    notifications.CreatorReminded: _reminded,
    notifications.ClientReminded: _reminded,
    notifications.OperatorAlerted: _alerted,
    OperatorActed: _acted,
    **WORK,
}
"""How each event of an order is told."""
