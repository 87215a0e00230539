"""Model: the rules alone, given what was received and when, must come to the same events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, select

from models.commands.parsing import MalformedCommand, parse_command
from models.policy import Policy
from models.service.dependencies import dependencies_of
from models.service.unit_of_work import UnitOfWork
from ops.simulation.simulate import Simulation, SimulationStep
from tests.fault.checks.checker import CheckerFinding, FindingKind
from tests.fault.checks.collected import CollectedRun
from workers.database import schema
from workers.database.engine import reading
from workers.database.repository import Store
from workers.processing.batch import PATIENCE
from workers.queries.audit import audit
from workers.timestamps import MICROSECOND, from_us

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
    texts = {
        submission.command_id: submission.text
        for submission in evidence.sent
        if submission.command_id
    }
    with reading(engine) as connection:
        table = schema.receipts
        query = select(table).order_by(table.c.received_at, table.c.stamp)
        receipts = [row for row in connection.execute(query) if row.command_id in texts]
        orders = connection.execute(
            select(schema.orders.c.order_id, schema.orders.c.policy_version)
        ).all()
    policies_by_version = Store(engine, policy).known_policies()
    policy_by_order = {
        order.order_id: policies_by_version[order.policy_version] for order in orders
    }
    simulation, ambiguous_ids = (
        Simulation(UnitOfWork(policy=policy)),
        _possibly_overtaken(receipts, texts),
    )
    expected: EventsByOrder = defaultdict(list)
    for row in receipts:
        # Each was placed under the policy in force where it was settled.
        simulation.state.policy = policy_by_order.get(row.about, policy)
        for line in simulation.play(
            SimulationStep(from_us(row.received_at), texts[row.command_id])
        ):
            _record(line, expected)
            if (
                line.get("id") != row.command_id
                or _orders_concerned(texts[row.command_id]) & ambiguous_ids
            ):
                continue
            if (line["outcome"], line["reason"]) != (row.outcome, row.reason):
                kind: FindingKind = "early" if row.reason == "late" else "wrong"
                detail = f"{row.outcome} {row.reason}, not {line['outcome']} {line['reason']}"
                yield CheckerFinding(kind, "rules", row.command_id, detail)
    for line in simulation.advance(from_us(evidence.until_us) + LONG_AFTER):
        _record(line, expected)
    yield from _compare(evidence, expected, ambiguous_ids)


def _record(line: dict[str, Any], events_by_order: EventsByOrder) -> None:
    for event in line["events"]:
        if "order_id" in event and not event["type"].endswith(".reminded"):
            events_by_order[event["order_id"]].append(
                (event["type"], event["at"], event["caused_by"])
            )


def _compare(
    evidence: CollectedRun, expected: EventsByOrder, ambiguous_ids: set[str]
) -> Iterator[CheckerFinding]:
    """Compare what happened to each order, but for reminders: those bear the instant of sending."""
    actual: EventsByOrder = defaultdict(list)
    for event in evidence.events:
        if event.subject.startswith("order:") and not event.type.endswith(".reminded"):
            entry = (event.type, event.body["at"], event.caused_by)
            actual[event.subject.removeprefix("order:")].append(entry)
    for order_id in (expected.keys() | actual.keys()) - ambiguous_ids:
        if expected[order_id] != actual[order_id]:
            detail = f"{actual[order_id]}, not {expected[order_id]}"
            yield CheckerFinding("wrong", "rules", f"order:{order_id}", detail)


def _possibly_overtaken(receipts: Any, texts: dict[str, str]) -> set[str]:  # noqa: ANN401 - rows
    """Name orders mentioned shortly before they were placed: patience decides there, not order."""
    placements, mentions = {}, defaultdict(list)
    for row in receipts:
        command = parse_command(texts[row.command_id])
        if command.kind == "place_order":
            placements[command.order_id] = row.received_at, row.stamp
        else:
            for order_id in dependencies_of([command]).orders:
                mentions[order_id].append((row.received_at, row.stamp))
    slack = 2 * PATIENCE // MICROSECOND
    return {
        order_id
        for order_id, placement in placements.items()
        if any(
            mention < placement and placement[0] - slack <= mention[0]
            for mention in mentions[order_id]
        )
    }


def _orders_concerned(text: str) -> set[str]:
    try:
        return dependencies_of([parse_command(text)]).orders
    except MalformedCommand:
        return set()
