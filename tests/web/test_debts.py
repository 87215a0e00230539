"""Debts over HTTP: refunds and payouts by id or reference, each to whom it is owed, and held."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from models.obligations import Payout, Refund
from tests.support.datasets.every_situation import write_story
from tests.support.stories import AMOUNT, OrderStory, place, story_of
from tests.web.gateway_harness import (
    OPERATOR_ACTION_HEADERS,
    REASON_BODY,
    GatewayHarness,
    bearer,
)

OPERATOR, PAYMENTS = "operator-token-0001", "payments-token-0001"
STRANGER = "two-parties-token-01"
"""The token of client c2 and creator k1."""

PAYOUT = "po_o1_creator"


def money_story() -> OrderStory:
    """Tell of an order that pays a creator and an agency, and of two refunds of another client."""
    story = story_of("completed_agency")
    for order_id in ("o2", "o3"):
        place(story, order_id, "client:c2")
        story.pay(f"d{order_id}", {order_id: 10_500})
        story.ask("cancel_order", "client:c2", order_id=order_id)
    story.ask("fail_refund", "payments", refund_id="rf_do3_o3", reason="card closed")
    story.ask("hold_payout", "operator", payout_id="po_o1_mcn", reason="in doubt")
    return story


@pytest.fixture
def story(gateway: GatewayHarness) -> OrderStory:
    """Write the story into the gateway's database."""
    story = money_story()
    write_story(gateway.engine, story)
    return story


@pytest.fixture
def http_client(gateway: GatewayHarness, story: OrderStory) -> TestClient:
    """Serve what the story tells of."""
    assert story.uow.payouts
    return gateway.open(tokens=gateway.tokens())


def get(http_client: TestClient, path: str, token: str = OPERATOR, **params: Any) -> Any:  # noqa: ANN401 - JSON
    return http_client.get(path, params=params, headers=bearer(token))


def ids_in(response: Any) -> list[str]:  # noqa: ANN401 - a response
    assert response.status_code == 200, response.text
    (document,) = [value for key, value in response.json().items() if key != "next"]
    return [debt.get("refund_id") or debt["payout_id"] for debt in document]


def test_a_payout_is_read_by_its_id_and_by_its_reference(
    http_client: TestClient, story: OrderStory
) -> None:
    payout: Payout = story.uow.payouts[PAYOUT]
    document = get(http_client, f"/payouts/{PAYOUT}").json()
    assert document == get(http_client, f"/payouts/{payout.reference}").json()
    assert (document["payout_id"], document["status"], document["attempt"]) == (
        PAYOUT,
        "requested",
        1,
    )
    assert (document["reference"], document["party"]) == (payout.reference, "creator:k1")
    assert document["waits_since"] is not None
    held_payout = get(http_client, "/payouts/po_o1_mcn").json()
    assert (held_payout["waits_since"], held_payout["held_at"] is not None) == (None, True)


def test_a_refund_is_read_by_the_reference_of_every_attempt_that_there_has_been(
    http_client: TestClient, story: OrderStory
) -> None:
    refund: Refund = story.uow.refunds["rf_do3_o3"]
    for attempt, status in ((1, 200), (2, 200), (3, 404)):
        response = get(http_client, f"/refunds/{refund.reference_stem}{attempt}")
        assert response.status_code == status, attempt
    document = get(http_client, "/refunds/rf_do3_o3").json()
    assert (document["status"], document["attempt"], document["reference"]) == (
        "failed",
        2,
        refund.reference,
    )


def test_lists_are_filtered_and_read_page_by_page(http_client: TestClient) -> None:
    assert ids_in(get(http_client, "/refunds", PAYMENTS)) == ["rf_do2_o2", "rf_do3_o3"]
    assert ids_in(get(http_client, "/refunds", status="failed")) == ["rf_do3_o3"]
    assert ids_in(get(http_client, "/refunds", client="c1")) == []
    assert ids_in(get(http_client, "/payouts", held="true")) == ["po_o1_mcn"]
    assert ids_in(get(http_client, "/payouts", held="false")) == [PAYOUT]
    assert ids_in(get(http_client, "/payouts", party="creator:k1")) == [PAYOUT]
    first = get(http_client, "/refunds", limit=1).json()
    assert ids_in(get(http_client, "/refunds", limit=1, cursor=first["next"])) == ["rf_do3_o3"]
    assert get(http_client, "/refunds", limit=1, cursor="rf_do2_o2").json()["next"] is None
    assert get(http_client, "/payouts", status="lost").status_code == 422


def test_nobody_reads_what_is_owed_to_others(http_client: TestClient) -> None:
    assert ids_in(get(http_client, "/refunds", STRANGER)) == ["rf_do2_o2", "rf_do3_o3"]
    assert ids_in(get(http_client, "/payouts", STRANGER)) == [PAYOUT]
    assert get(http_client, "/payouts/po_o1_mcn", STRANGER).status_code == 404
    assert get(http_client, f"/payouts/{PAYOUT}", STRANGER).status_code == 200
    for path, params in (("/refunds", {"client": "c1"}), ("/payouts", {"party": "mcn:m1"})):
        assert get(http_client, path, STRANGER, **params).status_code == 403
    assert http_client.get("/payouts").status_code == 401


ORDER_PATH = "/ops/api/orders/o1"


def debt_powers(http_client: TestClient, path: str = ORDER_PATH) -> dict[str, list[str]]:
    response = http_client.get(f"{path}/powers", headers=OPERATOR_ACTION_HEADERS)
    return {
        power["kind"]: power["entries"][0]["choices"]
        for power in response.json()["powers"]
        if power["names"]
    }


def test_an_operator_is_offered_what_may_be_done_with_the_payouts_of_an_order(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    assert debt_powers(http_client) == {
        "hold_payout": [PAYOUT],
        "release_payout": ["po_o1_mcn"],
        "reverse_payout": ["po_o1_mcn"],
    }
    fields = {"payout_id": "po_o1_mcn", "to": "client"}
    body = {"kind": "reverse_payout", "lent": False, "said": fields, **REASON_BODY}
    preview = http_client.post(
        f"{ORDER_PATH}/preview", json=body, headers=OPERATOR_ACTION_HEADERS
    ).json()
    assert preview["outcome"] == "applied"
    assert [(move["from"], move["to"]) for move in preview["moves"]] == [
        ("payable:mcn:m1", "refunds_payable:c1")
    ]
    assert debt_powers(http_client)["release_payout"] == ["po_o1_mcn"], "nothing is done yet"
    response = http_client.post(f"{ORDER_PATH}/act", json=body, headers=OPERATOR_ACTION_HEADERS)
    assert response.status_code == 202, response.text
    gateway.settle()
    assert debt_powers(http_client) == {"hold_payout": [PAYOUT]}
    refund = get(http_client, "/refunds/rv_po_o1_mcn").json()
    assert (refund["payment_id"], refund["client_id"]) == (None, "c1")
    assert 0 < refund["amount_fen"] < AMOUNT


def test_a_payout_of_another_order_is_not_held_from_this_ones_page(
    http_client: TestClient,
) -> None:
    body = {"kind": "hold_payout", "lent": False, "said": {"payout_id": "po_o2_creator"}}
    response = http_client.post(
        f"{ORDER_PATH}/preview", json=body | REASON_BODY, headers=OPERATOR_ACTION_HEADERS
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "payout_id"


def money_that_no_order_took(story: OrderStory) -> None:
    """Let money come long before its order, and money in another amount than is due."""
    story.pay("early", {"o4": 10_500})
    story.now += story.policy.late_notice_window
    place(story, "o4", "client:c2")
    story.pay("odd", {"o4": 7})


def test_an_operator_is_offered_what_may_be_done_with_money_that_an_order_did_not_take(
    gateway: GatewayHarness,
) -> None:
    story = money_story()
    money_that_no_order_took(story)
    write_story(gateway.engine, story)
    http_client = gateway.open(tokens=gateway.tokens())
    path = "/ops/api/orders/o4"
    assert debt_powers(http_client, path) == {
        "resolve_suspense": ["early"],
        "void_payment": ["early", "odd"],
    }
    fields = {"payment_id": "early", "to": "refund"}
    body = {"kind": "resolve_suspense", "lent": False, "said": fields, **REASON_BODY}
    response = http_client.post(f"{path}/act", json=body, headers=OPERATOR_ACTION_HEADERS)
    assert response.status_code == 202, response.text
    void_body = body | {"kind": "void_payment", "said": {"payment_id": "odd"}}
    preview = http_client.post(f"{path}/preview", json=void_body, headers=OPERATOR_ACTION_HEADERS)
    assert preview.json()["outcome"] == "applied"
    response = http_client.post(f"{path}/act", json=void_body, headers=OPERATOR_ACTION_HEADERS)
    assert response.status_code == 202, response.text
    gateway.settle()
    assert debt_powers(http_client, path) == {"void_payment": ["early"]}
    assert get(http_client, "/refunds/rf_odd_o4").json()["status"] == "voided"
    foreign_body = body | {"said": fields | {"payment_id": "do2"}}
    response = http_client.post(
        f"{path}/preview", json=foreign_body, headers=OPERATOR_ACTION_HEADERS
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "payment_id"
