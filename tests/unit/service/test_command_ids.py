"""Command ids: each belongs to its sender, and a repeat is told what the first came to."""

from __future__ import annotations

import pytest

from models.commands.parsing import MalformedCommand, parse_command
from models.events.notifications import FirstOutcome
from models.service.handlers import describe_outcome
from models.service.outcome import Outcome
from tests.support.stories import DEPOSIT, OrderStory, sender, story_of, story_with_parties

ACCEPTED, NOT_ALLOWED = (
    FirstOutcome(outcome="applied", reason=None),
    FirstOutcome(outcome="rejected", reason="not_allowed"),
)


def nudge(story: OrderStory, by: str, order_id: str = "o1") -> Outcome:
    """Ask under an id that everybody uses."""
    body = {"id": "cmd_shared", "kind": "nudge_creator", "by": sender(by), "order_id": order_id}
    return story.handle(body, story.now)


def test_the_same_id_from_two_senders_takes_effect_twice() -> None:
    story = story_with_parties()
    for client_id in ("c1", "c2"):
        by = sender(f"platform:admin_of_{client_id}")
        body = {"id": "cmd_shared", "kind": "register_client", "by": by, "client_id": client_id}
        outcome = story.handle(body | {"name": client_id}, story.now)
        assert (outcome.outcome, outcome.reason) == ("applied", None)
    assert story.uow.clients.keys() == {"c1", "c2"}
    causes = [event.caused_by for event in story.events_of("client.registered")]
    assert causes == [
        f"command:platform:admin_of_{client_id}:cmd_shared" for client_id in ("c1", "c2")
    ]


def test_the_same_id_from_the_same_name_in_another_role_is_another_command() -> None:
    story = story_of("offered")
    assert nudge(story, "creator:c1").reason == "not_allowed"
    assert nudge(story, "client:c1").outcome == "applied"


def test_an_id_that_somebody_else_has_used_cannot_be_blocked() -> None:
    story = story_of("offered")
    assert nudge(story, "client:c2").reason == "not_allowed"
    assert nudge(story, "client:c1").outcome == "applied"
    assert nudge(story, "client:c2", "another").reason == "id_reused"
    assert nudge(story, "client:c1", "another").reason == "id_reused"


def test_a_repeat_is_told_what_its_own_first_came_to() -> None:
    story = story_of("offered")
    nudge(story, "client:c1")
    nudge(story, "client:c2")
    for by, reason, first in (
        ("client:c1", None, ACCEPTED),
        ("client:c2", "not_allowed", NOT_ALLOWED),
    ):
        repeat = nudge(story, by)
        assert (repeat.outcome, repeat.reason, repeat.first) == ("duplicate", reason, first)


def test_a_payment_reported_again_under_another_id_is_told_that_the_first_took_effect() -> None:
    story = story_of("awaiting_deposit")
    fields = {"paid_at": "2026-03-02T02:00:00Z"}
    assert story.pay("p1", {"o1": DEPOSIT}, **fields).first is None
    assert story.pay("p1", {"o1": DEPOSIT}, **fields).first == ACCEPTED


def test_an_outcome_names_its_sender_and_says_what_the_first_came_to() -> None:
    story = story_of("offered")
    nudge(story, "client:c2")
    repeat = nudge(story, "client:c2")
    body = '{"id": "cmd_shared", "kind": "nudge_creator", "by": {"role": "client", "id": "c2"}, '
    command = parse_command(body + '"order_id": "o1"}')
    fact = describe_outcome(command.sender, command.id, command, repeat)
    assert (fact.sender, fact.command_id, fact.first) == ("client:c2", "cmd_shared", NOT_ALLOWED)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"id": "cmd_00001", "by": {"role": "client", "id": "c1"}}', "client:c1:cmd_00001"),
        ('{"id": "a b:c", "by": {"role": "client", "id": "c1"}}', "client:c1:a b:c"),
        ('{"id": "cmd_00001", "by": {"role": "king", "id": "c1"}}', "-:cmd_00001"),
        ('{"id": "cmd_00001", "by": {"role": "client", "id": "c1:x"}}', "-:cmd_00001"),
        ('{"id": "cmd_00001", "by": {"role": ["client"], "id": "c1"}}', "-:cmd_00001"),
        ('{"id": "cmd_00001", "by": "client"}', "-:cmd_00001"),
        ('{"id": 7, "by": {"role": "client", "id": "c1"}}', "client:c1:-"),
        ("[]", "-:-"),
        ("{", "-:-"),
    ],
)
def test_a_malformed_command_is_named_as_far_as_it_can_be_read(text: str, key: str) -> None:
    with pytest.raises(MalformedCommand) as exc_info:
        parse_command(text)
    assert exc_info.value.key == key
