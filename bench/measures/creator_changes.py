"""Creator changes: a ban, its end and a contract's end of whoever has a hundred thousand orders."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from bench import workload
from bench.measures.deadlines import CHUNK, LAST_REMINDER, offered_order
from bench.measures.latency import people, percentile, ready_client
from bench.servers import TIMEOUT_S, BenchServers, process_command, running_servers
from models.creators import Creator
from models.events.notifications import OutcomeStatus
from models.ids import make_command_key
from models.policy import Policy
from ops.terminal import Progress
from workers.client import CommandClient
from workers.database import bulk, mappers, schema
from workers.database.engine import reading, writing
from workers.database.repository import Store, orders_to_tell_query
from workers.queries.reader import Reader
from workers.timestamps import SECOND_US

BANNED, LEAVING = "k_banned", "k_leaving"

LEAD = timedelta(days=6)
"""When the orders would lapse: not before all is measured."""

PEOPLE_PER_S, PEOPLE_FROM = 100, 10_000_000
"""How many orders people place a second, and from which number on."""

WARM_UP_S = 1.0

POLL_INTERVAL_S = 0.25

JUDGED = 50
"""Commands about the creator's orders, handed in right after the change."""

COLUMNS = ("orders", "spread_s", "largest", "people", "people_p50_ms", "people_p99_ms", "wrong")


@dataclass(frozen=True, slots=True)
class CreatorChange:
    """What happens to a creator: what is sent, what its orders learn, and who finds out at once.

    `probes` are commands about its orders, which all end with `outcome` if they are judged as the
    creator is after the change, and otherwise if they were judged as it was before.
    """

    name: str
    creator_id: str
    commands: tuple[str, ...]
    event_type: str
    probes: tuple[str, ...]
    outcome: OutcomeStatus


def figures(database: str, count: int) -> dict[str, dict[str, float]]:
    """Change what a creator with so many open orders may do, three times, while people send.

    `spread_s` is from the change to the last of its orders that has learned of it, `largest` the
    most of them in one transaction; `wrong` counts commands about its orders that were received
    after the change and judged as if before.
    """
    results: dict[str, dict[str, float]] = {}
    with running_servers(database) as servers:
        write_orders(servers, count, BANNED, workload.accept(0))
        write_orders(servers, count, LEAVING)
        with servers.running(*map(process_command, ("worker", "worker", "relay", "scheduler"))):
            client = ready_client(servers)
            for number, change in enumerate(changes(count)):
                results[change.name] = measure(servers, client, change, count, number)
    return results


def changes(count: int) -> Iterator[CreatorChange]:
    """Say what happens; probes are about the last of the orders, which learn of it last."""
    probed = range(max(0, count - JUDGED), count)
    yield CreatorChange(
        "ban",
        BANNED,
        (workload.registration(BANNED), report("bench_1"), report("bench_2")),
        "clock.stopped",
        # Whoever waits for a banned creator may leave without a loss.
        tuple(cancel("after_ban", number) for number in probed[::2]),
        "applied",
    )
    yield CreatorChange(
        "end of the ban",
        BANNED,
        (overturn("bench_2"),),
        "clock.resumed",
        tuple(cancel("after_end", number) for number in probed[1::2]),
        "rejected",
    )
    yield CreatorChange(
        "end of a contract",
        LEAVING,
        (workload.registration(LEAVING), end_contract()),
        "order.declined",
        tuple(accept(number) for number in probed),
        "rejected",
    )


def measure(
    servers: BenchServers, client: CommandClient, change: CreatorChange, count: int, number: int
) -> dict[str, float]:
    """Let one change happen while people send, and look what it came to."""
    changes_before = last_change(servers, change)
    with people(servers, PEOPLE_PER_S, first=PEOPLE_FROM * (number + 1)) as recorder:
        time.sleep(WARM_UP_S)
        began_us = stamp_now(servers)
        client.submit_many([*change.commands, *change.probes], per_message=1)
        wait_until_spread(servers, change, changes_before, count)
    batches = effects(servers, change, began_us)
    waits = recorder.milliseconds()
    return {
        "orders": sum(size for _, size in batches),
        "spread_s": round((max(at for at, _ in batches) - began_us) / SECOND_US, 1),
        "largest": max(size for _, size in batches),
        "people": len(waits),
        "people_p50_ms": round(percentile(waits, 50), 1),
        "people_p99_ms": round(percentile(waits, 99), 1),
        "wrong": count_wrong(servers, change),
    }


def wait_until_spread(
    servers: BenchServers, change: CreatorChange, changes_before: int, count: int
) -> None:
    """Wait until every open order of a creator knows of a change, and show how many do."""
    until = time.monotonic() + TIMEOUT_S
    with Progress(f"orders know of the {change.name}", count) as progress:
        while time.monotonic() < until:
            time.sleep(POLL_INTERVAL_S)
            creator = read_creator(servers, change)
            if creator is None or creator.last_change == changes_before:
                continue
            # What is left is cheap to count: an index is in this order.
            query = orders_to_tell_query(change.creator_id, creator.last_change)
            with reading(servers.engine) as connection:
                rest = connection.execute(select(func.count()).select_from(query.subquery()))
                progress.add(count - int(rest.scalar_one()) - progress.done)
            if creator.spread_from is None:
                return
    raise TimeoutError(f"the {change.name} has not spread in {TIMEOUT_S:.0f} s")


def read_creator(servers: BenchServers, change: CreatorChange) -> Creator | None:
    """Read the creator as it is stored, None before its registration is settled."""
    table = schema.creators
    with reading(servers.engine) as connection:
        query = table.select().where(table.c.creator_id == change.creator_id)
        row = connection.execute(query).first()
    return None if row is None else mappers.CREATORS.read(row)


def last_change(servers: BenchServers, change: CreatorChange) -> int:
    """Return the number of the creator's latest event that its orders learn of, 0 for none."""
    creator = read_creator(servers, change)
    return 0 if creator is None else creator.last_change


def effects(servers: BenchServers, change: CreatorChange, began_us: int) -> list[tuple[int, int]]:
    """Return when orders learned of a change, in microseconds, and how many in one transaction.

    All events of a transaction are recorded at one instant.
    """
    table = schema.events.c
    query = select(table.recorded_at, func.count()).where(
        table.type == change.event_type,
        table.recorded_at >= began_us,
        table.caused_by.not_like("command:%"),
    )
    with reading(servers.engine) as connection:
        rows = connection.execute(query.group_by(table.recorded_at)).all()
    return [(int(recorded_at), int(size)) for recorded_at, size in rows]


def count_wrong(servers: BenchServers, change: CreatorChange) -> int:
    """Count commands about a creator's orders that were not judged as it is after the change."""
    keys = [
        make_command_key(f"{body['by']['role']}:{body['by']['id']}", body["id"])
        for body in map(json.loads, change.probes)
    ]
    receipts = Reader(Store(servers.engine, Policy())).outcomes(keys)
    outcomes = [receipts[key].outcome if key in receipts else None for key in keys]
    return sum(outcome != change.outcome for outcome in outcomes)


def write_orders(servers: BenchServers, count: int, creator_id: str, *steps: str) -> None:
    """Write a creator's open orders straight into the table, as if placed long ago."""
    policy = Policy()
    Store(servers.engine, policy).adopt_policy()
    order, placed_fact = offered_order(policy, *steps)
    due_at = datetime.now(UTC) + LEAD
    with Progress(f"orders of {creator_id} written", count) as progress:
        for first in range(0, count, CHUNK):
            orders = [
                replace(
                    order,
                    order_id=order_id_of(creator_id, number),
                    creator_id=creator_id,
                    client_id=f"c{number % 10_000}",
                    due_at=due_at,
                    reminded=LAST_REMINDER,
                )
                for number in range(first, min(first + CHUNK, count))
            ]
            rows = [
                mappers.new_order_row(order, order.wake_at, placed_fact, None) for order in orders
            ]
            with writing(servers.engine) as connection:
                bulk.insert(connection, schema.orders, rows)
            progress.add(len(rows))


def order_id_of(creator_id: str, number: int) -> str:
    """Name one of a creator's orders."""
    return f"{creator_id}_{number:08}"


def report(violation_id: str) -> str:
    """Report a violation: the second one bans."""
    return workload.command_text(
        id=f"report_{violation_id}",
        kind="report_violation",
        by={"role": "platform", "id": "bench"},
        violation_id=violation_id,
        creator_id=BANNED,
        url="https://elsewhere.example/ad",
        seen_at=datetime.now(UTC).isoformat(),
        evidence="a screenshot",
    )


def overturn(violation_id: str) -> str:
    """Overturn a violation, and so end its ban."""
    return workload.command_text(
        id=f"overturn_{violation_id}",
        kind="overturn_violation",
        by={"role": "operator", "id": "bench"},
        violation_id=violation_id,
        reason="it was somebody else's",
    )


def end_contract() -> str:
    """End a creator's contract: nobody will answer its offers."""
    return workload.command_text(
        id="end_contract",
        kind="end_contract",
        by={"role": "creator", "id": LEAVING},
        creator_id=LEAVING,
    )


def cancel(prefix: str, number: int) -> str:
    """Leave an accepted order, as its client, if that costs nothing."""
    return workload.command_text(
        id=f"{prefix}_{number:08}",
        kind="cancel_order",
        by={"role": "client", "id": f"c{number % 10_000}"},
        order_id=order_id_of(BANNED, number),
    )


def accept(number: int) -> str:
    """Accept an offer, as a creator who has just left."""
    return workload.command_text(
        id=f"accept_{number:08}",
        kind="accept_order",
        by={"role": "creator", "id": LEAVING},
        order_id=order_id_of(LEAVING, number),
    )


def stamp_now(servers: BenchServers) -> int:
    """Return what Redis's clock says, in microseconds."""
    seconds, micros = servers.redis.time()
    return int(seconds * SECOND_US + micros)
