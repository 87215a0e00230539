"""Command schemas: what they accept is what the parser accepts, field by field."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from models.commands import COMMAND_KINDS
from models.commands.parsing import MalformedCommand, parse_command
from ops.contract import schemas
from ops.json_schema import JsonObject
from ops.web.openapi import EXAMPLES, example

SCHEMAS = schemas.command_schemas()
VALIDATORS = {kind: Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}


def is_accepted(body: JsonObject) -> bool:
    """Tell whether a command is accepted, by schema and by parser alike."""
    refusal = refusal_of(body)
    assert VALIDATORS[body["kind"]].is_valid(body) is (refusal is None), refusal
    return refusal is None


def refusal_of(body: JsonObject) -> str | None:
    try:
        parse_command(json.dumps(body))
    except MalformedCommand as fault:
        return fault.detail
    return None


def fields(kind: str, *, required: bool) -> list[str]:
    schema = SCHEMAS[kind]
    return [
        field_name
        for field_name in schema["properties"]
        if (field_name in schema["required"]) is required
    ]


def test_there_is_an_example_of_every_kind_of_command() -> None:
    assert EXAMPLES.keys() == COMMAND_KINDS == VALIDATORS.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_example_of_a_command_is_accepted_and_lacks_or_adds_no_field(kind: str) -> None:
    body = example(kind)
    assert is_accepted(body)
    for field in fields(kind, required=True):
        if field != "kind":
            assert not is_accepted({name: value for name, value in body.items() if name != field})
    assert not is_accepted(body | {"colour": "red"})


@pytest.mark.parametrize("kind", EXAMPLES)
def test_schema_and_parser_read_null_in_an_optional_field_as_absence(kind: str) -> None:
    body = example(kind)
    for field in fields(kind, required=False):
        absent = {name: value for name, value in body.items() if name != field}
        assert is_accepted(absent) is is_accepted(absent | {field: None})


WRONG: list[tuple[str, JsonObject]] = [
    ("register_creator", {"contract": "direct", "mcn_id": None, "mcn_share_bps": 1}),
    ("register_creator", {"mcn_id": None}),
    ("register_creator", {"contract": "direct"}),
    ("register_creator", {"mcn_share_bps": 10_001}),
    ("place_order", {"task_type": "douyin_live", "needs_script": False}),
    ("place_order", {"needs_script": 0}),
    ("cancel_order", {"accept_cost_fen": -1}),
    ("submit_script", {"links": []}),
    ("submit_script", {"links": ["http://pan.example.com/s"]}),
    ("submit_script", {"links": ["https://a.example/b"] * 21}),
    ("reject_script", {"comment": ""}),
    ("reject_script", {"comment": None}),
    ("publish_work", {"url": "https://"}),
    ("rate_order", {"rating": 6}),
    ("rate_order", {"rating": 0}),
    ("confirm_payout", {"payout_id": "po_o1_creator~2"}),
    ("report_violation", {"url": "ftp://a.example/b"}),
    ("resolve_dispute", {"creator_bps": None}),
    ("resolve_dispute", {"until": "2026-03-12T18:00:00+08:00"}),
    ("resolve_dispute", {"outcome": "approve"}),
    ("resolve_dispute", {"outcome": "extend", "creator_bps": None}),
    ("resolve_dispute", {"outcome": "extend", "until": "2026-03-12T18:00:00+08:00"}),
    ("release_forfeit", {"parts": []}),
    ("release_forfeit", {"parts": [{"to": "mcn", "amount_fen": 1}]}),
    ("operator_act", {"command": {"kind": "approve_script"}}),
    ("operator_act", {"command": {"kind": "confirm_unpaid", "order_id": "o1"}}),
    ("operator_act", {"command": {"kind": "approve_script", "order_id": "o1", "id": "cmd_00001"}}),
    ("operator_act", {"command": {"kind": "approve_script", "order_id": "o1", "by": None}}),
    ("operator_act", {"command": None}),
]


@pytest.mark.parametrize(("kind", "change"), WRONG)
def test_what_makes_no_sense_is_refused_by_schema_and_parser(kind: str, change: JsonObject) -> None:
    assert not is_accepted(example(kind) | change)


RIGHT: list[tuple[str, JsonObject]] = [
    ("register_creator", {"contract": "direct", "mcn_id": None, "mcn_share_bps": None}),
    ("register_creator", {"mcn_share_bps": 0}),
    ("place_order", {"task_type": "douyin_live", "needs_script": True}),
    ("place_order", {"needs_script": False}),
    ("cancel_order", {"accept_cost_fen": 0}),
    ("appoint_provider", {"provider_id": None}),
    ("resolve_dispute", {"outcome": "approve", "creator_bps": None}),
    ("operator_act", {"command": {"kind": "decline_order", "order_id": "o1", "reason": None}}),
    (
        "operator_act",
        {"command": {"kind": "appoint_provider", "order_id": "o1", "provider_id": None}},
    ),
]


@pytest.mark.parametrize(("kind", "change"), RIGHT)
def test_what_makes_sense_is_accepted_by_schema_and_parser(kind: str, change: JsonObject) -> None:
    assert is_accepted(example(kind) | change)
