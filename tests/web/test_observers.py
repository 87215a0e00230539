"""Observers: a token that reads everything and asks nothing; and what is read without any."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from ops.web.app import create_app
from ops.web.dependencies import open_context
from tests.support import sample_commands
from tests.web.gateway_harness import ACTION_HEADER, GatewayHarness, bearer, post
from workers.settings import project_root

OBSERVER_HEADERS = bearer("observer-token-0001")
PATH_VALUES = {"order_id": "o1", "command_id": "register-mcn-0001", "letter_id": "1"} | {
    "refund_id": "rf_p1_o1",
    "payout_id": "po_o1_creator",
    "item_id": "1",
}

ACTING_PATHS = (
    "/ops/api/orders/o1/act",
    "/ops/api/dead-letters/1/replay",
    "/ops/api/quarantine/1/drop",
)


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """List the methods and paths that are served, with a value for each part of a path."""
    return [
        (method, re.sub(r"{(\w+)}", lambda match: PATH_VALUES[match[1]], str(route.path)))
        for route in iter_route_contexts(app.routes)
        for method in sorted(route.methods or ())
    ]


def served_by(gateway: GatewayHarness) -> list[tuple[str, str]]:
    context = open_context(gateway.settings)
    routes = routes_of(create_app(context))
    context.engine.dispose()
    context.client.close()
    assert len(routes) > 20
    return routes


def test_an_observer_reads_whatever_there_is(gateway: GatewayHarness) -> None:
    http_client = gateway.open(tokens=gateway.tokens())
    post(http_client, sample_commands.admit(), "platform-token-0001")
    gateway.settle()
    placement = sample_commands.place("o1")
    post(http_client, placement, "every-client-token-1")
    gateway.settle()
    paths = [path for method, path in served_by(gateway) if method == "GET"]
    for path in paths:
        response = http_client.get(path, headers=OBSERVER_HEADERS, follow_redirects=False)
        # Under some of the ids there is nothing; but nobody says that it is none of its business.
        assert response.status_code in {200, 307, 404}, (path, response.text)
    for path in ("/orders/o1", "/orders", "/tasks", "/refunds", "/payouts", "/metrics"):
        assert http_client.get(path, headers=OBSERVER_HEADERS).status_code == 200, path
    assert len(http_client.get("/orders", headers=OBSERVER_HEADERS).json()["orders"]) == 1
    query = {"role": "client", "sender": "c1"}
    command_path = f"/commands/{placement['id']}"
    settled = http_client.get(command_path, params=query, headers=OBSERVER_HEADERS)
    assert settled.json()["about"] == "o1"


def test_an_observer_asks_for_nothing_in_any_role(gateway: GatewayHarness) -> None:
    http_client = gateway.open(tokens=gateway.tokens())
    for role in ("platform", "operator", "client", "payments"):
        body = sample_commands.admit()[0] | {"by": {"role": role, "id": "audit"}}
        assert post(http_client, body, "observer-token-0001").status_code in {403, 422}, role
    body = sample_commands.admit()[0] | {"by": {"role": "observer", "id": "audit"}}
    assert post(http_client, body, "observer-token-0001").status_code == 422
    headers = OBSERVER_HEADERS | ACTION_HEADER
    paths = [path for method, path in served_by(gateway) if method == "POST"]
    assert set(ACTING_PATHS) < set(paths)
    for path in set(paths) - {"/commands"}:
        response = http_client.post(path, json={"reason": "because"}, headers=headers)
        assert response.status_code == 403, path


def test_the_manual_lists_what_needs_no_token(gateway: GatewayHarness) -> None:
    http_client = gateway.open(tokens=gateway.tokens())
    text = (project_root() / "docs" / "gateway.md").read_text("utf-8")
    (listed,) = re.findall(r"No token is asked for by ([^.]*(?:\.\w[^.]*)*)\.\s", text)
    listed_paths = {path.replace("{id}", "o1") for path in re.findall(r"`(/[^`]*)`", listed)}
    open_paths = {"/ops/static/"} | {
        path
        for method, path in served_by(gateway)
        if http_client.request(method, path, follow_redirects=False).status_code != 401
    }
    assert http_client.get("/ops/static/ops.js").status_code == 200
    assert open_paths == listed_paths


DEEP = b"[" * 4_000 + b"]" * 4_000
STRICT_BODIES: list[tuple[bytes, str]] = [
    (b"{", "body"),
    (b"[]", "body"),
    (DEEP, "body"),
    (b'{"reason": ' + DEEP + b"}", ""),
    (b'{"reason": "because", "reason": "it was so"}', "body"),
    (b'{"reason": "   "}', "reason"),
    (b'{"reason": "\\u3164\\u3164\\u3164"}', "reason"),
    (b'{"reason": "no"}', "reason"),
    (b'{"reason": "a\\u0000b"}', "reason"),
    (b'{"reason": "\\ud800\\ud800\\ud800"}', ""),
    (b'{"reason": "\xff\xff\xff"}', ""),
    (b'{"reason": ' + b"9" * 5_000 + b"}", ""),
    (b'{"reason": "because", "more": NaN}', "more"),
]


@pytest.mark.parametrize("path", ACTING_PATHS)
def test_acting_is_parsed_as_strictly_as_commands_are(gateway: GatewayHarness, path: str) -> None:
    http_client = gateway.open(tokens=gateway.tokens())
    headers = bearer("operator-token-0001") | ACTION_HEADER | {"Content-Type": "application/json"}
    for body, field in STRICT_BODIES:
        sent = body
        if path.endswith("/act") and body.startswith(b'{"'):
            sent = b'{"kind": "pause_clock", "lent": false, "said": {}, ' + body[1:]
        response = http_client.post(path, content=sent, headers=headers)
        assert response.status_code == 422, (body[:60], response.text)
        fields = {error["field"] for error in response.json()["errors"]}
        assert not field or field in fields, (body[:60], fields)


@pytest.mark.parametrize(
    "said",
    [
        b'{"until": ' + b"9" * 4_200 + b"}",
        b'{"until": ' + b"[" * 190 + b"]" * 190 + b"}",
        b'{"until": NaN}',
        b'{"until": 1e999}',
        b'{"until": "2099-01-01T00:00:00Z", "until": "2098-01-01T00:00:00Z"}',
    ],
)
def test_the_fields_of_an_act_are_parsed_as_strictly_as_commands_are(
    gateway: GatewayHarness, said: bytes
) -> None:
    http_client = gateway.open(tokens=gateway.tokens())
    headers = bearer("operator-token-0001") | ACTION_HEADER | {"Content-Type": "application/json"}
    body = b'{"kind": "extend_deadline", "lent": false, "reason": "because", "said": ' + said + b"}"
    assert http_client.post(ACTING_PATHS[0], content=body, headers=headers).status_code == 422
