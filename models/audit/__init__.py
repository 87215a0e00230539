"""Audit: the books recomputed from the facts, by other code than wrote them.

One order, or one payment, is audited at a time, with its own events, postings and refunds; the
totals come from running sums. So a million orders need no more memory than one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.audit import ledger_checks, order_checks
from models.audit.ledger_checks import EventPosting
from models.audit.order_checks import Finding
from models.creators import Creator
from models.events.event import Event
from models.lifecycle import OWED_STATUSES, DebtStatus
from models.obligations import Payment, Payout, Refund, SuspenseItem
from models.orders.order import Order


@dataclass(slots=True, kw_only=True)
class MoneyTotals:
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
        self.forfeited_fen += sum(holding.amount_fen for holding in order.forfeited)

    def count_payment(self, payment: Payment) -> None:
        self.received_fen += 0 if payment.voided_at else payment.amount_fen

    def count_refund(self, refund: Refund) -> None:
        if refund.status in OWED_STATUSES:
            self.owed_fen += refund.amount_fen
        elif refund.status is DebtStatus.CONFIRMED:
            self.returned_fen += refund.amount_fen

    def count_payout(self, payout: Payout) -> None:
        if payout.status in OWED_STATUSES:
            self.payable_fen += payout.amount_fen
        elif payout.status is DebtStatus.CONFIRMED:
            self.paid_out_fen += payout.amount_fen

    def count_suspended(self, item: SuspenseItem) -> None:
        self.suspended_fen += 0 if item.resolved_at else item.amount_fen


def audit_order(
    order: Order,
    events: Sequence[Event],
    postings: Sequence[EventPosting],
    refunds: Sequence[Refund],
    payouts: Sequence[Payout] = (),
) -> list[Finding]:
    """Name every invariant that one order breaks, given everything that was written down about it.

    `events` are in the order of their sequence; the rest is of its events.
    """
    subject = f"order:{order.order_id}"
    findings = [
        *order_checks.check_sequence(subject, order.sequence, events),
        *order_checks.check_replay(order, events),
    ]
    findings += [*order_checks.check_terms(order, events), *order_checks.check_position(order)]
    findings += order_checks.check_schedules(order, events)
    findings += [
        *ledger_checks.check_escrow(order, postings),
        *ledger_checks.check_payments(subject, events),
    ]
    findings += ledger_checks.check_distributions(order, events)
    findings += ledger_checks.check_postings(subject, events, postings)
    findings += ledger_checks.check_payouts(subject, events, payouts)
    return [*findings, *ledger_checks.check_refunds(subject, events, refunds)]


def audit_creator(creator: Creator, events: Sequence[Event]) -> list[Finding]:
    """Name every invariant that one creator breaks, given its events in order of sequence."""
    subject = f"creator:{creator.creator_id}"
    findings = order_checks.check_sequence(subject, creator.sequence, events)
    return [*findings, *order_checks.check_creator(creator, events)]


def audit_payment(
    payment: Payment,
    events: Sequence[Event],
    postings: Sequence[EventPosting],
    refunds: Sequence[Refund],
) -> list[Finding]:
    """Name every invariant that one payment breaks, in what was recorded of it and of no order."""
    subject = f"payment:{payment.payment_id}"
    findings = [
        *order_checks.check_sequence(subject, payment.sequence, events),
        *ledger_checks.check_postings(subject, events, postings),
        *ledger_checks.check_voids(payment, events),
    ]
    return [*findings, *ledger_checks.check_refunds(subject, events, refunds)]


def audit_totals(accounts: Iterable[tuple[str, int]], totals: MoneyTotals) -> list[Finding]:
    """Name every invariant that the accounts' balances break, taken together; fen throughout."""
    findings: list[Finding] = []
    family_balances: Counter[str] = Counter()
    for account, balance in accounts:
        family_balances[account.partition(":")[0]] += balance
        if balance < 0 and account != "psp":
            findings.append(Finding("no_debts", account, f"{balance} fen"))
    expected_balances = {
        "psp": totals.returned_fen + totals.paid_out_fen - totals.received_fen,
        "escrow": totals.held_fen,
        "forfeited_deposits": totals.forfeited_fen,
        "refunds_payable": totals.owed_fen,
        "payable": totals.payable_fen,
        "suspense": totals.suspended_fen,
    }
    for family, expected_fen in expected_balances.items():
        if family_balances[family] != expected_fen:
            findings.append(
                Finding(family, "totals", f"{family_balances[family]} fen, not {expected_fen}")
            )
    if family_balances.total():
        findings.append(
            Finding("sum_zero", "totals", f"all accounts add up to {family_balances.total()}")
        )
    return findings
