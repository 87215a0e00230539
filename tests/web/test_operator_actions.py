"""Operator actions over HTTP: tried out without a trace, asked once, by operators only."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from models.lifecycle import State
from ops.operate.actions import open_in
from tests.support import sample_commands
from tests.web.gateway_harness import ACT, ANN, WHY, House, bearer, post
from workers.database import schema
from workers.database.engine import reading
from workers.database.schema import inbox

ORDER = "/ops/api/orders/o1"


PAUSE = {"kind": "pause_clock", "lent": False, "said": {}, **WHY}


LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def web(house: House) -> TestClient:
    """Serve one order on offer."""
    web = house.open(tokens=house.tokens())
    post(web, sample_commands.admit(), "platform-token-0001")
    house.settle()
    post(web, sample_commands.place("o1"), "every-client-token-1")
    house.settle()
    post(web, sample_commands.pay("pay_1", {"o1": 10_500}), "payments-token-0001")
    house.settle()
    return web


def rows(house: House) -> list[Any]:
    """Return everything that a power could leave behind."""
    with reading(house.engine) as connection:
        return [
            connection.execute(select(table)).all()
            for table in (inbox, schema.orders, schema.events, schema.receipts, schema.postings)
        ]


def ask(web: TestClient, endpoint: str, **changes: object) -> Any:  # noqa: ANN401 - a response
    return web.post(f"{ORDER}/{endpoint}", json=PAUSE | changes, headers=ANN)


def test_the_page_is_told_what_the_table_allows_and_what_each_wants_said(
    web: TestClient,
) -> None:
    actions = web.get(f"{ORDER}/powers", headers=ANN).json()["powers"]
    assert [(action["kind"], action["lent"]) for action in actions] == [
        (action.kind, action.lent) for action in open_in(State.OFFERED)
    ]
    (extend,) = (action for action in actions if action["kind"] == "extend_deadline")
    (until,) = extend["entries"]
    assert (until["name"], until["takes"], until["required"]) == ("until", "instant", True)
    assert web.get("/ops/api/orders/nobody/powers", headers=ANN).status_code == 404
    client = bearer("client-token-000001")
    assert web.get(f"{ORDER}/powers", headers=client).status_code == 403


def test_what_is_tried_out_leaves_no_trace(web: TestClient, house: House) -> None:
    before = rows(house)
    dry_run = ask(web, "preview").json()
    assert (dry_run["outcome"], dry_run["reason"]) == ("applied", None)
    assert dry_run["before"]["due_at"] is not None
    assert dry_run["after"]["due_at"] is None
    assert [event["type"] for event in dry_run["events"]] == ["clock.stopped", "operator.acted"]
    refusal = ask(web, "preview", kind="resume_clock").json()
    assert (refusal["outcome"], refusal["reason"]) == ("rejected", "clock_running")
    assert rows(house) == before


def test_what_it_would_cost_and_where_the_money_would_go_is_shown(
    web: TestClient, house: House
) -> None:
    moves = ask(web, "preview", kind="cancel_order").json()["moves"]
    assert moves == [{"from": "escrow:o1", "to": "refunds_payable:c1", "amount_fen": 10_500}]
    post(web, sample_commands.accept("o1"), "creator-token-00001")
    house.settle()
    post(web, sample_commands.pay("pay_2", {"o1": 94_500}), "payments-token-0001")
    house.settle()
    script = sample_commands.ask(
        "submit_script", "creator", "o1", links=["https://pan.example/draft"]
    )
    post(web, script, "creator-token-00001")
    house.settle()
    cancellation = {"kind": "cancel_order", "lent": True}
    refusal = ask(web, "preview", **cancellation, said={"accept_cost_fen": 1}).json()
    assert (refusal["reason"], refusal["cost_fen"]) == ("cost_mismatch", 10_500)
    dry_run = ask(web, "preview", **cancellation, said={"accept_cost_fen": 10_500}).json()
    assert dry_run["outcome"] == "applied"


def test_what_was_tried_out_is_asked_once_however_often_it_is_sent(
    web: TestClient, house: House
) -> None:
    command_id = ask(web, "preview").json()["id"]
    for _ in range(2):
        response = ask(web, "act", id=command_id)
        assert (response.status_code, response.json()["id"]) == (202, command_id)
    house.settle()
    assert ask(web, "act", id=command_id).status_code == 202
    assert web.get(response.json()["outcome_at"], headers=ANN).json()["outcome"] == "applied"
    order = web.get(ORDER, headers=ANN).json()
    operator_events = [
        event
        for step in order["chain"]
        for event in step["events"]
        if event["type"] == "operator.acted"
    ]
    (act,) = operator_events
    assert (act["by"], act["note"], act["act"]) == ("operator:ann", WHY["reason"], "pause_clock")
    assert ask(web, "act", id=command_id, kind="resume_clock").status_code == 409


def test_without_an_id_what_is_asked_gets_one(web: TestClient, house: House) -> None:
    fields = {"said": {"until": LATER}, "kind": "extend_deadline"}
    response = ask(web, "act", **fields)
    assert response.status_code == 202
    house.settle()
    outcome = web.get(response.json()["outcome_at"], headers=ANN).json()
    assert (outcome["outcome"], outcome["reason"]) == ("rejected", "until_out_of_range")


STRANGERS = [
    (ACT, 401),
    (ACT | bearer("platform-token-0001"), 403),
    (ACT | bearer("client-token-000001"), 403),
    (bearer("operator-token-0001"), 403),
    (ANN | {"Origin": "https://elsewhere.example"}, 403),
    (ANN | {"Content-Type": "text/plain"}, 415),
]


def test_nobody_acts_without_the_right_and_our_page(web: TestClient, house: House) -> None:
    before = rows(house)
    for headers, status in STRANGERS:
        response = web.post(f"{ORDER}/act", json=PAUSE, headers=headers)
        assert response.status_code == status, headers
    assert rows(house) == before


WRONG: list[tuple[dict[str, Any], str]] = [
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
def test_what_is_wrong_is_named_by_its_field_and_nothing_is_asked(
    web: TestClient, house: House, endpoint: str
) -> None:
    before = rows(house)
    for changes, field in WRONG:
        response = ask(web, endpoint, **changes)
        assert response.status_code == 422, changes
        assert any(error["field"].startswith(field) for error in response.json()["errors"]), changes
    assert rows(house) == before


def test_no_other_command_goes_through_this_door(web: TestClient) -> None:
    for kind in ("place_order", "confirm_payment", "resolve_suspense", "nothing"):
        assert ask(web, "act", kind=kind).status_code == 422
        assert ask(web, "act", kind=kind, lent=True).status_code == 422


def test_a_body_of_another_size_or_kind_is_refused(web: TestClient) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    for body, status in ((b"{", 422), (deep.encode(), 422), (b" " * 100_001, 413)):
        headers = ANN | {"Content-Type": "application/json"}
        assert web.post(f"{ORDER}/act", content=body, headers=headers).status_code == status


def test_what_was_done_in_somebodys_stead_bears_the_operators_name(
    web: TestClient, house: House
) -> None:
    fields = {"kind": "accept_order", "lent": True, "said": {"revised_amount_fen": 110_000}}
    assert ask(web, "act", **fields).status_code == 202
    house.settle()
    (event,) = (
        event
        for step in web.get(ORDER, headers=ANN).json()["chain"]
        for event in step["events"]
        if event["type"] == "order.accepted"
    )
    assert (event["by"], event["amount_fen"]) == ("operator:ann", 110_000)
