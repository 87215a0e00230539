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

from models.ledger import FEES, FORFEITED, INCOME, PSP, SUSPENSE
from workers.database import archive_schema, schema
from workers.database.archive_schema import ARCHIVED
from workers.queries.reports.grouping import (
    PARTIES,
    By,
    Row,
    Source,
    Text,
    month,
    named,
    owned,
    reporting,
)

BREAKDOWNS = (*PARTIES, By.MONTH)

Account = ColumnElement[str]
Kind = Callable[[Account], ColumnElement[bool]]


def _is(name: str) -> Kind:
    return lambda account: account == name


def _of(family: str) -> Kind:
    return lambda account: account.startswith(f"{family}:", autoescape=True)


ESCROW, OWED, PAYABLE = _of("escrow"), _of("refunds_payable"), _of("payable")

INTO = {
    "refund_requested_fen": OWED,
    "fees_fen": _is(FEES),
    "income_fen": _is(INCOME),
    "payable_fen": PAYABLE,
}
"""What flows into an account and is counted for good."""

OUT_OF = {"received_fen": _is(PSP), "refund_confirmed_fen": OWED, "paid_out_fen": PAYABLE}
STAYS = {"held_fen": ESCROW, "suspense_fen": _is(SUSPENSE)}
"""What flowed in less what flowed out again."""

COLUMNS = (
    *("received_fen", "held_fen", "suspense_fen", "refund_requested_fen", "refund_confirmed_fen"),
    *("forfeited_fen", "released_fen", "fees_fen", "income_fen", "payable_fen", "paid_out_fen"),
)


def money(engine: Engine, by: By | None) -> Iterator[Row]:
    """Add up the postings; those that belong to no order have no name.

    Months are those in which money moved; an agency is the one that an order's share was promised
    to when it was accepted. `forfeited_fen` is less what was reinstated.
    """
    with reporting(engine) as connection:
        postings = _moved(dated=by is By.MONTH)
        rows, key = _named(connection, postings, by)
        sums = _sums(postings)
        query = select(key.label("key"), *(sums[column].label(column) for column in COLUMNS))
        query = query.select_from(rows).group_by("key").order_by("key")
        for row in connection.execute(query):
            head = {} if by is None else {by.value: row.key or None}
            yield head | {column: int(getattr(row, column)) for column in COLUMNS}


def _moved(*, dated: bool) -> Subquery:
    """Return every posting, perhaps `dated`: with the instant of its event, in the same half."""
    halves = []
    for posting in (schema.postings, archive_schema.postings):
        columns = [posting.c[name] for name in ("subject", "source", "target", "amount_fen")]
        halves.append(_dated(posting, columns) if dated else select(*columns))
    return union_all(*halves).subquery("moved")


def _dated(posting: Table, columns: Sequence[Any]) -> Select[Any]:
    event = schema.events if posting is schema.postings else archive_schema.events
    same_event = and_(event.c.subject == posting.c.subject, event.c.sequence == posting.c.sequence)
    return select(*columns, event.c.at).select_from(posting.join(event, same_event))


def _sums(postings: Subquery) -> dict[str, ColumnElement[Any]]:
    source, target, fen = postings.c.source, postings.c.target, postings.c.amount_fen
    is_forfeited, reinstated = _is(FORFEITED), and_(source == FORFEITED, ESCROW(target))
    signed: dict[str, list[tuple[ColumnElement[bool], ColumnElement[int]]]] = {
        **{name: [(kind(target), fen)] for name, kind in INTO.items()},
        **{name: [(kind(source), fen)] for name, kind in OUT_OF.items()},
        **{name: [(kind(target), fen), (kind(source), -fen)] for name, kind in STAYS.items()},
        "forfeited_fen": [(is_forfeited(target), fen), (reinstated, -fen)],
        "released_fen": [(and_(is_forfeited(source), not_(ESCROW(target))), fen)],
    }
    return {name: func.sum(case(*whens, else_=0)) for name, whens in signed.items()}


def _named(connection: Connection, postings: Subquery, by: By | None) -> tuple[FromClause, Text]:
    """Return the postings and what each counts under."""
    if by is None:
        return postings, named(connection, literal_column("''"))
    if by is By.MONTH:
        return postings, named(connection, month(connection, postings.c.at))
    rows: FromClause = postings
    owners = [_about(postings, "order")]
    for kind, table in (("refund", schema.refunds), ("payout", schema.payouts)):
        for half in (table, ARCHIVED[table]):
            rows = rows.outerjoin(half, half.c[f"{kind}_id"] == _about(postings, kind))
            owners.append(half.c.order_id)
    source = owned(rows, func.coalesce(*owners))
    if by is By.MCN:
        return source.rows, named(connection, _payee(connection, source))
    return source.key(connection, by)


def _about(postings: Subquery, kind: str) -> Text:
    """Return the id that a posting's subject names, if the subject is of a kind."""
    prefix = f"{kind}:"
    subject = postings.c.subject
    return case((subject.startswith(prefix), func.substr(subject, len(prefix) + 1)))


def _payee(connection: Connection, source: Source) -> Text:
    document = source.column("document")
    if connection.dialect.name == "sqlite":
        return func.json_extract(document, "$.mcn_id")
    return func.json_extract_path_text(cast(document, JSON), "mcn_id")
