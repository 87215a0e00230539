"""Audit: the books in the database, recomputed order by order in flat memory."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select, union_all

from models.audit import MoneyTotals, audit_creator, audit_order, audit_payment, audit_totals
from models.audit.order_checks import Finding
from models.errors import BrokenInvariant
from models.ledger import Posting
from models.obligations import Payout, Refund
from models.orders.order import Order
from models.policy import Policy
from workers.database import archive, mappers, schema
from workers.database.archive_schema import ARCHIVED, with_archive
from workers.database.engine import reading
from workers.database.mappers import CREATORS, PAYMENTS, PAYOUTS, REFUNDS, SUSPENDED, TableMapper
from workers.database.repository import Store

CHUNK_SIZE = 500
"""Orders held in memory at a time."""


MAX_FINDINGS = 100
"""Findings worth listing: whoever sees a hundred knows enough."""


@dataclass(slots=True)
class AuditReport:
    """What an audit looked at and what it found."""

    orders: int = 0
    payments: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, findings: Sequence[Finding]) -> None:
        """Keep findings, up to a number that a person would read."""
        self.findings.extend(findings[: MAX_FINDINGS - len(self.findings)])


class AuditStopped(Exception):
    """Whoever audits was told to stop: what was found so far is no result."""


def audit(
    store: Store, *, recompute_archive: bool = True, stopping: threading.Event | None = None
) -> AuditReport:
    """Recompute everything from the events, on one snapshot, and hold it against the tables.

    Without `recompute_archive` the archive counts by its stored totals and is not read again. Raise
    `AuditStopped` soon after `stopping` is set.
    """
    report, sums = AuditReport(), MoneyTotals()
    policies = store.known_policies()
    with reading(store.engine) as connection:
        totals = archive.read_totals(connection)
        if recompute_archive:
            report.add(archive.totals_findings(totals, archive.recompute_totals(connection)))
        else:
            _count_archive(sums, totals)
        orders_table = with_archive(schema.orders) if recompute_archive else schema.orders
        for chunk in _chunks(connection, orders_table, "order_id", stopping):
            orders = _read_orders(chunk, policies, report)
            facts_by_subject = _events_and_postings(
                connection, [f"order:{order.order_id}" for order in orders]
            )
            order_ids = [order.order_id for order in orders]
            refunds_by_order = _obligations(connection, REFUNDS, "order_id", order_ids)
            payouts_by_order = _obligations(connection, PAYOUTS, "order_id", order_ids)
            for order in orders:
                events, postings = facts_by_subject[f"order:{order.order_id}"]
                debts = refunds_by_order[order.order_id], payouts_by_order[order.order_id]
                report.add(audit_order(order, events, postings, *debts))
                _count_order(sums, order, *debts)
            report.orders += len(chunk)
        _audit_payments(connection, report, sums, stopping)
        _audit_creators(connection, report, stopping)
        report.add(list(_judged_out_of_order(connection)))
        report.add(audit_totals(balances(connection).items(), sums))
    return report


def _read_orders(
    chunk: Sequence[Any], policies: dict[str, Policy], report: AuditReport
) -> list[Order]:
    """Read orders; one that cannot be read is a finding, and hides no other."""
    orders = []
    for row in chunk:
        try:
            orders.append(mappers.read_order(row.document, policies))
        except BrokenInvariant as error:
            report.add([Finding("readable", f"order:{row.order_id}", str(error))])
    return orders


def _count_order(
    sums: MoneyTotals, order: Order, refunds: Sequence[Refund], payouts: Sequence[Payout]
) -> None:
    sums.count_order(order)
    for refund in refunds:
        sums.count_refund(refund)
    for payout in payouts:
        sums.count_payout(payout)


def _count_archive(sums: MoneyTotals, totals: Mapping[str, int]) -> None:
    sums.forfeited_fen += totals.get(archive.FORFEITED, 0)
    sums.returned_fen += totals.get(archive.RETURNED, 0)
    sums.paid_out_fen += totals.get(archive.PAID_OUT, 0)


def _judged_out_of_order(connection: Connection) -> Iterator[Finding]:
    """Name the commands that were judged after later ones, but for dead letters, which do."""
    columns, letters = schema.receipts.c, schema.dead_letters.c
    query = select(columns.sender, columns.command_id, columns.about).where(
        columns.judged_after.is_not(None), columns.stamp.not_in(select(letters.stamp))
    )
    for row in connection.execute(query.order_by(columns.stamp).limit(MAX_FINDINGS)):
        name = f"{row.sender} {row.command_id}"
        detail = f"{name} was judged after a command that was received later"
        yield Finding("judged_in_order", f"order:{row.about}" if row.about else name, detail)


def _audit_creators(
    connection: Connection, report: AuditReport, stopping: threading.Event | None
) -> None:
    for chunk in _chunks(connection, schema.creators, "creator_id", stopping):
        creators = [CREATORS.read(row) for row in chunk]
        facts_by_subject = _events_and_postings(
            connection, [f"creator:{creator.creator_id}" for creator in creators]
        )
        for creator in creators:
            events, _ = facts_by_subject[f"creator:{creator.creator_id}"]
            report.add(audit_creator(creator, events))


def _audit_payments(
    connection: Connection, report: AuditReport, sums: MoneyTotals, stopping: threading.Event | None
) -> None:
    for chunk in _chunks(connection, schema.payments, "payment_id", stopping):
        payments = [PAYMENTS.read(row) for row in chunk]
        facts_by_subject = _events_and_postings(
            connection, [f"payment:{payment.payment_id}" for payment in payments]
        )
        payment_ids = [payment.payment_id for payment in payments]
        refunds_by_payment = _obligations(connection, REFUNDS, "payment_id", payment_ids)
        suspended_by_payment = _obligations(connection, SUSPENDED, "payment_id", payment_ids)
        for payment in payments:
            events, postings = facts_by_subject[f"payment:{payment.payment_id}"]
            whole_refunds = [
                refund
                for refund in refunds_by_payment[payment.payment_id]
                if refund.order_id is None
            ]
            report.add(audit_payment(payment, events, postings, whole_refunds))
            sums.count_payment(payment)
            for refund in whole_refunds:
                sums.count_refund(refund)
            for share in suspended_by_payment[payment.payment_id]:
                sums.count_suspended(share)
        report.payments += len(payments)


def balances(connection: Connection) -> dict[str, int]:
    """Add up every account's postings, in fen; accounts that come to 0 are left out."""
    table = schema.postings
    movements = union_all(
        select(table.c.source.label("account"), (-table.c.amount_fen).label("amount")),
        select(table.c.target.label("account"), table.c.amount_fen.label("amount")),
    ).subquery()
    total = func.sum(movements.c.amount)
    query = select(movements.c.account, total).group_by(movements.c.account).having(total != 0)
    amounts = Counter({account: int(amount) for account, amount in connection.execute(query)})
    amounts.update(archive.account_totals(archive.read_totals(connection)))
    return {account: amount for account, amount in amounts.items() if amount}


def _chunks(
    connection: Connection,
    table: Any,  # noqa: ANN401 - a table, or one together with its archive
    key: str,
    stopping: threading.Event | None,
) -> Iterator[Sequence[Any]]:
    after = ""
    while True:
        query = select(table).where(table.c[key] > after).order_by(table.c[key]).limit(CHUNK_SIZE)
        chunk = connection.execute(query).all()
        if not chunk:
            return
        if stopping is not None and stopping.is_set():
            raise AuditStopped
        yield chunk
        after = getattr(chunk[-1], key)


def _events_and_postings(
    connection: Connection, subjects: list[str]
) -> dict[str, tuple[list[Any], list[Any]]]:
    """Load the events and postings of some subjects, in order."""
    facts_by_subject: dict[str, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    table = with_archive(schema.events)
    query = select(table).where(table.c.subject.in_(subjects)).order_by(table.c.sequence)
    for row in connection.execute(query):
        facts_by_subject[row.subject][0].append(mappers.read_event(row))
    table = with_archive(schema.postings)
    query = select(table).where(table.c.subject.in_(subjects))
    for row in connection.execute(query.order_by(table.c.sequence, table.c.ordinal)):
        posting = Posting(row.source, row.target, row.amount_fen)
        facts_by_subject[row.subject][1].append((f"{row.subject}/{row.sequence}", posting))
    return facts_by_subject


def _obligations(
    connection: Connection, mapper: TableMapper, key: str, ids: list[str]
) -> dict[str, list[Any]]:
    """Load what is owed, or claimed by nobody, by the order or payment that it came from."""
    table = with_archive(mapper.table) if mapper.table in ARCHIVED else mapper.table
    columns = table.c
    debts: dict[str, list[Any]] = defaultdict(list)
    query = select(table).where(columns[key].in_(ids)).order_by(columns[mapper.key])
    for row in connection.execute(query):
        debts[getattr(row, key)].append(mapper.read(row))
    return debts
