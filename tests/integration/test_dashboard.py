"""Dashboard: every metric that deploy/ shows or alerts on is one that the pipeline exports."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from ops.web.dependencies import open_context
from ops.web.routes.metrics import PipelineCollector
from scheduler.auditor import BookAuditor
from tests.support.store_harness import StoreHarness
from tests.unit.test_deploy import queried_metrics
from workers.outbox import streams as event_streams
from workers.outbox.relay import Relay
from workers.outbox.streams import EVENTS_STREAM
from workers.queue.redis import connect
from workers.settings import Settings

# How a counter and a histogram are spelt in queries.
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def test_every_metric_of_the_dashboard_and_the_alerts_is_there(
    tmp_path: Path, harness: StoreHarness, redis_url: str
) -> None:
    harness.bring_to("cancelled_at_work")
    redis_client = connect(redis_url)
    event_streams.create_group(redis_client, EVENTS_STREAM, "mail", start="0")
    Relay(harness.engine, redis_client).run_once()
    BookAuditor(harness.store).run_once()
    url = harness.engine.url.render_as_string(hide_password=False)
    policy_path = tmp_path / "policy.json"
    policy_path.write_text('{"day_count": "civil_cn"}', encoding="utf-8")
    environ = {"EARNEST_DATABASE_URL": url, "EARNEST_REDIS_URL": redis_url}
    environ["EARNEST_POLICY"] = str(policy_path)
    registry, context = CollectorRegistry(), open_context(Settings.read(environ, var=tmp_path))
    registry.register(PipelineCollector(context))
    text = generate_latest(registry).decode()
    context.engine.dispose()
    metric_names = {
        SUFFIX.sub("", name) for name in re.findall(r"^(earnest_\w+)", text, re.MULTILINE)
    }
    metric_names |= set(re.findall(r"^# TYPE (earnest_\w+)", text, re.MULTILINE))
    assert {SUFFIX.sub("", name) for name in queried_metrics()} - metric_names == set()
