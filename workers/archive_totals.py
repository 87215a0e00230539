"""Archive totals: what the archive adds up to, kept in the commits that change it.

So the books need not read what has come to rest: they add this to the rest of the tables. An audit
of everything reads it all the same, and finds whether this is still true.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from models.audit.order_checks import Finding
from workers import archive_tables
from workers.database import insert_new

ACCOUNT, ENDED = "account:", "ended:"


FORFEITED, RETURNED, PAID_OUT = "forfeited", "returned", "paid_out"


CHUNK = 2_000
"""Rows held in memory while the archive is added up anew."""


Worth = Counter[str]


def worth_of_orders(orders: Iterable[Any], refunds: Iterable[Any], payouts: Iterable[Any]) -> Worth:
    """Add up rows: orders by their ending, forfeited deposits, and what has left, in fen."""
    totals = Worth()
    for row in orders:
        totals[ended(row.state, row.reason)] += 1
        totals[FORFEITED] += _forfeited(row.document)
    totals[RETURNED] += sum(row.amount_fen for row in refunds)
    totals[PAID_OUT] += sum(row.amount_fen for row in payouts)
    return totals


def _forfeited(document: str) -> int:
    try:
        return sum(holding["amount_fen"] for holding in json.loads(document)["forfeited"])
    except (ValueError, LookupError, TypeError):
        # What cannot be read any more is a finding of the audit's own.
        return 0


def ended(state: str, reason: str | None) -> str:
    """Name the number of orders with an ending."""
    return f"{ENDED}{state}:{reason}"


def worth_of_postings(postings: Iterable[Any]) -> Worth:
    """Add up rows of postings by account, in fen."""
    totals = Worth()
    for row in postings:
        totals[f"{ACCOUNT}{row.source}"] -= row.amount_fen
        totals[f"{ACCOUNT}{row.target}"] += row.amount_fen
    return totals


def add(connection: Connection, worth: Mapping[str, int]) -> None:
    """Change totals; always in the same order, so that nobody waits for each other in a circle."""
    table = archive_tables.totals
    changes = sorted((name, value) for name, value in worth.items() if value)
    insert_new(connection, table, [{"name": name, "value": 0} for name, _ in changes])
    for name, value in changes:
        update = table.update().where(table.c.name == name)
        connection.execute(update.values(value=table.c.value + value))


def read(connection: Connection) -> dict[str, int]:
    """Return every total by its name."""
    table = archive_tables.totals
    return {row.name: row.value for row in connection.execute(select(table))}


def accounts(totals: Mapping[str, int]) -> dict[str, int]:
    """Return what the archive's postings come to, by account, in fen."""
    names = (name for name in totals if name.startswith(ACCOUNT))
    return {name.removeprefix(ACCOUNT): totals[name] for name in names}


def endings(totals: Mapping[str, int]) -> Counter[tuple[str, str | None]]:
    """Return how many archived orders ended how, by state and reason."""
    names = (name for name in totals if name.startswith(ENDED))
    return Counter({_ending(name): totals[name] for name in names})


def recomputed(connection: Connection) -> Worth:
    """Add up the archive anew, row by row."""
    totals = Worth()
    for table, worth in (
        (archive_tables.orders, lambda rows: worth_of_orders(rows, (), ())),
        (archive_tables.refunds, lambda rows: worth_of_orders((), rows, ())),
        (archive_tables.payouts, lambda rows: worth_of_orders((), (), rows)),
        (archive_tables.postings, worth_of_postings),
    ):
        query = select(table).execution_options(yield_per=CHUNK)
        for chunk in connection.execute(query).partitions():
            totals.update(worth(chunk))
    return totals


def findings(
    stored_totals: Mapping[str, int], recomputed_totals: Mapping[str, int]
) -> list[Finding]:
    """Name the totals that are not what the archive adds up to."""
    names = sorted(stored_totals.keys() | recomputed_totals.keys())
    return [
        Finding(
            "archive", name, f"{stored_totals.get(name, 0)}, not {recomputed_totals.get(name, 0)}"
        )
        for name in names
        if stored_totals.get(name, 0) != recomputed_totals.get(name, 0)
    ]


def _ending(name: str) -> tuple[str, str]:
    state, _, reason = name.removeprefix(ENDED).partition(":")
    return state, reason
