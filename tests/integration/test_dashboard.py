"""Dashboard: every number that deploy/ shows or alerts on is one that the pipeline gives."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from ops.web.dependencies import open_desk
from ops.web.routes.metrics import Pipeline
from scheduler.auditor import AuditTick
from tests.support.store_harness import Desk
from tests.unit.test_deploy import asked_of_metrics
from workers.outbox import streams as event_streams
from workers.outbox.relay import Relay
from workers.outbox.streams import EVENTS
from workers.queue.redis import connect
from workers.settings import Settings

# How a counter and a histogram are spelt in queries.
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def test_every_metric_of_the_dashboard_and_the_alerts_is_there(
    tmp_path: Path, desk: Desk, redis_url: str
) -> None:
    desk.bring("cancelled_at_work")
    redis_client = connect(redis_url)
    event_streams.create(redis_client, EVENTS, "mail", start="0")
    Relay(desk.engine, redis_client).run_once()
    AuditTick(desk.store).run_once()
    url = desk.engine.url.render_as_string(hide_password=False)
    environ = {"EARNEST_DATABASE_URL": url, "EARNEST_REDIS_URL": redis_url}
    registry, context = CollectorRegistry(), open_desk(Settings.read(environ, var=tmp_path))
    registry.register(Pipeline(context))
    text = generate_latest(registry).decode()
    context.engine.dispose()
    metric_names = {
        SUFFIX.sub("", name) for name in re.findall(r"^(earnest_\w+)", text, re.MULTILINE)
    }
    metric_names |= set(re.findall(r"^# TYPE (earnest_\w+)", text, re.MULTILINE))
    assert {SUFFIX.sub("", name) for name in asked_of_metrics()} - metric_names == set()
