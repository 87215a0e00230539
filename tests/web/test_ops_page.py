"""Ops page over HTTP: acting wants the operator, a reason and our own page."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support import sample_commands
from tests.web.gateway_harness import (
    ACTION_HEADER,
    OPERATOR_ACTION_HEADERS,
    REASON_BODY,
    GatewayHarness,
    bearer,
    post,
)
from workers.processing import failures
from workers.queue.messages import Received, RefusedItem
from workers.timestamps import from_us, now_us


@pytest.fixture
def http_client(gateway: GatewayHarness) -> TestClient:
    """Serve one order, a dead letter and something in quarantine."""
    http_client = gateway.open(tokens=gateway.tokens())
    post(http_client, sample_commands.admit(), "platform-token-0001")
    gateway.settle()
    post(http_client, sample_commands.place("o1"), "every-client-token-1")
    gateway.settle()
    failures.quarantine(gateway.engine, [RefusedItem("commands", "m1", b"\xff<b>", "not JSON", 4)])
    text = '{"id":"dead-letter-1","kind":"nudge_creator","by":{"role":"client","id":"c1"},'
    command = Received(text + '"order_id":"o1"}', from_us(now_us()), now_us(), "m2")
    failures.add_dead_letter(gateway.engine, command, ValueError("a fault of ours"))
    return http_client


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (ACTION_HEADER, REASON_BODY, 401),
        (ACTION_HEADER | bearer("platform-token-0001"), REASON_BODY, 403),
        (bearer("operator-token-0001"), REASON_BODY, 403),
        (OPERATOR_ACTION_HEADERS | {"Origin": "https://elsewhere.example"}, REASON_BODY, 403),
        (OPERATOR_ACTION_HEADERS, {}, 422),
        (OPERATOR_ACTION_HEADERS, {"reason": "no"}, 422),
        (OPERATOR_ACTION_HEADERS, {"reason": "yes", "and": "more"}, 422),
    ],
)
@pytest.mark.parametrize("path", ["dead-letters/1/replay", "quarantine/1/drop"])
def test_acting_on_failed_messages_needs_an_operators_token_a_reason_and_our_page(
    http_client: TestClient, path: str, headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    response = http_client.post(f"/ops/api/{path}", json=body, headers=headers)
    assert response.status_code == status
    failed_messages = http_client.get("/ops/api/asides", headers=OPERATOR_ACTION_HEADERS).json()
    assert (len(failed_messages["dead_letters"]), len(failed_messages["quarantine"])) == (1, 1)


def test_a_dead_letter_is_replayed_once(http_client: TestClient) -> None:
    path = "/ops/api/dead-letters/1/replay"
    response = http_client.post(path, json=REASON_BODY, headers=OPERATOR_ACTION_HEADERS)
    assert (response.status_code, response.json()["outcome"]) == (200, "rejected")
    assert (
        http_client.post(path, json=REASON_BODY, headers=OPERATOR_ACTION_HEADERS).status_code == 404
    )
    assert (
        http_client.get("/commands/dead-letter-1", headers=OPERATOR_ACTION_HEADERS).json()[
            "outcome"
        ]
        == "rejected"
    )
    assert (
        http_client.get("/ops/api/asides", headers=OPERATOR_ACTION_HEADERS).json()["dead_letters"]
        == []
    )


def test_a_dead_letter_that_fails_again_stays(
    http_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("workers.processing.processor.flush_steps", fail)
    response = http_client.post(
        "/ops/api/dead-letters/1/replay", json=REASON_BODY, headers=OPERATOR_ACTION_HEADERS
    )
    assert response.status_code == 409
    assert (
        len(
            http_client.get("/ops/api/asides", headers=OPERATOR_ACTION_HEADERS).json()[
                "dead_letters"
            ]
        )
        == 1
    )


def test_a_quarantined_message_is_dropped_once(http_client: TestClient) -> None:
    path = "/ops/api/quarantine/1/drop"
    assert (
        http_client.post(path, json=REASON_BODY, headers=OPERATOR_ACTION_HEADERS).status_code == 200
    )
    assert (
        http_client.post(path, json=REASON_BODY, headers=OPERATOR_ACTION_HEADERS).status_code == 404
    )


def test_orders_are_found_by_their_id_and_by_their_parties(http_client: TestClient) -> None:
    for query in ("o1", "c1", "k1", " o1 ", ""):
        orders = http_client.get(
            "/ops/api/search", params={"q": query}, headers=OPERATOR_ACTION_HEADERS
        ).json()["orders"]
        assert [order["order_id"] for order in orders] == ["o1"], query
    assert http_client.get(
        "/ops/api/search", params={"q": "x\0"}, headers=OPERATOR_ACTION_HEADERS
    ).json() == {"orders": []}


@pytest.mark.parametrize("path", ["/ops", "/ops/orders/o1", "/ops/static/ops.js"])
def test_the_ops_page_loads_nothing_from_elsewhere(http_client: TestClient, path: str) -> None:
    response = http_client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in response.text.replace("http://www.w3.org/2000/svg", "")
