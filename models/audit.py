"""Audit: the books recomputed from the facts, by other code than wrote them.

One order, or one payment, is audited at a time, with its own events, postings and refunds; the
totals come from running sums. So a million orders need no more memory than one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models import laws, money_laws
from models.creator import Creator
from models.debts import Payout, Suspended
from models.events import Event
from models.laws import Finding
from models.money_laws import Posted
from models.order import Order
from models.payments import Payment
from models.refunds import Refund

__all__ = [
    "Finding",
    "Posted",
    "Sums",
    "audit_creator",
    "audit_order",
    "audit_payment",
    "audit_totals",
]


@dataclass(slots=True, kw_only=True)
class Sums:
    """What all orders, payments and refunds add up to, in fen; to be counted one by one."""

    held_fen: int = 0
    forfeited_fen: int = 0
    received_fen: int = 0
    owed_fen: int = 0
    returned_fen: int = 0
    payable_fen: int = 0
    paid_out_fen: int = 0
    suspended_fen: int = 0

    def count_order(self, order: Order) -> None:
        self.held_fen += order.held_fen
        self.forfeited_fen += sum(one.amount_fen for one in order.forfeited)

    def count_payment(self, payment: Payment) -> None:
        self.received_fen += payment.amount_fen

    def count_refund(self, refund: Refund) -> None:
        if refund.confirmed_at is None:
            self.owed_fen += refund.amount_fen
        else:
            self.returned_fen += refund.amount_fen

    def count_payout(self, payout: Payout) -> None:
        if payout.confirmed_at is None:
            self.payable_fen += payout.amount_fen
        else:
            self.paid_out_fen += payout.amount_fen

    def count_suspended(self, share: Suspended) -> None:
        self.suspended_fen += 0 if share.resolved_at else share.amount_fen


def audit_order(
    order: Order,
    events: Sequence[Event],
    posted: Sequence[Posted],
    refunds: Sequence[Refund],
    payouts: Sequence[Payout] = (),
) -> list[Finding]:
    """Name every law that one order breaks, given everything that was written down about it.

    `events` are in the order of their sequence; the rest is of its events.
    """
    subject = f"order:{order.order_id}"
    found = [*laws.sequence(subject, order.sequence, events), *laws.life(order, events)]
    found += [*laws.terms(order, events), *laws.position(order)]
    found += [*money_laws.escrow(order, posted), *money_laws.fates(subject, events)]
    found += money_laws.settlements(order, events)
    found += money_laws.postings(subject, events, posted)
    found += money_laws.payouts(subject, events, payouts)
    return [*found, *money_laws.refunds(subject, events, refunds)]


def audit_creator(creator: Creator, events: Sequence[Event]) -> list[Finding]:
    """Name every law that one creator breaks, given its events in the order of their sequence."""
    subject = f"creator:{creator.creator_id}"
    found = laws.sequence(subject, creator.sequence, events)
    return [*found, *laws.creator(creator, events)]


def audit_payment(
    payment: Payment, events: Sequence[Event], posted: Sequence[Posted], refunds: Sequence[Refund]
) -> list[Finding]:
    """Name every law broken by what was written down about one payment and about no order."""
    subject = f"payment:{payment.payment_id}"
    found = [
        *laws.sequence(subject, payment.sequence, events),
        *money_laws.postings(subject, events, posted),
    ]
    return [*found, *money_laws.refunds(subject, events, refunds)]


def audit_totals(accounts: Iterable[tuple[str, int]], sums: Sums) -> list[Finding]:
    """Name every law that the accounts' balances break, taken together; fen throughout."""
    found: list[Finding] = []
    families: Counter[str] = Counter()
    for account, balance in accounts:
        families[account.partition(":")[0]] += balance
        if balance < 0 and account != "psp":
            found.append(Finding("no_debts", account, f"{balance} fen"))
    wanted = {
        "psp": sums.returned_fen + sums.paid_out_fen - sums.received_fen,
        "escrow": sums.held_fen,
        "forfeited_deposits": sums.forfeited_fen,
        "refunds_payable": sums.owed_fen,
        "payable": sums.payable_fen,
        "suspense": sums.suspended_fen,
    }
    for family, amount in wanted.items():
        if families[family] != amount:
            found.append(Finding(family, "totals", f"{families[family]} fen, not {amount}"))
    if families.total():
        found.append(Finding("sum_zero", "totals", f"all accounts add up to {families.total()}"))
    return found
