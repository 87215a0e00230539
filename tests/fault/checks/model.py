"""Model: the rules alone, given what was received and when, must come to the same events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import Engine, select

from models.ids import make_command_key
from models.policy import Policy
from models.service.unit_of_work import UnitOfWork
from ops.simulation.simulate import Simulation, SimulationStep
from tests.fault.checks.checker import CheckerFinding, FindingKind
from tests.fault.checks.collected import CollectedRun
from workers.database import schema
from workers.database.engine import reading
from workers.database.repository import Store
from workers.queries.audit import audit
from workers.timestamps import from_us

# Short of the fortnight in which a first work is due: nobody works in these trials.
LONG_AFTER = timedelta(days=12)
EventsByOrder = dict[str, list[tuple[Any, ...]]]


def audit_findings(engine: Engine, policy: Policy) -> Iterator[CheckerFinding]:
    """Return what the production audit finds: it replays every order from its events."""
    for finding in audit(Store(engine, policy)).findings:
        yield CheckerFinding("wrong", f"books.{finding.law}", finding.where, finding.detail)


def model_findings(
    engine: Engine, evidence: CollectedRun, policy: Policy
) -> Iterator[CheckerFinding]:
    """Play what was received, at the instants of the receipts, through the rules alone.

    Whatever was killed, stalled or doubled: rights may depend on nothing but those instants. What
    was in time and came out late is counted as a deadline that took effect too early.
    """
    texts = {submission.key: submission.text for submission in evidence.sent}
    with reading(engine) as connection:
        table = schema.receipts
        query = select(table).order_by(table.c.stamp)
        rows = connection.execute(query).all()
        keys = [make_command_key(row.sender, row.command_id) for row in rows]
        receipts = {key: row for key, row in zip(keys, rows, strict=True) if key in texts}
        orders = connection.execute(
            select(schema.orders.c.order_id, schema.orders.c.policy_version)
        ).all()
    policies_by_version = Store(engine, policy).known_policies()
    policy_by_order = {
        order.order_id: policies_by_version[order.policy_version] for order in orders
    }
    simulation = Simulation(UnitOfWork(policy=policy))
    expected: EventsByOrder = defaultdict(list)
    lines: list[dict[str, Any]] = []
    for key, row in receipts.items():
        # Each was placed under the policy in force where it was settled.
        simulation.state.policy = policy_by_order.get(row.about, policy)
        lines += simulation.play(SimulationStep(from_us(row.received_at), texts[key]))
    lines += simulation.advance(from_us(evidence.until_us) + LONG_AFTER)
    for line in lines:
        if "outcome" in line:
            yield from _compare_outcome(line, receipts)
    # What a placement releases may happen between two events that stand in the placement's line.
    for event in sorted((e for line in lines for e in line["events"]), key=itemgetter("sequence")):
        _record(event, expected)
    yield from _compare(evidence, expected)


def _compare_outcome(line: dict[str, Any], receipts: dict[str, Any]) -> Iterator[CheckerFinding]:
    """Compare what a command came to; one that came before its order is answered with it."""
    key = make_command_key(line["sender"], line["id"])
    row, expected = receipts[key], (line["outcome"], line["reason"])
    if expected != (row.outcome, row.reason):
        kind: FindingKind = "early" if row.reason == "late" else "wrong"
        detail = f"{row.outcome} {row.reason}, not {expected[0]} {expected[1]}"
        yield CheckerFinding(kind, "rules", key, detail)


def _record(event: dict[str, Any], events_by_order: EventsByOrder) -> None:
    if "order_id" in event and not event["type"].endswith(".reminded"):
        entry = (event["type"], event["at"], event["caused_by"])
        events_by_order[event["order_id"]].append(entry)


def _compare(evidence: CollectedRun, expected: EventsByOrder) -> Iterator[CheckerFinding]:
    """Compare what happened to each order, but for reminders: those bear the instant of sending."""
    actual: EventsByOrder = defaultdict(list)
    for event in evidence.events:
        if event.subject.startswith("order:") and not event.type.endswith(".reminded"):
            entry = (event.type, event.body["at"], event.caused_by)
            actual[event.subject.removeprefix("order:")].append(entry)
    for order_id in expected.keys() | actual.keys():
        if expected[order_id] != actual[order_id]:
            detail = f"{actual[order_id]}, not {expected[order_id]}"
            yield CheckerFinding("wrong", "rules", f"order:{order_id}", detail)
