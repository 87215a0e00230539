"""Metrics and health: names that Prometheus' own rules accept, numbers that are true."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from models.policy import Policy
from tests.integration import letters
from tests.web.conftest import House
from tests.web.test_commands import mcn, post
from workers.audit_tick import AuditTick
from workers.clock import SECOND_US, now_us
from workers.database import writing
from workers.door_tables import inbox
from workers.store import Store

UNITS = ("_seconds", "_fen")


def scraped(web: TestClient) -> dict[str, Metric]:
    answer = web.get("/metrics")
    assert answer.status_code == 200
    return {one.name: one for one in text_string_to_metric_families(answer.text)}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(one.labels.values()): one.value for one in family.samples}


def told(house: House) -> tuple[TestClient, dict[str, Metric]]:
    """Let a few things happen, and scrape."""
    web = house.open()
    post(web, letters.admit())
    house.settle()
    post(web, [letters.place("o1"), letters.place("o2"), letters.accept("o1")])
    house.settle()
    AuditTick(Store(house.engine, Policy())).run_once()
    return web, scraped(web)


def test_what_happened_is_counted_once(house: House) -> None:
    web, found = told(house)
    settled = values(found["earnest_commands_settled"])
    assert settled["place_order", "applied"] == 2
    assert settled["accept_order", "rejected"] == 1
    assert values(found["earnest_commands_rejected"]) == {("wrong_state",): 1}
    assert values(found["earnest_orders"])["awaiting_deposit",] == 2
    assert values(found["earnest_deadlines_armed"]) == {("awaiting_deposit",): 2}
    latency = {one.name: one.value for one in found["earnest_command_settle_seconds"].samples}
    assert latency["earnest_command_settle_seconds_count"] == 5
    assert values(found["earnest_audit_findings"]) == {(): 0}
    again = house.open()
    assert values(scraped(again)["earnest_commands_settled"]) == settled
    assert values(scraped(web)["earnest_up"]) == {(): 1}


def test_names_follow_the_rules_of_the_house_and_of_prometheus(house: House) -> None:
    _, found = told(house)
    for name, family in found.items():
        assert re.fullmatch(r"earnest_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation, name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), name
        assert not re.search(r"_(ms|us|millis|minutes|hours|kb|mb)(_|$)", name), name
        assert family.type in {"counter", "gauge", "histogram"}, name
        if family.type == "histogram":
            assert name.endswith(UNITS), name
        labels = {label for one in family.samples for label in one.labels} - {"le"}
        assert all(re.fullmatch(r"[a-z]+", label) for label in labels), (name, labels)


def test_no_label_names_anybody(house: House) -> None:
    _, found = told(house)
    told_by = [text for one in found.values() for s in one.samples for text in s.labels.values()]
    assert not any(re.search(r"o[12]\b|k1|c1|m1|letter", text) for text in told_by)


def _row(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    row = {"command_id": "lost-command", "fingerprint": b"x", "command": "{}", "stamp": 1}
    return row | {"message_id": "inbox-x", "excused": 0} | changes


def test_health_is_judged_by_work_left_undone(house: House) -> None:
    web = house.open()
    assert web.get("/healthz").status_code == 200
    with writing(house.engine) as connection:
        connection.execute(inbox.insert(), _row(received_at=now_us() - 60 * SECOND_US))
    answer = web.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["commands"].endswith("s behind")
    assert web.get("/readyz").status_code == 200


def test_a_door_whose_schema_is_another_is_not_ready(house: House) -> None:
    web = house.open()
    with writing(house.engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert web.get("/readyz").status_code == 503
    assert web.get("/readyz").json()["checks"]["schema"] == "another version"


def test_what_was_accepted_is_seen_waiting(house: House) -> None:
    web = house.open()
    post(web, mcn())
    assert values(scraped(web)["earnest_inbox_commands"]) == {(): 1}
    house.settle()
    assert values(scraped(web)["earnest_inbox_commands"]) == {(): 0}
