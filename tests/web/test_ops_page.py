"""Ops page over HTTP: acting wants the operator, a reason and our own page."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support import sample_commands
from tests.web.gateway_harness import ACT, ANN, WHY, House, bearer, post
from workers.processing import failures
from workers.queue.messages import Received, Refused
from workers.timestamps import from_us, now_us


@pytest.fixture
def web(house: House) -> TestClient:
    """Serve one order, a dead letter and something in quarantine."""
    web = house.open(tokens=house.tokens())
    post(web, sample_commands.admit(), "platform-token-0001")
    house.settle()
    post(web, sample_commands.place("o1"), "every-client-token-1")
    house.settle()
    failures.quarantine(house.engine, Refused("commands", "m1", b"\xff<b>", "not JSON", 4))
    text = '{"id":"dead-letter-1","kind":"nudge_creator","by":{"role":"client","id":"c1"},'
    command = Received(text + '"order_id":"o1"}', from_us(now_us()), now_us(), "m2")
    failures.bury(house.engine, command, ValueError("a fault of ours"))
    return web


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (ACT, WHY, 401),
        (ACT | bearer("platform-token-0001"), WHY, 403),
        (bearer("operator-token-0001"), WHY, 403),
        (ANN | {"Origin": "https://elsewhere.example"}, WHY, 403),
        (ANN, {}, 422),
        (ANN, {"reason": "no"}, 422),
        (ANN, {"reason": "yes", "and": "more"}, 422),
    ],
)
@pytest.mark.parametrize("path", ["dead-letters/1/replay", "quarantine/1/drop"])
def test_nobody_acts_without_the_right_a_reason_and_our_page(
    web: TestClient, path: str, headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    response = web.post(f"/ops/api/{path}", json=body, headers=headers)
    assert response.status_code == status
    set_aside = web.get("/ops/api/asides", headers=ANN).json()
    assert (len(set_aside["dead_letters"]), len(set_aside["quarantine"])) == (1, 1)


def test_a_dead_letter_is_replayed_once(web: TestClient) -> None:
    path = "/ops/api/dead-letters/1/replay"
    response = web.post(path, json=WHY, headers=ANN)
    assert (response.status_code, response.json()["outcome"]) == (200, "rejected")
    assert web.post(path, json=WHY, headers=ANN).status_code == 404
    assert web.get("/commands/dead-letter-1", headers=ANN).json()["outcome"] == "rejected"
    assert web.get("/ops/api/asides", headers=ANN).json()["dead_letters"] == []


def test_a_dead_letter_that_fails_as_before_waits_on(
    web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("workers.processing.processor.draft", fail)
    response = web.post("/ops/api/dead-letters/1/replay", json=WHY, headers=ANN)
    assert response.status_code == 409
    assert len(web.get("/ops/api/asides", headers=ANN).json()["dead_letters"]) == 1


def test_what_is_in_quarantine_is_dropped_once(web: TestClient) -> None:
    path = "/ops/api/quarantine/1/drop"
    assert web.post(path, json=WHY, headers=ANN).status_code == 200
    assert web.post(path, json=WHY, headers=ANN).status_code == 404


def test_orders_are_found_by_their_own_name_and_by_their_parties(web: TestClient) -> None:
    for query in ("o1", "c1", "k1", " o1 ", ""):
        orders = web.get("/ops/api/search", params={"q": query}, headers=ANN).json()["orders"]
        assert [order["order_id"] for order in orders] == ["o1"], query
    assert web.get("/ops/api/search", params={"q": "x\0"}, headers=ANN).json() == {"orders": []}


@pytest.mark.parametrize("path", ["/ops", "/ops/orders/o1", "/ops/static/ops.js"])
def test_the_page_itself_holds_nothing_and_runs_nothing_from_elsewhere(
    web: TestClient, path: str
) -> None:
    response = web.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in response.text.replace("http://www.w3.org/2000/svg", "")
