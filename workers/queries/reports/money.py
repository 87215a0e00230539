"""Money: what came in, what went back, what was lost, kept, owed and paid, as the postings say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    Subquery,
    Table,
    and_,
    case,
    cast,
    func,
    literal_column,
    not_,
    select,
    union_all,
)

from models.ledger import FORFEITED_DEPOSITS, PLATFORM_INCOME, PSP, SERVICE_FEES, SUSPENSE
from workers.database import archive_schema, schema
from workers.database.archive_schema import ARCHIVED
from workers.queries.reports.grouping import (
    PARTY_GROUPINGS,
    Grouping,
    ReportRow,
    ReportSource,
    TextColumn,
    group_name,
    month_of,
    report_transaction,
    with_order,
)

MONEY_GROUPINGS = (*PARTY_GROUPINGS, Grouping.MONTH)


AccountColumn = ColumnElement[str]


AccountTest = Callable[[AccountColumn], ColumnElement[bool]]


def _account_is(name: str) -> AccountTest:
    return lambda account: account == name


def _family_is(family: str) -> AccountTest:
    return lambda account: account.startswith(f"{family}:", autoescape=True)


ESCROW, OWED, PAYABLE = _family_is("escrow"), _family_is("refunds_payable"), _family_is("payable")


FLOWS_INTO = {"fees_fen": _account_is(SERVICE_FEES), "income_fen": _account_is(PLATFORM_INCOME)}
"""What flows into an account and is counted for good."""


NET_FLOWS = {"held_fen": ESCROW, "suspense_fen": _account_is(SUSPENSE)}
"""What flowed in less what flowed out again."""


MONEY_COLUMNS = (
    *("received_fen", "held_fen", "suspense_fen", "refund_requested_fen", "refund_confirmed_fen"),
    *("forfeited_fen", "released_fen", "fees_fen", "income_fen", "payable_fen", "paid_out_fen"),
)


def money(engine: Engine, by: Grouping | None) -> Iterator[ReportRow]:
    """Add up the postings; those that belong to no order have no name.

    Months are those in which money moved: what comes back counts as less in the month when it does.
    An agency is the one that an order's share was promised to when it was accepted. `forfeited_fen`
    is less what was reinstated.
    """
    with report_transaction(engine) as connection:
        postings = _all_postings(dated=by is Grouping.MONTH)
        rows, key = _grouped(connection, postings, by)
        sums = _sums(postings)
        query = select(key.label("key"), *(sums[column].label(column) for column in MONEY_COLUMNS))
        query = query.select_from(rows).group_by("key").order_by("key")
        for row in connection.execute(query):
            head = {} if by is None else {by.value: row.key or None}
            yield head | {column: int(getattr(row, column)) for column in MONEY_COLUMNS}


def _all_postings(*, dated: bool) -> Subquery:
    """Return every posting, perhaps `dated`: with the instant of its event, in the same half."""
    halves = []
    for posting in (schema.postings, archive_schema.postings):
        columns = [posting.c[name] for name in ("subject", "source", "target", "amount_fen")]
        halves.append(_postings_with_instants(posting, columns) if dated else select(*columns))
    return union_all(*halves).subquery("moved")


def _postings_with_instants(posting: Table, columns: Sequence[Any]) -> Select[Any]:
    event = schema.events if posting is schema.postings else archive_schema.events
    same_event = and_(event.c.subject == posting.c.subject, event.c.sequence == posting.c.sequence)
    return select(*columns, event.c.at).select_from(posting.join(event, same_event))


def _sums(postings: Subquery) -> dict[str, ColumnElement[Any]]:
    source, target, fen = postings.c.source, postings.c.target, postings.c.amount_fen
    is_forfeited, reinstated = (
        _account_is(FORFEITED_DEPOSITS),
        and_(source == FORFEITED_DEPOSITS, ESCROW(target)),
    )
    from_outside, to_outside = source == PSP, target == PSP
    # A refund or payout that comes back was not paid, and is no money received.
    returned, unpaid = and_(from_outside, OWED(target)), and_(from_outside, PAYABLE(target))
    reversed_payout = and_(PAYABLE(source), not_(to_outside))
    # A notice that was wrong is taken back: its money never came, and is owed to nobody.
    voided = and_(source == SUSPENSE, to_outside)
    owed_no_more = and_(OWED(source), target == SUSPENSE)
    signed: dict[str, list[tuple[ColumnElement[bool], ColumnElement[int] | int]]] = {
        **{name: [(kind(target), fen)] for name, kind in FLOWS_INTO.items()},
        **{name: [(kind(target), fen), (kind(source), -fen)] for name, kind in NET_FLOWS.items()},
        "received_fen": [(returned, 0), (unpaid, 0), (from_outside, fen), (voided, -fen)],
        "refund_requested_fen": [(returned, 0), (OWED(target), fen), (owed_no_more, -fen)],
        "refund_confirmed_fen": [(returned, -fen), (and_(OWED(source), to_outside), fen)],
        "payable_fen": [(unpaid, 0), (PAYABLE(target), fen), (reversed_payout, -fen)],
        "paid_out_fen": [(unpaid, -fen), (and_(PAYABLE(source), to_outside), fen)],
        "forfeited_fen": [(is_forfeited(target), fen), (reinstated, -fen)],
        "released_fen": [(and_(is_forfeited(source), not_(ESCROW(target))), fen)],
    }
    return {name: func.sum(case(*terms, else_=0)) for name, terms in signed.items()}


def _grouped(
    connection: Connection, postings: Subquery, by: Grouping | None
) -> tuple[FromClause, TextColumn]:
    """Return the postings and what each counts under."""
    if by is None:
        return postings, group_name(connection, literal_column("''"))
    if by is Grouping.MONTH:
        return postings, group_name(connection, month_of(connection, postings.c.at))
    rows: FromClause = postings
    owners = [_subject_id(postings, "order")]
    for kind, table in (("refund", schema.refunds), ("payout", schema.payouts)):
        for half in (table, ARCHIVED[table]):
            rows = rows.outerjoin(half, half.c[f"{kind}_id"] == _subject_id(postings, kind))
            owners.append(half.c.order_id)
    source = with_order(rows, func.coalesce(*owners))
    if by is Grouping.MCN:
        return source.rows, group_name(connection, _payee(connection, source))
    return source.key(connection, by)


def _subject_id(postings: Subquery, kind: str) -> TextColumn:
    """Return the id that a posting's subject names, if the subject is of a kind."""
    prefix = f"{kind}:"
    subject = postings.c.subject
    return case((subject.startswith(prefix), func.substr(subject, len(prefix) + 1)))


def _payee(connection: Connection, source: ReportSource) -> TextColumn:
    document = source.column("document")
    if connection.dialect.name == "sqlite":
        return func.json_extract(document, "$.mcn_id")
    return func.json_extract_path_text(cast(document, JSON), "mcn_id")
