"""Metrics: the pipeline in numbers, read from the database and Redis when they are asked for.

Nothing is counted in the processes themselves, so it makes no difference how many there are, how
often they restart, or which of several web processes is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from models.errors import TransientError
from ops.web.desk import AtDesk, Desk, Staff
from ops.web.problems import documented
from workers import attention, groups, tallies, watching
from workers.clock import SECOND_US
from workers.database import reading
from workers.watching import Shown

router = APIRouter(tags=["operating"])

TEXT = "text/plain; version=0.0.4; charset=utf-8"

COUNTERS = (
    ("earnest_commands_settled", "settled", "Outcomes on record.", ("kind", "outcome")),
    ("earnest_commands_rejected", "rejected", "Refusals.", ("reason",)),
    ("earnest_events_published", "events", "Events carried to the streams.", ("type",)),
    ("earnest_reminders", "reminders", "Reminders sent.", ("recipient", "cause")),
    ("earnest_deadlines_enforced", "deadlines", "Waits that time has ended.", ("state",)),
)

HISTOGRAMS = (
    ("earnest_command_settle_seconds", "command_settle", "From receipt to outcome on record."),
    ("earnest_command_end_to_end_seconds", "command_end_to_end", "From receipt to publication."),
    ("earnest_deadline_lateness_seconds", "deadline_lateness", "From a deadline to its record."),
    ("earnest_event_publish_seconds", "event_publish", "From record to publication."),
)

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {TEXT: {"schema": {"type": "string"}}}},
        **documented(401, 403, 422),
    },
    operation_id="get_metrics",
)
def metrics(desk: AtDesk, _: Staff) -> Response:
    """Write everything worth watching, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Pipeline(desk))
    return Response(generate_latest(registry), media_type=TEXT)


class Pipeline(Collector):
    """Reads the pipeline for one scrape."""

    def __init__(self, desk: Desk) -> None:
        """Keep where to read."""
        self.desk = desk

    def describe(self) -> list[Family]:
        """Say nothing ahead of time: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Family]:
        """Read everything; while the database is away, say at least that."""
        try:
            families = list(self._families())
        except TransientError:
            yield gauge("earnest_up", "Whether this scrape could read the database.", 0)
            return
        yield gauge("earnest_up", "Whether this scrape could read the database.", 1)
        yield from families

    def _families(self) -> Iterator[Family]:
        desk = self.desk
        with reading(desk.engine) as connection:
            totals = tallies.read(connection)
        yield from counters(totals)
        yield from histograms(totals)
        yield from queue_gauges(watching.queues(desk.engine, desk.client))
        yield from deadline_gauges(watching.deadlines(desk.store, desk.now(), limit=1))
        yield labelled("earnest_orders", "Orders.", "state", watching.states(desk.engine))
        balances = desk.balances.read()
        yield labelled("earnest_money_fen", "Money by account family.", "family", balances)
        yield from debt_gauges("refunds", attention.refunds(desk.engine))
        yield from debt_gauges("payouts", attention.payouts(desk.engine))
        yield from standstill_gauges(attention.standstill(desk.engine, desk.now()))
        yield from reader_gauges(readers(desk))
        yield from audit_gauges(watching.last_audit(desk.engine))


def counters(totals: Mapping[str, Mapping[str, int]]) -> Iterator[Family]:
    """Write the running totals."""
    for name, key, about, labels in COUNTERS:
        family = CounterMetricFamily(name, about, labels=labels)
        for values, count in sorted(totals.get(key, {}).items()):
            family.add_metric(values.split("|"), count)
        yield family


def histograms(totals: Mapping[str, Mapping[str, int]]) -> Iterator[Family]:
    """Write the distributions, each bucket with those below it."""
    for name, key, about in HISTOGRAMS:
        counts, running, buckets = totals.get(f"{key}_le", {}), 0, []
        for edge in (*(f"{edge:g}" for edge in tallies.EDGES_S), "+Inf"):
            running += counts.get(edge, 0)
            buckets.append((edge, float(running)))
        family = HistogramMetricFamily(name, about)
        seconds = totals.get(f"{key}_sum_us", {}).get("", 0) / SECOND_US
        family.add_metric([], buckets=buckets, sum_value=seconds)
        yield family


def queue_gauges(found: Shown) -> Iterator[Family]:
    """Write what waits."""
    waiting = {name: one["waiting"] for name, one in found["queues"].items()}
    flying = {name: one["in_flight"] for name, one in found["queues"].items()}
    yield labelled("earnest_queue_messages", "Messages nobody has taken.", "queue", waiting)
    yield labelled("earnest_queue_in_flight_messages", "Taken, not settled.", "queue", flying)
    oldest, kept, outbox = found["oldest_seconds"], found["inbox"], found["outbox"]
    yield gauge("earnest_redis_up", "Whether Redis answers.", found["redis"] == "up")
    yield gauge("earnest_queue_oldest_seconds", "Age of the oldest unsettled command.", oldest)
    yield gauge("earnest_inbox_commands", "Accepted over HTTP, unsettled.", kept["commands"])
    yield gauge("earnest_inbox_oldest_seconds", "Age of the oldest.", kept["oldest_seconds"])
    yield gauge("earnest_workers_alive", "Workers heard of lately.", found["workers_alive"])
    yield gauge("earnest_outbox_events", "Recorded, not published.", outbox["events"])
    yield gauge("earnest_outbox_lag_seconds", "Age of the oldest.", outbox["lag_seconds"])
    yield gauge("earnest_quarantine_items", "What was no message.", found["quarantine"])
    yield gauge("earnest_dead_letters", "Commands nothing settles.", found["dead_letters"])


def readers(desk: Desk) -> list[groups.Group]:
    """Find who reads the streams; nobody is known while Redis is away."""
    try:
        return groups.groups(desk.client, desk.settings.retention)
    except (TransientError, redis.RedisError):
        return []


def reader_gauges(found: Sequence[groups.Group]) -> Iterator[Family]:
    """Write how far each consumer group is."""
    labels = ("stream", "group")
    lag = GaugeMetricFamily("earnest_stream_group_lag", "Never taken.", labels=labels)
    pending = GaugeMetricFamily("earnest_stream_group_pending", "Not settled.", labels=labels)
    behind = GaugeMetricFamily("earnest_stream_group_behind", "Held back for it.", labels=labels)
    for one in found:
        where = [one.stream, one.name]
        lag.add_metric(where, one.lag)
        pending.add_metric(where, one.pending)
        behind.add_metric(where, one.behind)
    yield from (lag, pending, behind)


def deadline_gauges(found: Shown) -> Iterator[Family]:
    """Write what time will end."""
    worst = found["worst_overdue_seconds"]
    yield labelled("earnest_deadlines_armed", "Orders that wait.", "state", found["armed"])
    yield gauge("earnest_deadlines_overdue", "Passed and not enforced.", found["overdue"])
    yield gauge("earnest_deadlines_overdue_seconds", "How late the worst is.", worst)


def debt_gauges(kind: str, owed: Shown) -> Iterator[Family]:
    """Write what is owed and has not left."""
    about = f"{kind.capitalize()} not confirmed."
    yield gauge(f"earnest_{kind}_waiting", about, owed["waiting"])
    yield gauge(f"earnest_{kind}_waiting_fen", "What they come to.", owed["fen"])
    yield gauge(f"earnest_{kind}_oldest_seconds", "Age of the oldest.", owed["oldest_seconds"])


def standstill_gauges(found: Shown) -> Iterator[Family]:
    """Write what only people can set in motion again; orders in arbitration count by state."""
    stopped, overdue = found["clocks_stopped"], found["arbitrations_overdue"]
    yield gauge("earnest_clocks_stopped", "Orders whose clock stands still.", stopped)
    yield gauge("earnest_arbitrations_overdue", "Undecided past their window.", overdue)
    yield gauge("earnest_creators_banned", "Creators under a ban.", found["creators_banned"])


def audit_gauges(found: Shown | None) -> Iterator[Family]:
    """Write the last verdict on the books, once there is one."""
    if found is not None:
        yield gauge("earnest_audit_findings", "Laws broken.", len(found["findings"]))
        yield gauge("earnest_audit_age_seconds", "Since the last audit.", found["age_seconds"])
        took = found["took_ms"] / 1000
        yield gauge("earnest_audit_duration_seconds", "What it took.", took)


def gauge(name: str, about: str, value: float) -> Family:
    """Write one number."""
    return GaugeMetricFamily(name, about, value=float(value))


def labelled(name: str, about: str, label: str, values: Mapping[str, Any]) -> Family:
    """Write one number per label."""
    family = GaugeMetricFamily(name, about, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], float(value))
    return family
