"""Metrics: the pipeline in numbers, read from the database and Redis when they are asked for.

Nothing is counted in the processes themselves, so it makes no difference how many there are, how
often they restart, or which of several web processes is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis
from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from models import calendar
from models.errors import TransientError
from ops.web.dependencies import AppContext, Context, ObservingCaller
from ops.web.errors import error_responses
from workers.database.engine import reading
from workers.outbox import counters as event_counters
from workers.outbox import streams as event_streams
from workers.outbox.timeline import find_setback
from workers.processing.failures import DROPPED_TOTAL
from workers.queries import monitoring
from workers.queries.monitoring import Snapshot
from workers.timestamps import SECOND_US

router = APIRouter(tags=["operating"])

PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COUNTERS = (
    ("earnest_commands_settled", "settled", "Outcomes on record.", ("kind", "outcome")),
    ("earnest_commands_rejected", "rejected", "Refusals.", ("reason",)),
    (
        "earnest_commands_judged_out_of_order",
        event_counters.JUDGED_OUT_OF_ORDER,
        "Judged after one that was received later: replayed dead letters, or a fault.",
        (),
    ),
    ("earnest_events_published", "events", "Events carried to the streams.", ("type",)),
    ("earnest_operator_alerts", "alerts", "Alerts to an operator.", ("alert",)),
    ("earnest_reminders", "reminders", "Reminders sent.", ("recipient", "cause")),
    ("earnest_deadlines_enforced", "deadlines", "Waits that time has ended.", ("state",)),
    ("earnest_quarantine_dropped", DROPPED_TOTAL, "Dropped: there was no room for more.", ()),
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
        200: {"content": {PROMETHEUS_TYPE: {"schema": {"type": "string"}}}},
        **error_responses(401, 403, 422),
    },
    operation_id="get_metrics",
)
def metrics(context: Context, _: ObservingCaller) -> Response:
    """Write everything worth watching, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(PipelineCollector(context))
    return Response(generate_latest(registry), media_type=PROMETHEUS_TYPE)


class PipelineCollector(Collector):
    """Reads the pipeline for one scrape."""

    def __init__(self, context: AppContext) -> None:
        """Prepare to read what `context` leads to."""
        self.context = context

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
        context = self.context
        with reading(context.engine) as connection:
            totals = event_counters.read_counters(connection)
        yield from counters(totals)
        yield from histograms(totals)
        yield from queue_gauges(monitoring.queue_status(context.engine, context.client))
        yield from setback_gauges(context)
        yield from deadline_gauges(
            monitoring.deadline_status(context.store, context.now(), limit=1)
        )
        yield labelled(
            "earnest_orders", "Orders.", "state", monitoring.orders_by_state(context.engine)
        )
        balances = context.balances.read()
        yield labelled("earnest_money_fen", "Money by account family.", "family", balances)
        yield from debt_gauges("refunds", monitoring.refunds_waiting(context.engine))
        yield from debt_gauges("payouts", monitoring.payouts_waiting(context.engine))
        yield from standstill_gauges(monitoring.standstill_counts(context.engine, context.now()))
        yield from group_gauges(consumer_groups(context))
        yield from audit_gauges(monitoring.last_audit(context.engine))
        yield from calendar_gauges(context)


def counters(totals: Mapping[str, Mapping[str, int]]) -> Iterator[Family]:
    """Write the running totals."""
    for name, key, description, labels in COUNTERS:
        family = CounterMetricFamily(name, description, labels=labels)
        for label_values, count in sorted(totals.get(key, {}).items()):
            family.add_metric(label_values.split("|") if labels else (), count)
        yield family


def histograms(totals: Mapping[str, Mapping[str, int]]) -> Iterator[Family]:
    """Write the distributions, each bucket with those below it."""
    for name, key, description in HISTOGRAMS:
        counts, cumulative, buckets = totals.get(f"{key}_le", {}), 0, []
        for edge in (*(f"{edge:g}" for edge in event_counters.BUCKET_EDGES_S), "+Inf"):
            cumulative += counts.get(edge, 0)
            buckets.append((edge, float(cumulative)))
        family = HistogramMetricFamily(name, description)
        seconds = totals.get(f"{key}_sum_us", {}).get("", 0) / SECOND_US
        family.add_metric([], buckets=buckets, sum_value=seconds)
        yield family


def setback_gauges(context: AppContext) -> Iterator[Family]:
    """Write whether the database lacks what was published; nothing while Redis is away."""
    with suppress(TransientError):
        is_behind = find_setback(context.engine, context.client) is not None
        description = "Whether the database lacks what was published."
        yield gauge("earnest_database_behind", description, is_behind)


def queue_gauges(snapshot: Snapshot) -> Iterator[Family]:
    """Write what waits."""
    waiting = {name: queue["waiting"] for name, queue in snapshot["queues"].items()}
    in_flight = {name: queue["in_flight"] for name, queue in snapshot["queues"].items()}
    yield labelled("earnest_queue_messages", "Messages nobody has taken.", "queue", waiting)
    yield labelled("earnest_queue_in_flight_messages", "Taken, not settled.", "queue", in_flight)
    oldest_s, inbox, outbox = snapshot["oldest_seconds"], snapshot["inbox"], snapshot["outbox"]
    yield gauge("earnest_redis_up", "Whether Redis answers.", snapshot["redis"] == "up")
    yield gauge("earnest_queue_oldest_seconds", "Age of the oldest unsettled command.", oldest_s)
    yield gauge("earnest_inbox_commands", "Accepted over HTTP, unsettled.", inbox["commands"])
    yield gauge("earnest_inbox_oldest_seconds", "Age of the oldest.", inbox["oldest_seconds"])
    yield gauge("earnest_workers_alive", "Workers heard of lately.", snapshot["workers_alive"])
    stalled_count = len(snapshot["stalled"])
    yield gauge("earnest_commands_stalled", "Held back for more than 10 s.", stalled_count)
    is_locked = bool(snapshot["locked_by"])
    yield gauge("earnest_database_locked", "Whether another program keeps all from it.", is_locked)
    if snapshot["held"] is not None:
        description = "Held back until something received earlier was settled."
        yield CounterMetricFamily("earnest_commands_held", description, value=snapshot["held"])
    yield gauge("earnest_outbox_events", "Recorded, not published.", outbox["events"])
    yield gauge("earnest_outbox_lag_seconds", "Age of the oldest.", outbox["lag_seconds"])
    yield gauge("earnest_quarantine_items", "What was no message.", snapshot["quarantine"])
    yield gauge("earnest_dead_letters", "Commands nothing settles.", snapshot["dead_letters"])


def consumer_groups(context: AppContext) -> list[event_streams.ConsumerGroup]:
    """List who reads the streams; nobody is known while Redis is away."""
    try:
        return event_streams.list_groups(context.client, context.settings.retention)
    except (TransientError, redis.RedisError):
        return []


def group_gauges(groups: Sequence[event_streams.ConsumerGroup]) -> Iterator[Family]:
    """Write how far each consumer group is."""
    labels = ("stream", "group")
    lag = GaugeMetricFamily("earnest_stream_group_lag", "Never taken.", labels=labels)
    pending = GaugeMetricFamily("earnest_stream_group_pending", "Not settled.", labels=labels)
    behind = GaugeMetricFamily("earnest_stream_group_behind", "Held back for it.", labels=labels)
    for group in groups:
        label_values = [group.stream, group.name]
        lag.add_metric(label_values, group.lag)
        pending.add_metric(label_values, group.pending)
        behind.add_metric(label_values, group.behind)
    yield from (lag, pending, behind)


def deadline_gauges(deadlines: Snapshot) -> Iterator[Family]:
    """Write what time will end."""
    worst_overdue_s = deadlines["worst_overdue_seconds"]
    yield labelled("earnest_deadlines_armed", "Orders that wait.", "state", deadlines["armed"])
    yield gauge("earnest_deadlines_overdue", "Passed and not enforced.", deadlines["overdue"])
    yield gauge("earnest_deadlines_overdue_seconds", "How late the worst is.", worst_overdue_s)


def debt_gauges(kind: str, debts: Snapshot) -> Iterator[Family]:
    """Write what is owed and has not left."""
    description = f"{kind.capitalize()} not confirmed."
    yield gauge(f"earnest_{kind}_waiting", description, debts["waiting"])
    yield gauge(f"earnest_{kind}_waiting_fen", "What they come to.", debts["fen"])
    yield gauge(f"earnest_{kind}_oldest_seconds", "Age of the oldest.", debts["oldest_seconds"])
    yield gauge(f"earnest_{kind}_failed", "Owed after a failed attempt.", debts["failed"])
    if "held" in debts:
        yield gauge(f"earnest_{kind}_held", "Not to be sent for now.", debts["held"])
        yield gauge(f"earnest_{kind}_held_fen", "What they come to.", debts["held_fen"])


def standstill_gauges(standstill: Snapshot) -> Iterator[Family]:
    """Write what only people can set in motion again; orders in arbitration count by state."""
    stopped_clocks = standstill["clocks_stopped"]
    overdue_arbitrations = standstill["arbitrations_overdue"]
    yield gauge("earnest_clocks_stopped", "Orders whose clock stands still.", stopped_clocks)
    yield gauge(
        "earnest_arbitrations_overdue", "Undecided past their window.", overdue_arbitrations
    )
    yield gauge("earnest_creators_banned", "Creators under a ban.", standstill["creators_banned"])


def audit_gauges(audit: Snapshot | None) -> Iterator[Family]:
    """Write what the last audit found, once there has been one."""
    if audit is not None:
        yield gauge("earnest_audit_findings", "Laws broken.", len(audit["findings"]))
        yield gauge("earnest_audit_age_seconds", "Since the last audit.", audit["age_seconds"])
        duration_s = audit["took_ms"] / 1000
        yield gauge("earnest_audit_duration_seconds", "What it took.", duration_s)


def calendar_gauges(context: AppContext) -> Iterator[Family]:
    """Write how far the calendar of working days reaches, where it is in force."""
    if context.store.policy.day_count == "civil_cn":
        days_left = calendar.days_left(context.now())
        warning_days = context.store.policy.calendar_warning / calendar.ONE_DAY
        yield gauge("earnest_calendar_days_left", "Days until the calendar ends.", days_left)
        yield gauge("earnest_calendar_warning_days", "Fewer are too few.", warning_days)


def gauge(name: str, description: str, value: float) -> Family:
    """Write one number."""
    return GaugeMetricFamily(name, description, value=float(value))


def labelled(name: str, description: str, label: str, values: Mapping[str, Any]) -> Family:
    """Write one number per label."""
    family = GaugeMetricFamily(name, description, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], float(value))
    return family
