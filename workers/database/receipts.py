"""Receipts: the first outcomes of commands on record, found by sender and command id.

What was settled before ids belonged to their senders may have no sender on record: it is empty
there. Such a receipt answers whoever sends the same command again: its fingerprint covers the
sender.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from models.ids import make_command_key, split_command_key
from workers.database import bulk, schema

UNATTRIBUTED = ""
"""The sender of a receipt that does not say whose it is."""


ANY_UNATTRIBUTED = "SELECT 1 FROM receipts WHERE sender = '' LIMIT 1"
"""Finds one in an index of those alone: where there are none, as nearly everywhere, at no cost."""


def fetch(connection: Connection, names: Collection[tuple[str, str]]) -> Sequence[Any]:
    """Return the receipts of commands, given as senders and command ids."""
    columns = schema.receipts.c
    return bulk.fetch_pairs(connection, columns, (columns.sender, columns.command_id), names)


def fetch_unattributed(connection: Connection, command_ids: Iterable[str]) -> dict[str, Any]:
    """Return, by id, the receipts of such commands that do not say whose they are."""
    if connection.exec_driver_sql(ANY_UNATTRIBUTED).first() is None:
        return {}
    names = {(UNATTRIBUTED, command_id) for command_id in command_ids}
    return {row.command_id: row for row in fetch(connection, names)}


def fetch_first(
    connection: Connection,
    names: Collection[tuple[str, str]],
    is_own: Callable[[tuple[str, str], bytes], bool],
) -> dict[tuple[str, str], Any]:
    """Return, by sender and command id, the receipts that answer commands.

    Where a receipt does not say whose it is, `is_own` tells by its fingerprint whether it answers
    the command of that name.
    """
    rows = {(row.sender, row.command_id): row for row in fetch(connection, names)}
    unattributed = fetch_unattributed(connection, {command_id for _, command_id in names})
    for name in names if unattributed else ():
        row = unattributed.get(name[1])
        if row is not None and name not in rows and is_own(name, bytes(row.fingerprint)):
            rows[name] = row
    return rows


def fetch_by_cause(connection: Connection, causes: Iterable[str]) -> dict[str, Any]:
    """Return the receipts of commands that events name as their causes, those on record."""
    names_by_cause = {
        cause: split_command_key(cause.removeprefix("command:")) for cause in sorted(causes)
    }
    rows = {(row.sender, row.command_id): row for row in fetch(connection, names_by_cause.values())}
    rows |= _fetch_oldest(connection, [name for name in names_by_cause.values() if not name[0]])
    return {cause: rows[name] for cause, name in names_by_cause.items() if name in rows}


def _fetch_oldest(
    connection: Connection, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Any]:
    """Return the oldest receipt of each id: an id alone was its first sender's."""
    columns = schema.receipts.c
    rows = bulk.fetch(connection, columns, columns.command_id, [name[1] for name in names])
    newest_first = sorted(rows, key=lambda row: (row.received_at, row.stamp), reverse=True)
    return {(UNATTRIBUTED, row.command_id): row for row in newest_first}


def subjects_of_outcome(sender: str, command_id: str) -> tuple[str, str]:
    """Name what the outcome of a command was told of: the id alone until it was its sender's."""
    return f"command:{make_command_key(sender, command_id)}", f"command:{command_id}"
