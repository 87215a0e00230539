"""Ledger: double entry. One posting moves one amount from one account to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from models.errors import BrokenInvariant
from models.events.event import Event
from models.events.orders import (
    ForfeitReleased,
    OrderCancelled,
    OrderCompleted,
    OrderForfeited,
    OrderReinstated,
)
from models.events.payments import (
    PaymentApplied,
    PaymentUnapplied,
    PaymentVoided,
    PayoutConfirmed,
    PayoutFailed,
    PayoutReversed,
    RefundConfirmed,
    RefundFailed,
    RefundRequested,
    SuspenseResolved,
)

UNKNOWN_CLIENT = "unknown"
"""To whom a payment is owed when nobody knows whose it is."""

PSP = "psp"
SUSPENSE = "suspense"
FORFEITED_DEPOSITS = "forfeited_deposits"
SERVICE_FEES = "service_fees"
PLATFORM_INCOME = "platform_income"

ACCOUNT_FAMILIES = (
    PSP,
    "escrow",
    SUSPENSE,
    "refunds_payable",
    FORFEITED_DEPOSITS,
    SERVICE_FEES,
    "payable",
    PLATFORM_INCOME,
)
"""Account families: what stands before the colon. Only `psp`, the world outside, goes negative."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One amount, in fen, from one account to another: an unbalanced one cannot be written."""

    source: str
    target: str
    amount_fen: int


LedgerPostings = tuple[Posting, ...]


def escrow_account_of(order_id: str | None) -> str:
    """Name the account that holds one order's money."""
    return f"escrow:{order_id}"


def refunds_payable_account_of(client_id: str) -> str:
    """Name the account of what is owed back to one client."""
    return f"refunds_payable:{client_id}"


def payable_account_of(party: str) -> str:
    """Name the account of what is owed to `creator:<id>` or `mcn:<id>`."""
    return f"payable:{party}"


def postings(event: Event) -> LedgerPostings:
    """Return the money that an event moves."""
    rule = _POSTING_RULES.get(type(event.fact))
    moves = rule(event.order_id, event.fact) if rule else ()
    if any(posting.amount_fen <= 0 for posting in moves):
        message = f"{event.id} would move nothing, or backwards"
        raise BrokenInvariant(message)
    return moves


def balances(moves: Iterable[Posting]) -> dict[str, int]:
    """Add up postings by account, in fen."""
    totals_fen: dict[str, int] = {}
    for posting in moves:
        totals_fen[posting.source] = totals_fen.get(posting.source, 0) - posting.amount_fen
        totals_fen[posting.target] = totals_fen.get(posting.target, 0) + posting.amount_fen
    return totals_fen


def sum_by_family(accounts: dict[str, int]) -> dict[str, int]:
    """Add up accounts by family; every family is named, the empty ones too."""
    totals_fen = dict.fromkeys(ACCOUNT_FAMILIES, 0)
    for account, amount in accounts.items():
        totals_fen[account.partition(":")[0]] += amount
    return totals_fen


def _payment_applied(order_id: str | None, fact: PaymentApplied) -> LedgerPostings:
    source = SUSPENSE if fact.source == "suspense" else PSP
    return (Posting(source, escrow_account_of(order_id), fact.amount_fen),)


def _payment_unapplied(_: str | None, fact: PaymentUnapplied) -> LedgerPostings:
    inbound = Posting(PSP, SUSPENSE, fact.amount_fen)
    if fact.client_id is None:
        return (inbound,)
    return (inbound, Posting(SUSPENSE, refunds_payable_account_of(fact.client_id), fact.amount_fen))


def _refund_requested(order_id: str | None, fact: RefundRequested) -> LedgerPostings:
    # Otherwise it is owed already, since the event that freed it.
    if fact.source != "escrow":
        return ()
    return (
        Posting(
            escrow_account_of(order_id), refunds_payable_account_of(fact.client_id), fact.amount_fen
        ),
    )


def _refund_confirmed(_: str | None, fact: RefundConfirmed) -> LedgerPostings:
    return (Posting(refunds_payable_account_of(fact.client_id), PSP, fact.amount_fen),)


def _refund_failed(_: str | None, fact: RefundFailed) -> LedgerPostings:
    if not fact.came_back:
        return ()
    return (Posting(PSP, refunds_payable_account_of(fact.client_id), fact.amount_fen),)


def _order_forfeited(order_id: str | None, fact: OrderForfeited) -> LedgerPostings:
    return (Posting(escrow_account_of(order_id), FORFEITED_DEPOSITS, fact.amount_fen),)


def _order_reinstated(order_id: str | None, fact: OrderReinstated) -> LedgerPostings:
    return (Posting(FORFEITED_DEPOSITS, escrow_account_of(order_id), fact.amount_fen),)


def _pay_creator_side(
    source: str, agency: tuple[str | None, int], creator: tuple[str, int]
) -> LedgerPostings:
    """Move to the creator's side what is its own, the agency first; nothing is not moved."""
    (mcn_id, agency_fen), (creator_id, creator_fen) = agency, creator
    to_agency = (source, payable_account_of(f"mcn:{mcn_id}"), agency_fen)
    return _nonzero_postings(
        to_agency, (source, payable_account_of(f"creator:{creator_id}"), creator_fen)
    )


def _nonzero_postings(*moves: tuple[str, str, int]) -> LedgerPostings:
    return tuple(Posting(source, target, fen) for source, target, fen in moves if fen)


def _order_completed(order_id: str | None, fact: OrderCompleted) -> LedgerPostings:
    account, agency = escrow_account_of(order_id), (fact.mcn_id, fact.mcn_fen)
    side = _pay_creator_side(account, agency, (fact.creator_id, fact.creator_fen))
    return side + _nonzero_postings((account, SERVICE_FEES, fact.fee_fen))


def _order_cancelled(order_id: str | None, fact: OrderCancelled) -> LedgerPostings:
    if not fact.cost_fen:
        return ()
    account, agency = escrow_account_of(order_id), (fact.mcn_id, fact.mcn_fen)
    side = _pay_creator_side(
        account, agency, (fact.creator_id, fact.creator_part_fen - fact.mcn_fen)
    )
    refund = (account, refunds_payable_account_of(fact.client_id), fact.refund_fen)
    return side + _nonzero_postings((account, SERVICE_FEES, fact.fee_part_fen), refund)


def _forfeit_released(_: str | None, fact: ForfeitReleased) -> LedgerPostings:
    agency = (fact.mcn_id, fact.mcn_fen)
    side = _pay_creator_side(FORFEITED_DEPOSITS, agency, (fact.creator_id, fact.creator_fen))
    refund = (FORFEITED_DEPOSITS, refunds_payable_account_of(fact.client_id), fact.client_fen)
    return (
        _nonzero_postings((FORFEITED_DEPOSITS, PLATFORM_INCOME, fact.platform_fen))
        + side
        + _nonzero_postings(refund)
    )


def _payout_confirmed(_: str | None, fact: PayoutConfirmed) -> LedgerPostings:
    return (Posting(payable_account_of(fact.party), PSP, fact.amount_fen),)


def _payout_failed(_: str | None, fact: PayoutFailed) -> LedgerPostings:
    if not fact.came_back:
        return ()
    return (Posting(PSP, payable_account_of(fact.party), fact.amount_fen),)


def _payout_reversed(_: str | None, fact: PayoutReversed) -> LedgerPostings:
    target = (
        PLATFORM_INCOME if fact.to == "platform" else refunds_payable_account_of(fact.client_id)
    )
    return (Posting(payable_account_of(fact.party), target, fact.amount_fen),)


def _suspense_resolved(_: str | None, fact: SuspenseResolved) -> LedgerPostings:
    # What goes to an order is moved by the event that applies it there.
    if fact.goes_to_order:
        return ()
    account = refunds_payable_account_of(fact.client_id or UNKNOWN_CLIENT)
    return (Posting(SUSPENSE, account, fact.amount_fen),)


def _payment_voided(_: str | None, fact: PaymentVoided) -> LedgerPostings:
    moves: LedgerPostings = ()
    for part in fact.parts:
        if part.client_id is not None:
            account = refunds_payable_account_of(part.client_id)
            moves += (Posting(account, SUSPENSE, part.amount_fen),)
        moves += (Posting(SUSPENSE, PSP, part.amount_fen),)
    return moves


_POSTING_RULES: dict[type, Callable[[str | None, Any], LedgerPostings]] = {
    PaymentApplied: _payment_applied,
    PaymentUnapplied: _payment_unapplied,
    PaymentVoided: _payment_voided,
    RefundRequested: _refund_requested,
    RefundConfirmed: _refund_confirmed,
    OrderForfeited: _order_forfeited,
    OrderReinstated: _order_reinstated,
    OrderCompleted: _order_completed,
    OrderCancelled: _order_cancelled,
    ForfeitReleased: _forfeit_released,
    RefundFailed: _refund_failed,
    PayoutConfirmed: _payout_confirmed,
    PayoutFailed: _payout_failed,
    PayoutReversed: _payout_reversed,
    SuspenseResolved: _suspense_resolved,
}
