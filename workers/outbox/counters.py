"""Counters: running totals over every event, for metrics that any number of processes agree on.

Each event is counted in the commit that marks it published, so exactly once; only the relay that
holds the lease writes here, so nobody queues for these rows.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from workers.database import bulk
from workers.database.schema import tallies
from workers.timestamps import SECOND_US

BUCKET_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper edges of the histograms' buckets, in seconds; above the last is one more."""


COMMAND_SETTLED = "command.settled"


OPERATOR_ALERTED = "operator.alerted"


CONSEQUENCES = ("refund", "payout", "operator")
"""Events that follow from another: of what a deadline brings, all else is the deadline itself."""


JUDGED_OUT_OF_ORDER = "judged_out_of_order"


CounterKey = tuple[str, str]


def count_events(connection: Connection, event_rows: Sequence[Any], published_at: int) -> None:
    """Count rows of the events table that are being marked as published."""
    totals: Counter[CounterKey] = Counter()
    for row in event_rows:
        for key, amount in _increments(row, published_at):
            totals[key] += amount
    if totals:
        rows = [
            {"name": name, "labels": labels, "value": amount}
            for (name, labels), amount in sorted(totals.items())
        ]
        bulk.add_to_totals(connection, tallies, rows)


def _increments(row: Any, published_at: int) -> Iterator[tuple[CounterKey, int]]:  # noqa: ANN401 - a row
    yield ("events", row.type), 1
    yield from _observations("event_publish", published_at - row.recorded_at)
    cause_kind, _, cause_name = row.caused_by.partition(":")
    if row.type == COMMAND_SETTLED:
        body = json.loads(row.body)
        yield ("settled", f"{body['kind'] or 'unreadable'}|{body['outcome']}"), 1
        if body["outcome"] == "rejected":
            yield ("rejected", body["reason"]), 1
        if body.get("judged_after"):
            yield (JUDGED_OUT_OF_ORDER, ""), 1
        yield from _observations("command_settle", row.recorded_at - row.at)
        yield from _observations("command_end_to_end", published_at - row.at)
    elif row.type == OPERATOR_ALERTED:
        yield ("alerts", json.loads(row.body)["alert"]), 1
    elif row.type.endswith(".reminded"):
        cause = "deadline" if cause_kind == "reminder" else "nudge"
        yield ("reminders", f"{row.type.partition('.')[0]}|{cause}"), 1
    elif cause_kind == "deadline" and row.type.partition(".")[0] not in CONSEQUENCES:
        yield ("deadlines", cause_name), 1
        yield from _observations("deadline_lateness", row.recorded_at - row.at)


def _observations(name: str, micros: int) -> Iterator[tuple[CounterKey, int]]:
    micros = max(0, micros)
    place = bisect_left(BUCKET_EDGES_S, micros / SECOND_US)
    yield (f"{name}_le", f"{BUCKET_EDGES_S[place]:g}" if place < len(BUCKET_EDGES_S) else "+Inf"), 1
    yield (f"{name}_sum_us", ""), micros


def read_counters(connection: Connection) -> dict[str, dict[str, int]]:
    """Return every total, by name and labels."""
    totals: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(tallies)):
        totals.setdefault(row.name, {})[row.labels] = row.value
    return totals
