"""Task lists over HTTP: everybody reads their own, in pages that neither skip nor repeat."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support import sample_commands
from tests.web.gateway_harness import GatewayHarness, bearer, post

OPERATOR_TOKEN = "operator-token-0001"
CREATOR_TOKEN = "creator-token-00001"
AGENCY_TOKEN = "agency-token-000001"

EXPECTED_TASK = {
    "task_id": "t1_3",
    "name": "春季新品推广",
    "client_id": "c1",
    "client_name": "极光",
    "creator_id": "k1",
    "industry": "美妆",
    "amount_fen": 100_000,
    "expected_publish_at": None,
    "status": "pending_payment",
    "state": "awaiting_deposit",
    "reason": None,
}


@pytest.fixture
def http_client(gateway: GatewayHarness) -> TestClient:
    """Serve four orders for a creator who is signed with an agency, and one for another's."""
    http_client = gateway.open(tokens=gateway.tokens())
    independent_creator = {"creator_id": "k2", "name": "K2", "contract": "direct"}
    commands = [sample_commands.command("register_client", "platform", client_id="c1", name="极光")]
    commands += [
        *sample_commands.admit(),
        sample_commands.command("register_creator", "platform", **independent_creator),
    ]
    post(http_client, commands, "platform-token-0001")
    gateway.settle()
    for n in range(4):
        post(http_client, sample_commands.place(f"t{n % 2}_{n}"), "every-client-token-1")
        gateway.settle()
    post(
        http_client,
        sample_commands.place("t9", "client:c2", creator_id="k2"),
        "every-client-token-1",
    )
    gateway.settle()
    return http_client


def read_task_ids(
    http_client: TestClient,
    token: str = OPERATOR_TOKEN,
    **params: Any,  # noqa: ANN401 - whatever the query is to be tried with
) -> list[str]:
    response = http_client.get("/tasks", params=params, headers=bearer(token))
    assert response.status_code == 200, response.text
    return [task["task_id"] for task in response.json()["tasks"]]


def test_a_token_of_a_client_and_a_creator_has_the_list_of_the_creator(
    http_client: TestClient,
) -> None:
    token = "two-parties-token-01"
    assert read_task_ids(http_client, token) == read_task_ids(http_client, CREATOR_TOKEN)


def test_a_creator_sees_its_own_list_and_an_agency_its_creators(http_client: TestClient) -> None:
    own_task_ids = ["t1_3", "t0_2", "t1_1", "t0_0"]
    assert (
        read_task_ids(http_client, CREATOR_TOKEN)
        == read_task_ids(http_client, AGENCY_TOKEN)
        == own_task_ids
    )
    assert (
        read_task_ids(http_client, CREATOR_TOKEN, creator="k1")
        == read_task_ids(http_client, AGENCY_TOKEN, creator="k1")
        == own_task_ids
    )
    assert (
        read_task_ids(http_client, CREATOR_TOKEN, creator="k2")
        == read_task_ids(http_client, AGENCY_TOKEN, creator="k2")
        == []
    )
    assert read_task_ids(http_client, AGENCY_TOKEN, mcn="m2") == []
    assert read_task_ids(http_client, CREATOR_TOKEN, mcn="m1") == own_task_ids


def test_operators_and_the_platform_see_all_tasks_and_may_filter_them(
    http_client: TestClient,
) -> None:
    assert read_task_ids(http_client)[0] == "t9"
    assert read_task_ids(http_client, "platform-token-0001", creator="k2") == ["t9"]
    assert len(read_task_ids(http_client, mcn="m1")) == 4
    assert read_task_ids(http_client, mcn="m2") == []


def test_a_task_list_is_filtered_by_status_id_and_time(http_client: TestClient) -> None:
    assert read_task_ids(http_client, CREATOR_TOKEN, id="t1") == ["t1_3", "t1_1"]
    assert read_task_ids(http_client, CREATOR_TOKEN, status="pending_payment", id="t0_") == [
        "t0_2",
        "t0_0",
    ]
    assert read_task_ids(http_client, CREATOR_TOKEN, status="finished") == []
    assert read_task_ids(http_client, CREATOR_TOKEN, created_after="2100-01-01T00:00:00Z") == []
    assert (
        len(read_task_ids(http_client, CREATOR_TOKEN, created_before="2100-01-01T00:00:00+08:00"))
        == 4
    )


def test_a_listed_task_has_every_field_that_a_creator_needs(http_client: TestClient) -> None:
    response = http_client.get("/tasks", params={"limit": 1}, headers=bearer(CREATOR_TOKEN)).json()
    (task,) = response["tasks"]
    assert task.pop("created_at").endswith("Z")
    assert task == EXPECTED_TASK
    assert response["next"]


def test_pages_of_tasks_neither_skip_nor_repeat(http_client: TestClient) -> None:
    task_ids, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = http_client.get("/tasks", params=params, headers=bearer(AGENCY_TOKEN)).json()
        task_ids += [task["task_id"] for task in page["tasks"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert task_ids == ["t1_3", "t0_2", "t1_1", "t0_0"]


@pytest.mark.parametrize(
    "params",
    [
        {"status": "offered"},
        {"cursor": "bm8"},
        {"cursor": "%"},
        {"limit": 0},
        {"limit": 201},
        {"id": "no/id"},
        {"id": ""},
        {"created_after": "2026-01-01T00:00:00"},
        {"color": "red"},
    ],
)
def test_an_invalid_query_for_tasks_is_refused(
    http_client: TestClient, params: dict[str, Any]
) -> None:
    response = http_client.get("/tasks", params=params, headers=bearer(OPERATOR_TOKEN))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == list(params)


def test_clients_have_no_task_list(http_client: TestClient) -> None:
    assert http_client.get("/tasks", headers=bearer("client-token-000001")).status_code == 403
    assert http_client.get("/tasks").status_code == 401


def test_the_openapi_document_describes_task_lists_and_reports(http_client: TestClient) -> None:
    document = http_client.get("/openapi.json").json()
    operation = document["paths"]["/tasks"]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {
        *("creator", "mcn", "status", "created_after", "created_before", "id", "cursor", "limit")
    }
    assert operation["responses"].keys() == {"200", "401", "403", "422", "503"}
    # Generated clients have types of these names.
    assert {"By", "Name"} <= document["components"]["schemas"].keys()
    page = document["components"]["schemas"]["TaskPage"]
    assert page["required"] == ["tasks", "next"]
    assert (
        document["components"]["schemas"]["TaskShown"]["properties"].keys() >= EXPECTED_TASK.keys()
    )
    for name in ("funnel", "endings", "money", "forecast"):
        report = document["paths"][f"/reports/{name}"]["get"]
        assert report["responses"].keys() == {"200", "401", "403", "422", "429", "503"}
        assert report["responses"]["429"]["content"].keys() == {"application/problem+json"}
