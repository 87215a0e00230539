"""Commands over HTTP: what is accepted is kept, what is not is refused field by field."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models.fields import format_instant
from ops.web.openapi import EXAMPLES, example
from ops.web.submissions import SubmissionLimits
from tests.support.concurrency import eventually
from tests.web.gateway_harness import GatewayHarness, post, register_mcn
from workers.database import schema
from workers.database.engine import reading
from workers.queue import redelivery
from workers.timestamps import SECOND_US, now_us


def test_a_command_is_accepted_settled_and_its_outcome_can_be_read(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    response = post(http_client, register_mcn())
    assert response.status_code == 202
    assert response.headers["location"] == "/commands/register-1"
    assert http_client.get("/commands/register-1").json()["status"] == "pending"
    gateway.settle_soon()
    receipt = http_client.get("/commands/register-1", params={"wait": 10}).json()
    assert (receipt["status"], receipt["outcome"], receipt["reason"]) == (
        "settled",
        "applied",
        None,
    )
    assert receipt["received_at"] == response.json()["received_at"]


def test_the_outcome_of_a_refused_command_tells_what_would_not_be_refused(
    gateway: GatewayHarness,
) -> None:
    http_client = gateway.open()
    setting = [example(kind) for kind in ("register_creator", "place_order")]
    setting[0] |= {"contract": "direct", "mcn_id": None, "mcn_share_bps": None}
    refused = example("restore_quote")
    assert post(http_client, [*setting, refused]).status_code == 202
    gateway.settle()
    outcome = http_client.get(f"/commands/{refused['id']}").json()
    assert (outcome["outcome"], outcome["reason"]) == ("rejected", "wrong_state")
    allowed = ["appoint_provider", "cancel_order"]
    assert outcome["limits"] == {"state": "awaiting_deposit", "allowed": allowed}
    assert http_client.get(f"/commands/{setting[1]['id']}").json()["limits"] is None


def test_a_command_submitted_again_is_the_same_command(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    first = post(http_client, register_mcn()).json()
    assert post(http_client, register_mcn()).json() == first
    gateway.settle()
    assert post(http_client, register_mcn()).json() == first
    assert gateway.settle() == 0


def test_a_list_of_commands_is_accepted_whole_and_in_order(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    response = post(
        http_client, [register_mcn(f"register-{n}", mcn_id=f"m{n}") for n in range(500)]
    )
    assert [command["id"] for command in response.json()["accepted"]] == [
        f"register-{n}" for n in range(500)
    ]
    assert gateway.settle() == 500


def test_a_trace_context_is_kept_with_the_command(gateway: GatewayHarness) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    http_client = gateway.open()
    for n, traceparent in enumerate((trace, "no trace at all")):
        body = register_mcn(f"register-{n}", mcn_id=f"m{n}")
        assert (
            http_client.post(
                "/commands", json=body, headers={"traceparent": traceparent}
            ).status_code
            == 202
        )
        gateway.settle()
    with reading(gateway.engine) as connection:
        traces = connection.execute(select(schema.events.c.trace)).scalars().all()
    assert traces == [trace, trace, None, None]


def test_a_list_of_too_many_commands_is_refused_whole(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    response = post(
        http_client, [register_mcn(f"register-{n}", mcn_id=f"m{n}") for n in range(501)]
    )
    assert (response.status_code, response.json()["errors"][0]["field"]) == (413, "commands")
    assert http_client.get("/commands/register-0").status_code == 404


def test_a_list_with_one_fault_is_refused_whole_and_the_fault_is_named(
    gateway: GatewayHarness,
) -> None:
    http_client = gateway.open()
    response = post(http_client, [register_mcn(), register_mcn("register-2", name=7, extra=1)])
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert {(error["index"], error["field"]) for error in response.json()["errors"]} == {
        (1, "name"),
        (1, "extra"),
    }
    assert http_client.get("/commands/register-1").status_code == 404


def test_an_order_to_be_published_in_the_past_is_not_accepted(gateway: GatewayHarness) -> None:
    body = example("place_order") | {"expected_publish_at": "2020-01-01T00:00:00Z"}
    response = post(gateway.open(), body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "expected_publish_at"


def test_an_id_used_for_another_command_is_refused_over_http(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    post(http_client, register_mcn())
    assert post(http_client, register_mcn(name="other")).status_code == 409
    gateway.settle()
    response = post(http_client, [register_mcn("register-2"), register_mcn(name="other")])
    assert response.status_code == 409
    assert response.json()["errors"] == [
        {"index": 1, "field": "id", "detail": "used before for another command", "id": "register-1"}
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{} {}", 400),
        (b"[", 400),
        (b"[1", 400),
        (b"[1,]", 400),
        (b"[1] 2", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"[]", 422),
        (b"7", 422),
        (b"null", 422),
        (b"[1e999, NaN, " + b"9" * 10_000 + b"]", 422),
        (b'"' + b"\\\\" * 10_000 + b'"', 422),
        (b"[" + b"1," * 500 + b"1]", 413),
        (b'{"id":"' + b"x" * 300_000 + b'"}', 413),
        (b" " * (4 * 1024 * 1024 + 1), 413),
    ],
)
def test_a_body_that_is_no_command_is_refused(
    gateway: GatewayHarness, body: bytes, status: int
) -> None:
    response = gateway.open().post(
        "/commands", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == status
    assert response.json()["status"] == status


def test_a_request_of_another_content_type_origin_or_host_is_refused(
    gateway: GatewayHarness,
) -> None:
    http_client = gateway.open()
    assert http_client.post("/commands", content=json.dumps(register_mcn())).status_code == 415
    plain_text = {"Content-Type": "text/plain"}
    assert http_client.post("/commands", content="{}", headers=plain_text).status_code == 415
    foreign_origin = {"Origin": "https://elsewhere.example"}
    assert (
        http_client.post("/commands", json=register_mcn(), headers=foreign_origin).status_code
        == 403
    )
    assert http_client.get("/orders", headers={"Host": "elsewhere.example"}).status_code == 421


def test_a_full_inbox_refuses_commands_and_says_when_to_come_back(gateway: GatewayHarness) -> None:
    http_client = gateway.open(limits=SubmissionLimits(unsettled=1))
    assert post(http_client, [register_mcn(), register_mcn("register-2")]).status_code == 202
    response = post(http_client, register_mcn("register-3"))
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0
    assert http_client.get("/readyz").json()["checks"]["room"] == "full"


@pytest.mark.parametrize(
    ("token", "by", "status"),
    [
        (None, ("platform", "p"), 401),
        ("no-such-token-0001", ("platform", "p"), 401),
        ("platform-token-0001", ("platform", "anybody"), 202),
        ("client-token-000001", ("platform", "p"), 403),
        ("client-token-000001", ("client", "c1"), 202),
        ("client-token-000001", ("client", "c2"), 403),
        ("every-client-token-1", ("client", "c2"), 202),
        ("operator-token-0001", ("operator", "bob"), 403),
        ("operator-token-0001", ("operator", "ann"), 202),
    ],
)
def test_a_command_is_accepted_only_with_a_token_of_its_sender(
    gateway: GatewayHarness, token: str | None, by: tuple[str, str], status: int
) -> None:
    http_client = gateway.open(tokens=gateway.tokens())
    body = example("cancel_order") | {"by": {"role": by[0], "id": by[1]}}
    assert post(http_client, body, token).status_code == status


def test_an_operator_needs_a_token_even_on_this_machine(gateway: GatewayHarness) -> None:
    body = example("cancel_order") | {"by": {"role": "operator", "id": "o"}}
    http_client = gateway.open()
    assert post(http_client, body).status_code == 403
    own_token = (gateway.settings.var / "operator-token").read_text().strip()
    assert post(http_client, body, own_token).status_code == 202


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_example_of_the_openapi_document_is_accepted(
    gateway: GatewayHarness, kind: str
) -> None:
    http_client = gateway.open()
    own_token = (gateway.settings.var / "operator-token").read_text().strip()
    assert post(http_client, sent_today(kind), own_token).status_code == 202


def sent_today(kind: str) -> dict[str, Any]:
    """Return an example as somebody would send it today: what it plans is still to come."""
    body = example(kind)
    if "expected_publish_at" in body:
        body |= {"expected_publish_at": format_instant(datetime.now(UTC) + timedelta(days=30))}
    return body


def test_every_kind_of_command_is_accepted_from_its_own_sender_only(
    gateway: GatewayHarness,
) -> None:
    senders = {(command["by"]["role"], command["by"]["id"]) for command in EXAMPLES.values()}
    tokens = {role: f"{role}-has-this-token" for role, _ in senders}
    path = gateway.settings.var / "tokens"
    path.write_text("".join(f"{role}/{party_id} {tokens[role]}\n" for role, party_id in senders))
    http_client = gateway.open(tokens=path)
    for kind, body in EXAMPLES.items():
        own_role = body["by"]["role"]
        for role in sorted(tokens):
            response = post(http_client, sent_today(kind) | {"id": f"{kind}-{role}"}, tokens[role])
            assert response.status_code == (202 if role == own_role else 403), (kind, role)
        foreign_command = sent_today(kind) | {"by": body["by"] | {"id": "somebody-else"}}
        assert post(http_client, foreign_command, tokens[own_role]).status_code == 403, kind


def test_an_accepted_command_survives_the_loss_of_redis(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    post(http_client, register_mcn())
    eventually(gateway.is_queued)
    gateway.redis_client.flushall()
    assert http_client.get("/commands/register-1").json()["status"] == "pending"
    redelivery.sweep(gateway.engine, gateway.redis_client, now_us() + SECOND_US)
    assert gateway.settle() == 1


def test_the_outcome_of_a_payment_says_what_became_of_its_money(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    shares = [{"order_id": "nobodys", "amount_fen": 700}]
    body = example("confirm_payment") | {"amount_fen": 700, "shares": shares}
    post(http_client, body)
    post(http_client, register_mcn())
    gateway.settle()
    status = http_client.get(f"/commands/{body['id']}").json()
    assert (status["outcome"], status["shares"]) == (
        "applied",
        [
            {
                "order_id": "nobodys",
                "outcome": "suspense",
                "reason": "unknown_order",
                "refund_id": None,
                "reference": None,
            }
        ],
    )
    assert http_client.get("/commands/register-1").json()["shares"] is None
