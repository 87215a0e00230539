"""Timeouts: reminders go to the right person, at the right lead, once, and never too late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.policy import Policy, read_policy
from models.reasons import RejectionReason
from tests.support.stories import POLICY, OrderStory, span, story_of

CREATOR_REMINDED, CLIENT_REMINDED = "creator.reminded", "client.reminded"


def leads_sent(story: OrderStory, kind: str) -> list[str]:
    return [event.published()["lead"] for event in story.events_of(kind)]


def wake_at(story: OrderStory, *offsets: str) -> None:
    """Wake the order at instants counted from when it entered its state."""
    entered_at = story.order().entered_at
    for offset in offsets:
        story.wake("o1", entered_at + span(offset))


@pytest.mark.parametrize(
    ("offsets", "expected_leads"),
    [
        (["12h-1us"], []),
        (["12h"], ["PT12H"]),
        (["12h", "12h", "13h"], ["PT12H"]),
        (["12h", "20h", "23h", "24h"], ["PT12H", "PT4H", "PT1H"]),
        (["21h"], ["PT4H"]),
        (["23h30m", "23h40m"], ["PT1H"]),
        (["24h"], ["PT1H"]),
        (["24h+1us"], []),
        (["12h", "90d"], ["PT12H"]),
    ],
)
def test_a_creator_is_reminded_at_each_lead_and_only_of_the_latest_missed(
    offsets: list[str], expected_leads: list[str]
) -> None:
    story = story_of("offered")
    wake_at(story, *offsets)
    assert leads_sent(story, CREATOR_REMINDED) == expected_leads


@pytest.mark.parametrize(
    ("offsets", "expected_leads"),
    [
        (["4d-1us"], []),
        (["4d", "6d", "6d22h"], ["P3D", "P1D", "PT2H"]),
        (["6d23h"], ["PT2H"]),
        (["7d"], ["PT2H"]),
        (["7d+1us", "7d5m"], []),
    ],
)
def test_a_client_is_reminded_of_the_balance(offsets: list[str], expected_leads: list[str]) -> None:
    story = story_of("awaiting_balance")
    wake_at(story, *offsets)
    assert leads_sent(story, CLIENT_REMINDED) == expected_leads
    assert leads_sent(story, CREATOR_REMINDED) == []


def test_a_reminder_names_whom_what_until_when_and_has_an_id_of_its_own() -> None:
    story = story_of("offered")
    wake_at(story, "12h")
    (event,) = story.events_of(CREATOR_REMINDED)
    reminder = event.published()
    assert (reminder["recipient_id"], reminder["order_id"], reminder["cause"]) == (
        "k1",
        "o1",
        "deadline",
    )
    assert (reminder["due_at"], reminder["lead"]) == ("2026-03-03T02:00:00Z", "PT12H")
    assert (event.id, event.caused_by) == ("order:o1/4", "reminder:offered")


def test_a_reminder_of_the_balance_says_how_much() -> None:
    story = story_of("revised")
    wake_at(story, "4d")
    reminder = story.events_of(CLIENT_REMINDED)[0].published()
    assert (reminder["recipient_id"], reminder["balance_due_fen"]) == ("c1", 115_500)


@pytest.mark.parametrize("situation", ["awaiting_deposit", "in_fulfilment", "declined"])
def test_a_state_without_reminders_sends_none(situation: str) -> None:
    story = story_of(situation)
    wake_at(story, "1m", "29m", "1d", "30d")
    assert story.events_of(CREATOR_REMINDED) + story.events_of(CLIENT_REMINDED) == []


def test_a_new_state_begins_its_own_reminders() -> None:
    policy = read_policy('{"accept_reminders": ["PT1H"], "balance_reminders": ["PT2H", "PT1H"]}')
    story = story_of("offered", policy)
    wake_at(story, "23h")
    story.ask("accept_order", "creator", story.order().accept_by, order_id="o1")
    wake_at(story, "6d22h", "6d23h")
    assert leads_sent(story, CLIENT_REMINDED) == ["PT2H", "PT1H"]


def test_an_order_wants_to_be_woken_for_its_next_reminder_and_then_for_its_end() -> None:
    story, wake_delays = story_of("offered"), []
    while (at := story.order().wake_at) is not None:
        wake_delays.append(at - story.order().entered_at)
        story.wake("o1", at if story.order().remaining_reminder_leads() else at + span("1us"))
    assert wake_delays == [timedelta(hours=n) for n in (12, 20, 23, 24)]


def nudge_at(story: OrderStory, offset: str) -> str | None:
    asked_at = story.order().entered_at + span(offset)
    return story.ask("nudge_creator", "client", asked_at, order_id="o1").reason


def test_nudges_keep_their_distance_and_their_number() -> None:
    story = story_of("offered")
    offsets = ["0s", "2h-1us", "2h", "4h", "4h1s", "6h", "23h"]
    assert [nudge_at(story, offset) for offset in offsets] == [
        None,
        RejectionReason.NUDGE_TOO_SOON,
        None,
        None,
        RejectionReason.NUDGE_TOO_SOON,
        RejectionReason.NUDGE_LIMIT,
        RejectionReason.NUDGE_LIMIT,
    ]
    assert {event.published()["cause"] for event in story.events_of(CREATOR_REMINDED)} == {"nudge"}


def test_a_nudge_is_no_reminder_of_the_ladder() -> None:
    story = story_of("offered")
    assert nudge_at(story, "12h") is None
    wake_at(story, "12h")
    assert [event.published()["lead"] for event in story.events_of(CREATOR_REMINDED)] == [
        None,
        "PT12H",
    ]


def test_a_policy_may_forbid_nudging() -> None:
    story = story_of("offered", Policy(nudge_limit=0))
    assert nudge_at(story, "1h") == RejectionReason.NUDGE_LIMIT
    assert POLICY.nudge_limit == 3


def test_a_paused_order_wants_to_be_woken_when_its_pause_ends() -> None:
    order = story_of("offered_paused").order()
    assert order.due_at is None
    assert order.wake_at == order.paused_until is not None


def test_an_order_that_ended_wants_attention_no_more() -> None:
    assert story_of("declined").order().wake_at is None
