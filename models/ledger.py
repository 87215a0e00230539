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
    PayoutConfirmed,
    RefundConfirmed,
    RefundRequested,
    SuspenseResolved,
)

UNKNOWN_CLIENT = "unknown"
"""To whom a payment is owed when it names no order that anyone knows."""

PSP = "psp"
SUSPENSE = "suspense"
FORFEITED = "forfeited_deposits"
FEES = "service_fees"
INCOME = "platform_income"
FAMILIES = (PSP, "escrow", SUSPENSE, "refunds_payable", FORFEITED, FEES, "payable", INCOME)
"""Account families: what stands before the colon. Only `psp`, the world outside, goes negative."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One amount, in fen, from one account to another: an unbalanced one cannot be written."""

    source: str
    target: str
    amount_fen: int


Moves = tuple[Posting, ...]


def escrow(order_id: str | None) -> str:
    """Name the account that holds one order's money."""
    return f"escrow:{order_id}"


def refundable(client_id: str) -> str:
    """Name the account of what is owed back to one client."""
    return f"refunds_payable:{client_id}"


def payable(party: str) -> str:
    """Name the account of what is owed to `creator:<id>` or `mcn:<id>`."""
    return f"payable:{party}"


def postings(event: Event) -> Moves:
    """Return the money that an event moves."""
    rule = _RULES.get(type(event.fact))
    moves = rule(event.order_id, event.fact) if rule else ()
    if any(posting.amount_fen <= 0 for posting in moves):
        message = f"{event.id} would move nothing, or backwards"
        raise BrokenInvariant(message)
    return moves


def _applied(order_id: str | None, fact: PaymentApplied) -> Moves:
    return (Posting(PSP, escrow(order_id), fact.amount_fen),)


def _unapplied(_: str | None, fact: PaymentUnapplied) -> Moves:
    inbound = Posting(PSP, SUSPENSE, fact.amount_fen)
    if fact.client_id is None:
        return (inbound,)
    return (inbound, Posting(SUSPENSE, refundable(fact.client_id), fact.amount_fen))


def _requested(order_id: str | None, fact: RefundRequested) -> Moves:
    # Otherwise it is owed already, since the event that freed it.
    if fact.source != "escrow":
        return ()
    return (Posting(escrow(order_id), refundable(fact.client_id), fact.amount_fen),)


def _confirmed(_: str | None, fact: RefundConfirmed) -> Moves:
    return (Posting(refundable(fact.client_id), PSP, fact.amount_fen),)


def _forfeited(order_id: str | None, fact: OrderForfeited) -> Moves:
    return (Posting(escrow(order_id), FORFEITED, fact.amount_fen),)


def _reinstated(order_id: str | None, fact: OrderReinstated) -> Moves:
    return (Posting(FORFEITED, escrow(order_id), fact.amount_fen),)


def _to_the_side(source: str, agency: tuple[str | None, int], creator: tuple[str, int]) -> Moves:
    """Move to the creator's side what is its own, the agency first; nothing is not moved."""
    (mcn_id, agency_fen), (creator_id, creator_fen) = agency, creator
    to_agency = (source, payable(f"mcn:{mcn_id}"), agency_fen)
    return _some(to_agency, (source, payable(f"creator:{creator_id}"), creator_fen))


def _some(*moves: tuple[str, str, int]) -> Moves:
    return tuple(Posting(source, target, fen) for source, target, fen in moves if fen)


def _completed(order_id: str | None, fact: OrderCompleted) -> Moves:
    account, agency = escrow(order_id), (fact.mcn_id, fact.mcn_fen)
    side = _to_the_side(account, agency, (fact.creator_id, fact.creator_fen))
    return side + _some((account, FEES, fact.fee_fen))


def _cancelled(order_id: str | None, fact: OrderCancelled) -> Moves:
    if not fact.cost_fen:
        return ()
    account, agency = escrow(order_id), (fact.mcn_id, fact.mcn_fen)
    side = _to_the_side(account, agency, (fact.creator_id, fact.creator_part_fen - fact.mcn_fen))
    refund = (account, refundable(fact.client_id), fact.refund_fen)
    return side + _some((account, FEES, fact.fee_part_fen), refund)


def _released(_: str | None, fact: ForfeitReleased) -> Moves:
    agency = (fact.mcn_id, fact.mcn_fen)
    side = _to_the_side(FORFEITED, agency, (fact.creator_id, fact.creator_fen))
    refund = (FORFEITED, refundable(fact.client_id), fact.client_fen)
    return _some((FORFEITED, INCOME, fact.platform_fen)) + side + _some(refund)


def _paid_out(_: str | None, fact: PayoutConfirmed) -> Moves:
    return (Posting(payable(fact.party), PSP, fact.amount_fen),)


def _resolved(_: str | None, fact: SuspenseResolved) -> Moves:
    return (Posting(SUSPENSE, refundable(UNKNOWN_CLIENT), fact.amount_fen),)


_RULES: dict[type, Callable[[str | None, Any], Moves]] = {
    PaymentApplied: _applied,
    PaymentUnapplied: _unapplied,
    RefundRequested: _requested,
    RefundConfirmed: _confirmed,
    OrderForfeited: _forfeited,
    OrderReinstated: _reinstated,
    OrderCompleted: _completed,
    OrderCancelled: _cancelled,
    ForfeitReleased: _released,
    PayoutConfirmed: _paid_out,
    SuspenseResolved: _resolved,
}


def balances(moves: Iterable[Posting]) -> dict[str, int]:
    """Add up postings by account, in fen."""
    totals_fen: dict[str, int] = {}
    for posting in moves:
        totals_fen[posting.source] = totals_fen.get(posting.source, 0) - posting.amount_fen
        totals_fen[posting.target] = totals_fen.get(posting.target, 0) + posting.amount_fen
    return totals_fen


def by_family(accounts: dict[str, int]) -> dict[str, int]:
    """Add up accounts by family; every family is named, the empty ones too."""
    totals_fen = dict.fromkeys(FAMILIES, 0)
    for account, amount in accounts.items():
        totals_fen[account.partition(":")[0]] += amount
    return totals_fen
