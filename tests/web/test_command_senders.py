"""Senders of commands over HTTP: an id belongs to its sender, and so does its outcome."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from ops.web.openapi import example
from tests.web.gateway_harness import GatewayHarness, JsonBody, bearer, post, register_mcn
from workers.client import CommandClient

SHARED = "shared-id-1"
CLIENT, EVERY_CLIENT, CREATOR, TWO_PARTIES, OPERATOR, PLATFORM = (
    *("client-token-000001", "every-client-token-1", "creator-token-00001"),
    *("two-parties-token-01", "operator-token-0001", "platform-token-0001"),
)


@pytest.fixture
def http_client(gateway: GatewayHarness) -> TestClient:
    """Open the gateway with tokens."""
    return gateway.open(tokens=gateway.tokens())


def ask(by: str, **changes: object) -> JsonBody:
    """Ask, under an id that everybody uses, what is refused at once whoever asks."""
    role, _, party_id = by.partition(":")
    by_party = {"role": role, "id": party_id}
    return example("register_client") | {"id": SHARED, "by": by_party} | changes


def read(http_client: TestClient, token: str | None, query: str = "") -> Any:  # noqa: ANN401 - a response
    headers = bearer(token) if token else {}
    return http_client.get(f"/commands/{SHARED}?{query}", headers=headers)


def submit_as_two(gateway: GatewayHarness, http_client: TestClient) -> None:
    """Let a client, and another, ask something under one id, and settle it."""
    assert post(http_client, ask("client:c1"), CLIENT).status_code == 202
    assert post(http_client, ask("client:c2"), EVERY_CLIENT).status_code == 202
    assert gateway.settle() == 2


def test_the_same_id_from_two_senders_takes_effect_twice(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    bodies = [
        register_mcn(SHARED, mcn_id=f"m_{name}", by={"role": "platform", "id": name})
        for name in ("one", "two")
    ]
    assert post(http_client, bodies).status_code == 202
    assert gateway.settle() == 2
    for name in ("one", "two"):
        outcome = read(http_client, None, f"role=platform&sender={name}").json()
        assert (outcome["sender"], outcome["outcome"]) == (f"platform:{name}", "applied")
    # A repeat is known by its sender, and an id is reused within one.
    assert post(http_client, bodies).status_code == 202
    assert gateway.settle() == 0
    assert post(http_client, [bodies[0] | {"name": "other"}]).status_code == 409


def test_nobody_can_block_an_id_by_using_it_first(
    gateway: GatewayHarness, http_client: TestClient
) -> None:
    submit_as_two(gateway, http_client)
    assert post(http_client, ask("creator:k1"), CREATOR).status_code == 202
    assert post(http_client, ask("client:c1", name="other"), CLIENT).status_code == 409


@pytest.mark.parametrize("is_settled", [False, True])
def test_nobody_reads_the_outcome_of_somebody_elses_command(
    gateway: GatewayHarness, http_client: TestClient, *, is_settled: bool
) -> None:
    post(http_client, ask("client:c2"), EVERY_CLIENT)
    if is_settled:
        gateway.settle()
    for token in (CLIENT, CREATOR):
        assert read(http_client, token).status_code == 404
        refusal = read(http_client, token, "role=client&sender=c2")
        assert (refusal.status_code, refusal.json()["detail"]) == (
            403,
            "this token does not speak for client c2",
        )
    assert read(http_client, TWO_PARTIES).json()["sender"] == "client:c2"


def test_a_sender_reads_its_own_outcome_by_the_id_alone(
    gateway: GatewayHarness, http_client: TestClient
) -> None:
    submit_as_two(gateway, http_client)
    assert read(http_client, CLIENT).json()["sender"] == "client:c1"
    assert read(http_client, TWO_PARTIES).json()["sender"] == "client:c2"
    assert read(http_client, CLIENT, "role=client&sender=c1").json()["sender"] == "client:c1"


@pytest.mark.parametrize("token", [OPERATOR, PLATFORM, EVERY_CLIENT])
def test_who_reads_for_several_names_the_sender_where_several_have_used_the_id(
    gateway: GatewayHarness, http_client: TestClient, token: str
) -> None:
    submit_as_two(gateway, http_client)
    refusal = read(http_client, token)
    assert (refusal.status_code, refusal.json()["errors"][0]["field"]) == (422, "sender")
    assert "say role=client&sender=c1 or role=client&sender=c2" in refusal.json()["detail"]
    assert read(http_client, token, "role=client&sender=c2").json()["sender"] == "client:c2"
    assert read(http_client, token, "role=client&sender=c3").status_code == 404


@pytest.mark.parametrize("token", [OPERATOR, PLATFORM, EVERY_CLIENT])
def test_who_reads_for_several_need_not_name_the_only_sender(
    gateway: GatewayHarness, http_client: TestClient, token: str
) -> None:
    post(http_client, ask("client:c1"), CLIENT)
    assert read(http_client, token).json()["status"] == "pending"
    gateway.settle_soon()
    outcome = read(http_client, token, "wait=10").json()
    assert (outcome["sender"], outcome["status"]) == ("client:c1", "settled")


def test_who_speaks_for_every_client_reads_no_creators_outcome(
    gateway: GatewayHarness, http_client: TestClient
) -> None:
    post(http_client, ask("creator:k1"), CREATOR)
    gateway.settle()
    assert read(http_client, EVERY_CLIENT).status_code == 404
    assert read(http_client, EVERY_CLIENT, "role=creator&sender=k1").status_code == 403


def test_a_token_of_two_parties_that_used_one_id_names_which(
    gateway: GatewayHarness, http_client: TestClient
) -> None:
    post(http_client, ask("client:c2"), TWO_PARTIES)
    post(http_client, ask("creator:k1"), TWO_PARTIES)
    gateway.settle()
    assert read(http_client, TWO_PARTIES).status_code == 422
    own = read(http_client, TWO_PARTIES, "role=creator&sender=k1").json()
    assert (own["sender"], own["reason"]) == ("creator:k1", "not_allowed")


@pytest.mark.parametrize(
    ("query", "field"),
    [("role=client", "sender"), ("sender=c1", "role"), ("role=king&sender=c1", "role")],
)
def test_a_sender_is_named_by_both_its_role_and_its_id(
    http_client: TestClient, query: str, field: str
) -> None:
    refusal = read(http_client, OPERATOR, query)
    assert (refusal.status_code, refusal.json()["errors"][0]["field"]) == (422, field)


def test_a_wait_ends_with_the_outcome_of_the_sender_that_was_named(
    gateway: GatewayHarness, http_client: TestClient
) -> None:
    post(http_client, ask("client:c2"), EVERY_CLIENT)
    gateway.settle()
    post(http_client, ask("client:c1"), CLIENT)
    assert read(http_client, CLIENT, "wait=0.1").json()["status"] == "pending"
    gateway.settle_soon()
    outcome = read(http_client, CLIENT, "wait=10").json()
    assert (outcome["sender"], outcome["status"]) == ("client:c1", "settled")


def test_a_duplicate_over_http_says_what_the_first_came_to(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    payment = example("confirm_payment") | {"shares": []}
    for command_id in ("the-first-1", SHARED):
        post(http_client, payment | {"id": command_id})
        gateway.settle()
    outcome = read(http_client, None).json()
    assert (outcome["outcome"], outcome["first"]) == (
        "duplicate",
        {"outcome": "applied", "reason": None},
    )
    assert http_client.get("/commands/the-first-1").json()["first"] is None


def test_a_malformed_command_of_nobody_hides_no_outcome(gateway: GatewayHarness) -> None:
    http_client = gateway.open()
    post(http_client, register_mcn(SHARED))
    CommandClient(gateway.redis_client).submit(f'{{"id": "{SHARED}"}}')
    assert gateway.settle() == 2
    assert read(http_client, None).json()["sender"] == "platform:p"
