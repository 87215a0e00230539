"""Outcomes: what the sender of a command is told, whether or not it could be read."""

from __future__ import annotations

import json

from models.commands.parsing import parse_command
from models.events.notifications import serialize_limits
from models.reasons import RejectionReason
from models.service.handlers import describe_outcome, handle_without_waiting
from models.service.outcome import applied, rejected
from tests.support import sample_commands
from tests.support.stories import START, story_of


def test_an_outcome_names_its_command_and_what_that_was_about() -> None:
    command = parse_command(json.dumps(sample_commands.place("o1")))
    fact = describe_outcome(command.sender, command.id, command, applied(()))
    assert (fact.sender, fact.command_id) == (command.sender, command.id)
    assert (fact.kind, fact.about, fact.outcome) == ("place_order", "o1", "applied")


def test_the_outcome_of_what_is_no_command_tells_as_much_as_could_be_read() -> None:
    fact = describe_outcome("client:c1", None, None, rejected(RejectionReason.MALFORMED))
    assert (fact.sender, fact.command_id) == ("client:c1", None)
    assert (fact.kind, fact.about) == (None, None)
    assert (fact.outcome, fact.reason) == ("rejected", "malformed")


def test_limits_are_told_as_json_and_none_as_none() -> None:
    assert serialize_limits(None) is None
    assert serialize_limits({"min": START, "limit": 3}) == {
        "min": "2026-03-02T02:00:00Z",
        "limit": 3,
    }


def test_a_command_that_nobody_waits_for_is_answered_at_once() -> None:
    story = story_of("offered")
    for order_id, reason in (("o1", None), ("o9", RejectionReason.UNKNOWN_ORDER)):
        body = sample_commands.command("accept_order", "creator", order_id)
        command = parse_command(json.dumps(body))
        assert handle_without_waiting(story.uow, command, story.now, 7).reason == reason
