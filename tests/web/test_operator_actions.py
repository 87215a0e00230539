"""Operator actions over HTTP: dry runs without a trace, done once, by operators only."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from models.lifecycle import State
from ops.operate.actions import actions_in
from tests.support import sample_commands
from tests.web.gateway_harness import (
    ACTION_HEADER,
    OPERATOR_ACTION_HEADERS,
    REASON_BODY,
    GatewayHarness,
    bearer,
    post,
)
from workers.database import schema
from workers.database.engine import reading
from workers.database.schema import inbox

ORDER_PATH = "/ops/api/orders/o1"
PAUSE_BODY = {"kind": "pause_clock", "lent": False, "said": {}, **REASON_BODY}
FAR_FUTURE = "2099-01-01T00:00:00Z"


@pytest.fixture
def http_client(gateway: GatewayHarness) -> TestClient:
    """Serve one order on offer."""
    http_client = gateway.open(tokens=gateway.tokens())
    post(http_client, sample_commands.admit(), "platform-token-0001")
    gateway.settle()
    post(http_client, sample_commands.place("o1"), "every-client-token-1")
    gateway.settle()
    post(http_client, sample_commands.pay("pay_1", {"o1": 10_500}), "payments-token-0001")
    gateway.settle()
    return http_client


def stored_rows(gateway: GatewayHarness) -> list[Any]:
    """Return everything that an operator action could leave behind."""
    with reading(gateway.engine) as connection:
        return [
            connection.execute(select(table)).all()
            for table in (inbox, schema.orders, schema.events, schema.receipts, schema.postings)
        ]


def call_api(http_client: TestClient, endpoint: str, **changes: object) -> Any:  # noqa: ANN401 - a response
    return http_client.post(
        f"{ORDER_PATH}/{endpoint}", json=PAUSE_BODY | changes, headers=OPERATOR_ACTION_HEADERS
    )


def test_the_actions_that_an_order_allows_are_listed_with_their_entries(
    http_client: TestClient,
) -> None:
    actions = http_client.get(f"{ORDER_PATH}/powers", headers=OPERATOR_ACTION_HEADERS).json()[
        "powers"
    ]
    assert [(action["kind"], action["lent"]) for action in actions] == [
        (action.kind, action.on_behalf) for action in actions_in(State.OFFERED)
    ]
    (extend,) = (action for action in actions if action["kind"] == "extend_deadline")
    (until,) = extend["entries"]
    assert (until["name"], until["takes"], until["required"]) == ("until", "instant", True)
    assert (
        http_client.get(
            "/ops/api/orders/nobody/powers", headers=OPERATOR_ACTION_HEADERS
        ).status_code
        == 404
    )
    client = bearer("client-token-000001")
    assert http_client.get(f"{ORDER_PATH}/powers", headers=client).status_code == 403


def test_a_dry_run_of_an_operator_action_leaves_no_trace(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    before = stored_rows(gateway)
    dry_run = call_api(http_client, "preview").json()
    assert (dry_run["outcome"], dry_run["reason"]) == ("applied", None)
    assert dry_run["before"]["due_at"] is not None
    assert dry_run["after"]["due_at"] is None
    assert [event["type"] for event in dry_run["events"]] == ["clock.stopped", "operator.acted"]
    refusal = call_api(http_client, "preview", kind="resume_clock").json()
    assert (refusal["outcome"], refusal["reason"]) == ("rejected", "clock_running")
    assert stored_rows(gateway) == before


def test_a_dry_run_shows_the_cost_and_where_the_money_would_go(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    moves = call_api(http_client, "preview", kind="cancel_order").json()["moves"]
    assert moves == [{"from": "escrow:o1", "to": "refunds_payable:c1", "amount_fen": 10_500}]
    post(http_client, sample_commands.accept("o1"), "creator-token-00001")
    gateway.settle()
    post(http_client, sample_commands.pay("pay_2", {"o1": 94_500}), "payments-token-0001")
    gateway.settle()
    script = sample_commands.command(
        "submit_script", "creator", "o1", links=["https://pan.example/draft"]
    )
    post(http_client, script, "creator-token-00001")
    gateway.settle()
    cancellation = {"kind": "cancel_order", "lent": True}
    refusal = call_api(http_client, "preview", **cancellation, said={"accept_cost_fen": 1}).json()
    assert (refusal["reason"], refusal["cost_fen"]) == ("cost_mismatch", 10_500)
    dry_run = call_api(
        http_client, "preview", **cancellation, said={"accept_cost_fen": 10_500}
    ).json()
    assert dry_run["outcome"] == "applied"


def test_an_operator_action_takes_effect_once_however_often_it_is_sent(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    command_id = call_api(http_client, "preview").json()["id"]
    for _ in range(2):
        response = call_api(http_client, "act", id=command_id)
        assert (response.status_code, response.json()["id"]) == (202, command_id)
    gateway.settle()
    assert call_api(http_client, "act", id=command_id).status_code == 202
    assert (
        http_client.get(response.json()["outcome_at"], headers=OPERATOR_ACTION_HEADERS).json()[
            "outcome"
        ]
        == "applied"
    )
    order = http_client.get(ORDER_PATH, headers=OPERATOR_ACTION_HEADERS).json()
    operator_events = [
        event
        for step in order["chain"]
        for event in step["events"]
        if event["type"] == "operator.acted"
    ]
    (act,) = operator_events
    assert (act["by"], act["note"], act["act"]) == (
        "operator:ann",
        REASON_BODY["reason"],
        "pause_clock",
    )
    assert call_api(http_client, "act", id=command_id, kind="resume_clock").status_code == 409


def test_an_operator_action_without_an_id_gets_one(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    fields = {"said": {"until": FAR_FUTURE}, "kind": "extend_deadline"}
    response = call_api(http_client, "act", **fields)
    assert response.status_code == 202
    gateway.settle()
    outcome = http_client.get(response.json()["outcome_at"], headers=OPERATOR_ACTION_HEADERS).json()
    assert (outcome["outcome"], outcome["reason"]) == ("rejected", "until_out_of_range")


UNAUTHORIZED_HEADERS = [
    (ACTION_HEADER, 401),
    (ACTION_HEADER | bearer("platform-token-0001"), 403),
    (ACTION_HEADER | bearer("client-token-000001"), 403),
    (bearer("operator-token-0001"), 403),
    (OPERATOR_ACTION_HEADERS | {"Origin": "https://elsewhere.example"}, 403),
    (OPERATOR_ACTION_HEADERS | {"Content-Type": "text/plain"}, 415),
]


def test_an_operator_action_is_refused_without_an_operators_token_and_our_page(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    before = stored_rows(gateway)
    for headers, status in UNAUTHORIZED_HEADERS:
        response = http_client.post(f"{ORDER_PATH}/act", json=PAUSE_BODY, headers=headers)
        assert response.status_code == status, headers
    assert stored_rows(gateway) == before


INVALID_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"reason": "no"}, "reason"),
    ({"reason": None}, "reason"),
    ({"id": "short"}, "id"),
    ({"said": []}, "said"),
    ({"and": "more"}, "and"),
    ({"kind": "extend_deadline"}, "until"),
    ({"kind": "extend_deadline", "said": {"until": "tomorrow"}}, "until"),
    ({"said": {"by": {"role": "operator", "id": "bob"}}}, "by"),
    ({"said": {"order_id": "o2"}}, "order_id"),
    ({"kind": "accept_order", "lent": True, "said": {"revised_amount_fen": "7"}}, "command"),
]


@pytest.mark.parametrize("endpoint", ["preview", "act"])
def test_an_invalid_operator_action_is_refused_by_field_and_leaves_no_trace(
    http_client: TestClient, gateway: GatewayHarness, endpoint: str
) -> None:
    before = stored_rows(gateway)
    for changes, field in INVALID_REQUESTS:
        response = call_api(http_client, endpoint, **changes)
        assert response.status_code == 422, changes
        assert any(error["field"].startswith(field) for error in response.json()["errors"]), changes
    assert stored_rows(gateway) == before


def test_only_operator_actions_go_through_the_ops_api(http_client: TestClient) -> None:
    for kind in ("place_order", "confirm_payment", "resolve_suspense", "nothing"):
        assert call_api(http_client, "act", kind=kind).status_code == 422
        assert call_api(http_client, "act", kind=kind, lent=True).status_code == 422


def test_an_oversized_or_malformed_operator_action_is_refused(http_client: TestClient) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    for body, status in ((b"{", 422), (deep.encode(), 422), (b" " * 100_001, 413)):
        headers = OPERATOR_ACTION_HEADERS | {"Content-Type": "application/json"}
        assert (
            http_client.post(f"{ORDER_PATH}/act", content=body, headers=headers).status_code
            == status
        )


def test_an_action_on_behalf_of_a_party_bears_the_operators_name(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    fields = {"kind": "accept_order", "lent": True, "said": {"revised_amount_fen": 110_000}}
    assert call_api(http_client, "act", **fields).status_code == 202
    gateway.settle()
    (event,) = (
        event
        for step in http_client.get(ORDER_PATH, headers=OPERATOR_ACTION_HEADERS).json()["chain"]
        for event in step["events"]
        if event["type"] == "order.accepted"
    )
    assert (event["by"], event["amount_fen"]) == ("operator:ann", 110_000)
