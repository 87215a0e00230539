"""Metrics and health: names that Prometheus' own rules accept, numbers that are true."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from models import calendar
from models.policy import Policy
from scheduler.auditor import BookAuditor
from tests.support import sample_commands
from tests.web.gateway_harness import GatewayHarness, post, register_mcn
from workers.database.engine import writing
from workers.database.repository import Store
from workers.database.schema import inbox
from workers.timestamps import SECOND_US, from_us, now_us

UNITS = ("_seconds", "_fen")


def scrape(http_client: TestClient) -> dict[str, Metric]:
    response = http_client.get("/metrics")
    assert response.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(response.text)}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def scrape_after_events(gateway: GatewayHarness) -> tuple[TestClient, dict[str, Metric]]:
    """Let a few things happen, and scrape."""
    http_client = gateway.open()
    post(http_client, sample_commands.admit())
    gateway.settle()
    post(
        http_client,
        [sample_commands.place("o1"), sample_commands.place("o2"), sample_commands.accept("o1")],
    )
    gateway.settle()
    BookAuditor(Store(gateway.engine, Policy())).run_once()
    return http_client, scrape(http_client)


def test_metrics_count_what_happened_once(gateway: GatewayHarness) -> None:
    http_client, families = scrape_after_events(gateway)
    settled_counts = values(families["earnest_commands_settled"])
    assert settled_counts["place_order", "applied"] == 2
    assert settled_counts["accept_order", "rejected"] == 1
    assert values(families["earnest_commands_rejected"]) == {("wrong_state",): 1}
    assert values(families["earnest_orders"])["awaiting_deposit",] == 2
    assert values(families["earnest_deadlines_armed"]) == {("awaiting_deposit",): 2}
    latency = {
        sample.name: sample.value for sample in families["earnest_command_settle_seconds"].samples
    }
    assert latency["earnest_command_settle_seconds_count"] == 5
    assert values(families["earnest_audit_findings"]) == {(): 0}
    second_http_client = gateway.open()
    assert values(scrape(second_http_client)["earnest_commands_settled"]) == settled_counts
    assert values(scrape(http_client)["earnest_up"]) == {(): 1}


def test_how_far_the_calendar_reaches_is_told_where_it_is_in_force(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    assert "earnest_calendar_days_left" not in scrape(http_client)
    policy_file = gateway.settings.var / "policy.json"
    policy_file.write_text('{"day_count": "civil_cn"}')
    families = scrape(gateway.open(policy=policy_file))
    days_left = values(families["earnest_calendar_days_left"])
    assert days_left == {(): calendar.days_left(from_us(now_us()))}
    assert values(families["earnest_calendar_warning_days"]) == {(): 90}


def test_metric_names_follow_our_rules_and_those_of_prometheus(gateway: GatewayHarness) -> None:
    _, families = scrape_after_events(gateway)
    for name, family in families.items():
        assert re.fullmatch(r"earnest_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation, name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), name
        assert not re.search(r"_(ms|us|millis|minutes|hours|kb|mb)(_|$)", name), name
        assert family.type in {"counter", "gauge", "histogram"}, name
        if family.type == "histogram":
            assert name.endswith(UNITS), name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert all(re.fullmatch(r"[a-z]+", label) for label in labels), (name, labels)


def test_no_metric_label_names_a_party(gateway: GatewayHarness) -> None:
    _, families = scrape_after_events(gateway)
    label_values = [
        value
        for family in families.values()
        for sample in family.samples
        for value in sample.labels.values()
    ]
    assert not any(re.search(r"o[12]\b|k1|c1|m1|letter", value) for value in label_values)


def inbox_row(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    row = {
        "command_id": "lost-command",
        "sender": "platform:p",
        "fingerprint": b"x",
        "command": "{}",
        "stamp": 1,
    }
    return row | {"message_id": "inbox-x", "reserved": 1} | changes


def test_health_fails_while_an_accepted_command_is_left_unsettled(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    assert http_client.get("/healthz").status_code == 200
    with writing(gateway.engine) as connection:
        connection.execute(inbox.insert(), inbox_row(received_at=now_us() - 60 * SECOND_US))
    response = http_client.get("/healthz")
    assert response.status_code == 503
    assert response.json()["checks"]["commands"].endswith("s behind")
    assert http_client.get("/readyz").status_code == 200


def test_a_web_process_over_another_schema_version_is_not_ready(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    with writing(gateway.engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert http_client.get("/readyz").status_code == 503
    assert http_client.get("/readyz").json()["checks"]["schema"] == "another version"


def test_accepted_commands_are_counted_until_they_are_settled(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    post(http_client, register_mcn())
    assert values(scrape(http_client)["earnest_inbox_commands"]) == {(): 1}
    gateway.settle()
    assert values(scrape(http_client)["earnest_inbox_commands"]) == {(): 0}
