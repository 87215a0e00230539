"""Operator actions: each has its command and its form, both drawn from the command model."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from models.commands import COMMAND_KINDS, AnyCommand
from models.commands.parsing import parse_command
from models.fields import format_instant
from models.lifecycle import FINAL_STATES, ROLES_BY_COMMAND, TRANSITIONS, Role, State
from ops.cli.app import build_parser
from ops.cli.operate import read_request
from ops.errors import UsageError
from ops.operate.actions import (
    ON_BEHALF_ACTIONS,
    OWN_ACTIONS,
    FormField,
    OperatorAction,
    actions_in,
    kind_of,
)

ALL = [*OWN_ACTIONS.values(), *ON_BEHALF_ACTIONS.values()]
NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)

SAMPLE_VALUES = {
    "url": "https://example.com/v",
    "links": ["https://example.com/a", "https://example.com/b"],
    "rating": 5,
}
"""Fields that need more than a value of their type; all others are made up from the type."""


def sample_value(entry: FormField) -> Any:  # noqa: ANN401 - whatever the field takes
    """Make up a value that the field accepts."""
    if entry.takes == "records":
        return [{inner_entry.name: sample_value(inner_entry) for inner_entry in entry.entries}]
    samples = {
        "flag": True,
        "number": 7,
        "instant": "2026-03-09T02:00:00Z",
        "choice": entry.choices[-1] if entry.choices else None,
        "text": "x1",
        "texts": ["x1", "x2"],
    }
    return SAMPLE_VALUES.get(entry.name, samples[entry.takes])


def sample_fields(action: OperatorAction) -> dict[str, Any]:
    return {
        entry.name: sample_value(entry) for entry in action.entries if entry.name != "creator_bps"
    }


def as_arguments(action: OperatorAction) -> list[str]:
    """Return command line arguments that say what `sample_fields` says."""
    arguments = []
    for name, value in sample_fields(action).items():
        flag = "--their-reason" if name == "reason" else f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [] if value is True else [value]
        arguments += [flag, *map(as_text, values)]
    path = ["act", action.kind] if action.on_behalf else [action.kind]
    about = ["o1"] if action.needs_order else []
    return ["operate", *path, *about, *arguments, "--reason", "why", "--as", "ann"]


def as_text(value: Any) -> str:  # noqa: ANN401 - a value, or a record
    if isinstance(value, dict):
        return ",".join(f"{name}={field_value}" for name, field_value in value.items())
    return str(value)


def parse_arguments(*arguments: str) -> Namespace:
    return build_parser().parse_args(arguments)


def test_every_command_that_an_operator_may_ask_is_an_operator_action() -> None:
    models = {kind_of(model): model for model in get_args(AnyCommand)}
    roles_by_kind = {
        kind: getattr(model, "roles", ROLES_BY_COMMAND.get(kind, ()))
        for kind, model in models.items()
    }
    operator_kinds = {kind for kind in COMMAND_KINDS if Role.OPERATOR in roles_by_kind[kind]}
    assert OWN_ACTIONS.keys() == operator_kinds
    parties = {Role.CLIENT, Role.CREATOR}
    party_kinds = {
        transition.command for transition in TRANSITIONS if not transition.roles.isdisjoint(parties)
    }
    assert ON_BEHALF_ACTIONS.keys() == (party_kinds & COMMAND_KINDS) - AGREED_BETWEEN_SIDES


# An operator sets another day by a command of its own.
AGREED_BETWEEN_SIDES = {"propose_schedule", "agree_schedule"}


@pytest.mark.parametrize(
    "action", ALL, ids=lambda action: f"{'act ' * action.on_behalf}{action.kind}"
)
def test_what_a_form_asks_for_is_all_that_its_command_wants(action: OperatorAction) -> None:
    head = {"id": "command-1", "by": {"role": "operator", "id": "ann"}}
    order_id = "o1" if action.needs_order else None
    body = action.command(sample_fields(action), order_id=order_id, reason="why", head=head)
    command: Any = parse_command(json.dumps(body))
    assert (command.reason, command.by.id) == ("why", "ann")
    effective_command = command.command if action.on_behalf else command
    assert effective_command.kind == action.kind
    assert getattr(effective_command, "order_id", None) in ("o1", "x1", None)


@pytest.mark.parametrize(
    "action", ALL, ids=lambda action: f"{'act ' * action.on_behalf}{action.kind}"
)
def test_the_command_line_and_the_form_write_the_same_command(action: OperatorAction) -> None:
    request = read_request(parse_arguments(*as_arguments(action)))
    assert (request.action, request.operator, request.reason) == (action, "ann", "why")
    assert request.field_values == sample_fields(action)


@pytest.mark.parametrize(
    "action", ALL, ids=lambda action: f"{'act ' * action.on_behalf}{action.kind}"
)
def test_no_operator_action_goes_without_a_reason(
    action: OperatorAction, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = as_arguments(action)
    position = arguments.index("--reason")
    with pytest.raises(SystemExit):
        parse_arguments(*arguments[:position], *arguments[position + 2 :])
    assert "--reason" in capsys.readouterr().err


@pytest.mark.parametrize("state", State)
def test_a_page_offers_what_the_table_allows_and_nothing_else(state: State) -> None:
    rows = [transition for transition in TRANSITIONS if transition.source is state]
    own = {transition.command for transition in rows if Role.OPERATOR in transition.roles}
    parties = {
        transition.command for transition in rows if transition.roles & {Role.CLIENT, Role.CREATOR}
    }
    offered_actions = actions_in(state)
    assert {action.kind for action in offered_actions if not action.on_behalf} == own
    assert {action.kind for action in offered_actions if action.on_behalf} == (
        set() if state in FINAL_STATES else parties - AGREED_BETWEEN_SIDES
    )


def test_only_five_operator_actions_are_offered_in_bulk() -> None:
    bulk = {action.kind for action in ALL if action.in_bulk}
    assert bulk == {
        *("extend_deadline", "pause_clock", "resume_clock", "cancel_order", "reinstate_order")
    }
    assert not ON_BEHALF_ACTIONS["cancel_order"].in_bulk


def test_operate_has_short_names_for_commands_and_extend_is_a_command_of_its_own() -> None:
    for short, kind in (("extend", "extend_deadline"), ("pause", "pause_clock")):
        duration_arguments = ["--by", "PT3H"] if short == "extend" else []
        options = parse_arguments("operate", short, "o1", *duration_arguments, "--reason", "why")
        assert options.power is OWN_ACTIONS[kind]
    assert (
        parse_arguments("extend", "o1", "--by", "PT3H", "--reason", "w").power
        is OWN_ACTIONS["extend_deadline"]
    )


def test_more_time_is_measured_from_each_orders_own_deadline() -> None:
    request = read_request(
        parse_arguments("extend", "o1", "--by", "PT3H", "--reason", "w", "--as", "ann")
    )
    due_at = NOW + timedelta(days=1)
    body = request.command("command-1", "o1", due_at)
    assert body["until"] == format_instant(due_at + timedelta(hours=3))
    assert parse_command(json.dumps(body)).kind == "extend_deadline"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--by", "3h"], "a duration like"),
        (["--by", "PT0S"], "more than nothing"),
        (["--by", "P9999D"], "at most 10 years"),
        (["--by", "PT3H", "--as", "no name"], "--as: "),
    ],
)
def test_an_invalid_operator_action_is_refused_in_one_line(
    arguments: list[str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_request(parse_arguments("extend", "o1", "--reason", "w", *arguments))


def test_a_part_of_a_forfeit_whose_amount_is_no_number_is_refused() -> None:
    arguments = ("operate", "release", "o1", "--reason", "w", "--parts", "to=client,amount_fen=1e3")
    with pytest.raises(UsageError, match="amount_fen must be a whole number"):
        read_request(parse_arguments(*arguments))


def test_a_provider_is_dismissed_by_an_empty_id_and_not_by_leaving_it_out() -> None:
    arguments = ("operate", "act", "appoint_provider", "o1", "--reason", "w", "--as", "ann")
    assert read_request(parse_arguments(*arguments, "--provider-id", "")).field_values == {
        "provider_id": None
    }
    assert read_request(parse_arguments(*arguments, "--provider-id", "sp1")).field_values == {
        "provider_id": "sp1"
    }
    with pytest.raises(SystemExit):
        parse_arguments(*arguments)
