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

from models.laws import Finding
from workers import archive_tables
from workers.database import insert_new

ACCOUNT, ENDED = "account:", "ended:"
FORFEITED, RETURNED, PAID_OUT = "forfeited", "returned", "paid_out"

CHUNK = 2_000
"""Rows held in memory while the archive is added up anew."""

Worth = Counter[str]


def worth_of_orders(orders: Iterable[Any], refunds: Iterable[Any], payouts: Iterable[Any]) -> Worth:
    """Add up rows: orders by their ending, forfeited deposits, and what has left, in fen."""
    found = Worth()
    for row in orders:
        found[ended(row.state, row.reason)] += 1
        found[FORFEITED] += _forfeited(row.document)
    found[RETURNED] += sum(row.amount_fen for row in refunds)
    found[PAID_OUT] += sum(row.amount_fen for row in payouts)
    return found


def _forfeited(document: str) -> int:
    try:
        return sum(one["amount_fen"] for one in json.loads(document)["forfeited"])
    except (ValueError, LookupError, TypeError):
        # What cannot be read any more is a finding of the audit's own.
        return 0


def ended(state: str, reason: str | None) -> str:
    """Name the number of orders with an ending."""
    return f"{ENDED}{state}:{reason}"


def worth_of_postings(postings: Iterable[Any]) -> Worth:
    """Add up rows of postings by account, in fen."""
    found = Worth()
    for row in postings:
        found[f"{ACCOUNT}{row.source}"] -= row.amount_fen
        found[f"{ACCOUNT}{row.target}"] += row.amount_fen
    return found


def add(connection: Connection, worth: Mapping[str, int]) -> None:
    """Change totals; always in the same order, so that nobody waits for each other in a circle."""
    table = archive_tables.totals
    changes = sorted((name, value) for name, value in worth.items() if value)
    insert_new(connection, table, [{"name": name, "value": 0} for name, _ in changes])
    for name, value in changes:
        mine = table.update().where(table.c.name == name)
        connection.execute(mine.values(value=table.c.value + value))


def read(connection: Connection) -> dict[str, int]:
    """Return every total by its name."""
    table = archive_tables.totals
    return {row.name: row.value for row in connection.execute(select(table))}


def accounts(totals: Mapping[str, int]) -> dict[str, int]:
    """Return what the archive's postings come to, by account, in fen."""
    mine = (one for one in totals if one.startswith(ACCOUNT))
    return {name.removeprefix(ACCOUNT): totals[name] for name in mine}


def endings(totals: Mapping[str, int]) -> Counter[tuple[str, str | None]]:
    """Return how many archived orders ended how, by state and reason."""
    mine = (one for one in totals if one.startswith(ENDED))
    return Counter({_ending(name): totals[name] for name in mine})


def recomputed(connection: Connection) -> Worth:
    """Add up the archive anew, row by row."""
    found = Worth()
    for table, worth in (
        (archive_tables.orders, lambda rows: worth_of_orders(rows, (), ())),
        (archive_tables.refunds, lambda rows: worth_of_orders((), rows, ())),
        (archive_tables.payouts, lambda rows: worth_of_orders((), (), rows)),
        (archive_tables.postings, worth_of_postings),
    ):
        query = select(table).execution_options(yield_per=CHUNK)
        for chunk in connection.execute(query).partitions():
            found.update(worth(chunk))
    return found


def findings(kept: Mapping[str, int], right: Mapping[str, int]) -> list[Finding]:
    """Name the totals that are not what the archive adds up to."""
    names = sorted(kept.keys() | right.keys())
    return [
        Finding("archive", name, f"{kept.get(name, 0)}, not {right.get(name, 0)}")
        for name in names
        if kept.get(name, 0) != right.get(name, 0)
    ]


def _ending(name: str) -> tuple[str, str]:
    state, _, reason = name.removeprefix(ENDED).partition(":")
    return state, reason
