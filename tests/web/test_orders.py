"""Orders over HTTP: pages neither skip nor repeat, and nobody sees orders of others."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support import sample_commands
from tests.web.gateway_harness import GatewayHarness, bearer, post

OPERATOR_TOKEN = "operator-token-0001"


@pytest.fixture
def http_client(gateway: GatewayHarness) -> TestClient:
    """Serve five orders of two clients, for a creator who is signed with an agency."""
    http_client = gateway.open(tokens=gateway.tokens())
    post(http_client, sample_commands.admit(), "platform-token-0001")
    gateway.settle()
    for n in range(5):
        by = "client:c2" if n == 4 else "client"
        post(http_client, sample_commands.place(f"o{n}", by), "every-client-token-1")
    gateway.settle()
    return http_client


def read_order_ids(
    http_client: TestClient,
    token: str = OPERATOR_TOKEN,
    **params: Any,  # noqa: ANN401 - whatever the query is to be tried with
) -> list[str]:
    response = http_client.get("/orders", params=params, headers=bearer(token))
    assert response.status_code == 200, response.text
    return [order["order_id"] for order in response.json()["orders"]]


def test_pages_of_orders_neither_skip_nor_repeat(http_client: TestClient) -> None:
    order_ids, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = http_client.get("/orders", params=params, headers=bearer(OPERATOR_TOKEN)).json()
        order_ids += [order["order_id"] for order in page["orders"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(order_ids) == ["o0", "o1", "o2", "o3", "o4"]
    assert len(order_ids) == 5


def test_a_token_of_two_parties_lists_for_the_one_that_is_named(http_client: TestClient) -> None:
    token = "two-parties-token-01"
    assert read_order_ids(http_client, token, client="c2") == ["o4"]
    assert len(read_order_ids(http_client, token, creator="k1")) == 5
    assert read_order_ids(http_client, token, client="c1", creator="k2") == []
    response = http_client.get("/orders", headers=bearer(token))
    assert response.status_code == 422
    assert response.json()["errors"][0]["detail"] == (
        "this token is of several: say client=c2 or creator=k1"
    )


def test_orders_are_filtered_by_party_status_and_time(http_client: TestClient) -> None:
    assert read_order_ids(http_client, client="c2") == ["o4"]
    assert len(read_order_ids(http_client, creator="k1")) == 5
    assert len(read_order_ids(http_client, status="awaiting_deposit")) == 5
    assert read_order_ids(http_client, status="offered") == []
    assert read_order_ids(http_client, placed_after="2100-01-01T00:00:00Z") == []
    assert len(read_order_ids(http_client, placed_before="2100-01-01T00:00:00+08:00")) == 5


@pytest.mark.parametrize(
    "params",
    [
        {"status": "lost"},
        {"cursor": "bm8"},
        {"cursor": "%"},
        {"limit": 0},
        {"placed_after": "yesterday"},
        {"placed_after": "2026-01-01T00:00:00"},
        {"color": "red"},
    ],
)
def test_an_invalid_query_for_orders_is_refused(
    http_client: TestClient, params: dict[str, Any]
) -> None:
    response = http_client.get("/orders", params=params, headers=bearer(OPERATOR_TOKEN))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_nobody_sees_orders_of_others(http_client: TestClient) -> None:
    assert len(read_order_ids(http_client, "client-token-000001")) == 4
    assert read_order_ids(http_client, "client-token-000001", client="c2") == []
    assert len(read_order_ids(http_client, "creator-token-00001")) == 5
    assert len(read_order_ids(http_client, "agency-token-000001")) == 5
    for path in ("/orders/o4", "/orders/o4/events"):
        assert http_client.get(path, headers=bearer("client-token-000001")).status_code == 404
        assert http_client.get(path, headers=bearer("agency-token-000001")).status_code == 200
        assert http_client.get(path).status_code == 401


def test_a_provider_sees_what_it_serves_and_lists_nothing(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    headers = bearer("provider-token-0001")
    assert http_client.get("/orders/o4", headers=headers).status_code == 404
    # Of the same name as the agency, whose orders are none of its business.
    assert http_client.get("/orders", headers=headers).status_code == 403
    registration = {"provider_id": "m1", "name": "M"} | command_by("platform", "register_provider")
    post(http_client, registration, "platform-token-0001")
    appointment = {"order_id": "o4", "provider_id": "m1"} | command_by(
        "client", "appoint_provider", "c2"
    )
    post(http_client, appointment, "every-client-token-1")
    gateway.settle()
    assert http_client.get("/orders/o4", headers=headers).status_code == 200
    assert http_client.get("/orders/o0", headers=headers).status_code == 404


def command_by(role: str, kind: str, party_id: str = "p") -> dict[str, Any]:
    return {"id": f"{kind}-1", "kind": kind, "by": {"role": role, "id": party_id}}


def test_a_client_reads_its_order_and_the_events_of_it(http_client: TestClient) -> None:
    headers = bearer("client-token-000001")
    order = http_client.get("/orders/o0", headers=headers).json()
    assert (order["status"], order["balance_due_fen"]) == ("awaiting_deposit", 10_500)
    events = http_client.get("/orders/o0/events", headers=headers).json()["events"]
    assert [event["type"] for event in events] == ["order.placed"]


@pytest.mark.parametrize("path", ["/ops/api/overview", "/ops/api/asides", "/metrics"])
def test_the_ops_api_and_metrics_are_for_the_staff(http_client: TestClient, path: str) -> None:
    assert http_client.get(path).status_code == 401
    assert http_client.get(path, headers=bearer("client-token-000001")).status_code == 403
    assert http_client.get(path, headers=bearer(OPERATOR_TOKEN)).status_code == 200
