"""Operator actions: each has its word and its form, drawn from the command alone."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from models.commands import KINDS, AnyCommand
from models.commands.parsing import parse
from models.fields import instant_text
from models.lifecycle import FINAL, ROLES, TRANSITIONS, Role, State
from ops.cli.app import build_parser
from ops.cli.operate import read_intent
from ops.errors import Refused
from ops.operate.actions import LENT, OWN, Entry, Power, kind_of, open_in

ALL = [*OWN.values(), *LENT.values()]


NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)


BESIDE_THE_TYPE = {
    "url": "https://example.com/v",
    "links": ["https://example.com/a", "https://example.com/b"],
    "rating": 5,
}
"""What fields want that is more than a type; everything else is made up from that."""


def sample(entry: Entry) -> Any:  # noqa: ANN401 - whatever the field takes
    """Make up a value."""
    if entry.takes == "records":
        return [{inner_entry.name: sample(inner_entry) for inner_entry in entry.entries}]
    samples = {
        "flag": True,
        "number": 7,
        "instant": "2026-03-09T02:00:00Z",
        "choice": entry.choices[-1] if entry.choices else None,
        "text": "x1",
        "texts": ["x1", "x2"],
    }
    return BESIDE_THE_TYPE.get(entry.name, samples[entry.takes])


def said(power: Power) -> dict[str, Any]:
    return {entry.name: sample(entry) for entry in power.entries if entry.name != "creator_bps"}


def words(power: Power) -> list[str]:
    """Say the same on the command line."""
    arguments = []
    for name, value in said(power).items():
        flag = "--their-reason" if name == "reason" else f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [] if value is True else [value]
        arguments += [flag, *map(written, values)]
    path = ["act", power.kind] if power.lent else [power.kind]
    about = ["o1"] if power.of_an_order else []
    return ["operate", *path, *about, *arguments, "--reason", "why", "--as", "ann"]


def written(value: Any) -> str:  # noqa: ANN401 - a value, or a record
    if isinstance(value, dict):
        return ",".join(f"{name}={field_value}" for name, field_value in value.items())
    return str(value)


def spoken(*arguments: str) -> Namespace:
    return build_parser().parse_args(arguments)


def test_every_command_that_an_operator_may_ask_is_a_power() -> None:
    models = {kind_of(model): model for model in get_args(AnyCommand)}
    roles_by_kind = {
        kind: getattr(model, "roles", ROLES.get(kind, ())) for kind, model in models.items()
    }
    operator_kinds = {kind for kind in KINDS if Role.OPERATOR in roles_by_kind[kind]}
    assert OWN.keys() == operator_kinds
    parties = {Role.CLIENT, Role.CREATOR}
    party_kinds = {
        transition.command for transition in TRANSITIONS if not transition.roles.isdisjoint(parties)
    }
    assert LENT.keys() == party_kinds & KINDS


@pytest.mark.parametrize("power", ALL, ids=lambda power: f"{'act ' * power.lent}{power.kind}")
def test_what_a_form_asks_for_is_all_that_its_command_wants(power: Power) -> None:
    head = {"id": "command-1", "by": {"role": "operator", "id": "ann"}}
    order_id = "o1" if power.of_an_order else None
    body = power.command(said(power), order_id=order_id, reason="why", head=head)
    command: Any = parse(json.dumps(body))
    assert (command.reason, command.by.id) == ("why", "ann")
    effective_command = command.command if power.lent else command
    assert effective_command.kind == power.kind
    assert getattr(effective_command, "order_id", None) in ("o1", "x1", None)


@pytest.mark.parametrize("power", ALL, ids=lambda power: f"{'act ' * power.lent}{power.kind}")
def test_a_word_says_what_a_form_does(power: Power) -> None:
    intent = read_intent(spoken(*words(power)))
    assert (intent.power, intent.operator, intent.reason) == (power, "ann", "why")
    assert intent.said == said(power)


@pytest.mark.parametrize("power", ALL, ids=lambda power: f"{'act ' * power.lent}{power.kind}")
def test_no_word_is_spoken_without_a_reason(
    power: Power, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(power)
    position = arguments.index("--reason")
    with pytest.raises(SystemExit):
        spoken(*arguments[:position], *arguments[position + 2 :])
    assert "--reason" in capsys.readouterr().err


@pytest.mark.parametrize("state", State)
def test_a_page_offers_what_the_table_allows_and_nothing_else(state: State) -> None:
    rows = [transition for transition in TRANSITIONS if transition.source is state]
    own = {transition.command for transition in rows if Role.OPERATOR in transition.roles}
    parties = {
        transition.command for transition in rows if transition.roles & {Role.CLIENT, Role.CREATOR}
    }
    offered = open_in(state)
    assert {power.kind for power in offered if not power.lent} == own
    assert {power.kind for power in offered if power.lent} == (set() if state in FINAL else parties)


def test_only_what_makes_sense_for_many_is_asked_of_many() -> None:
    bulk = {power.kind for power in ALL if power.in_bulk}
    assert bulk == {
        *("extend_deadline", "pause_clock", "resume_clock", "cancel_order", "reinstate_order")
    }
    assert not LENT["cancel_order"].in_bulk


def test_short_words_stand_for_long_ones_and_extend_stands_alone() -> None:
    for short, kind in (("extend", "extend_deadline"), ("pause", "pause_clock")):
        said_by = ["--by", "PT3H"] if short == "extend" else []
        options = spoken("operate", short, "o1", *said_by, "--reason", "why")
        assert options.power is OWN[kind]
    assert spoken("extend", "o1", "--by", "PT3H", "--reason", "w").power is OWN["extend_deadline"]


def test_more_time_is_measured_from_each_orders_own_deadline() -> None:
    intent = read_intent(spoken("extend", "o1", "--by", "PT3H", "--reason", "w", "--as", "ann"))
    due = NOW + timedelta(days=1)
    body = intent.command("command-1", "o1", due)
    assert body["until"] == instant_text(due + timedelta(hours=3))
    assert parse(json.dumps(body)).kind == "extend_deadline"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--by", "3h"], "a duration like"),
        (["--by", "PT0S"], "more than nothing"),
        (["--by", "P9999D"], "at most 10 years"),
        (["--by", "PT3H", "--as", "no name"], "--as: "),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        read_intent(spoken("extend", "o1", "--reason", "w", *arguments))


def test_a_part_that_is_no_number_is_refused() -> None:
    arguments = ("operate", "release", "o1", "--reason", "w", "--parts", "to=client,amount_fen=1e3")
    with pytest.raises(Refused, match="amount_fen must be a whole number"):
        read_intent(spoken(*arguments))


def test_who_acts_for_a_side_is_dismissed_in_so_many_words() -> None:
    arguments = ("operate", "act", "appoint_provider", "o1", "--reason", "w", "--as", "ann")
    assert read_intent(spoken(*arguments, "--provider-id", "")).said == {"provider_id": None}
    assert read_intent(spoken(*arguments, "--provider-id", "sp1")).said == {"provider_id": "sp1"}
    with pytest.raises(SystemExit):
        spoken(*arguments)
