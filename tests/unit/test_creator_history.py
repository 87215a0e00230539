"""Creator history: creators as of an instant, and changes that reach orders later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.creators import CREATOR_ADAPTER, HISTORY_KEPT, Creator
from models.lifecycle import State
from models.reasons import RejectionReason
from models.service.unit_of_work import up_to
from tests.support.stories import (
    MICRO,
    START,
    OrderStory,
    as_stored_before,
    audit,
    place,
    play_step,
    span,
    story_of,
    story_with_parties,
)

WEEK = span("7d")
HOUR = span("1h")


def terms_of(creator: Creator | None) -> tuple[object, ...] | None:
    """Say what is read of a creator as of an instant."""
    if creator is None:
        return None
    contract = (creator.name, creator.agency, creator.mcn_share_bps, creator.admitted)
    return (*contract, creator.standing, creator.bans)


CHANGES = {
    "registered again": ["contract:3000"],
    "contract ended": ["leave"],
    "readmitted": ["leave", "contract:500"],
    "warned": ["violation:v1"],
    "banned": ["violation:v1", "violation:v2"],
    "banned twice": ["violation:v1", "violation:v2", "violation:v3"],
    "banned for good": ["violation:v1", "violation:v2", "violation:v3", "violation:v4"],
    "overturned": ["violation:v1", "violation:v2", "overturn:v1"],
}


@pytest.mark.parametrize("steps", CHANGES.values(), ids=CHANGES)
def test_a_creator_is_known_as_of_every_change_and_just_before_it(steps: list[str]) -> None:
    story, seen = story_with_parties(), []
    for number, step in enumerate(steps, start=1):
        at = START + number * HOUR
        seen.append((at - MICRO, terms_of(story.uow.creators["k1"])))
        story.now = at
        play_step(story, step)
        seen.append((at, terms_of(story.uow.creators["k1"])))
    for at, terms in seen:
        assert terms_of(story.uow.creator_at("k1", at)) == terms
    assert story.uow.creator_at("k1", START - MICRO) is None


def test_a_ban_that_is_over_still_counts_at_the_instant_of_its_end() -> None:
    story = story_with_parties()
    for name in ("v1", "v2"):
        play_step(story, f"violation:{name}")
    story.wake("creator:k1", START + WEEK + HOUR)
    creator = story.uow.creators["k1"]
    assert creator.bans == ()
    for at, banned in ((WEEK, True), (WEEK + MICRO, False)):
        as_of = creator.as_of(START + at)
        assert as_of is not None
        assert as_of.standing_at(START + at).banned is banned


def test_a_document_of_a_former_version_is_a_history_of_one_version() -> None:
    story = story_of("balance_banned")
    stored = CREATOR_ADAPTER.validate_json(as_stored_before(story.uow.creators["k1"]))
    assert stored == story.uow.creators["k1"].as_told()
    assert [version.bans for version in stored.versions] == [stored.bans]
    assert stored.as_of(START - span("900d")) == stored
    assert stored.first_change_after(0) is None
    assert [change.at for change in stored.standing_changes(0, START + WEEK)] == []
    (end_of_ban,) = stored.standing_changes(0, START + WEEK + MICRO)
    assert (end_of_ban.at, end_of_ban.standing.banned) == (START + WEEK, False)
    # The orders of then knew all of it, and learn of what comes next.
    story.uow.creators["k1"] = stored
    story.uow.orders["o1"] = replace(story.order(), creator_sequence=0, heeded_at=START)
    assert story.wake("o1", START + HOUR) == ()
    assert [event.fact.type for event in story.wake("creator:k1", START + WEEK + MICRO)] == [
        "creator.ban_lifted",
        "clock.resumed",
    ]
    assert story.order().stoppers == ()
    assert len(story.uow.creators["k1"].versions) == 2
    assert audit(story) == []


def test_a_creator_without_a_ban_stored_before_there_were_histories_has_no_changes() -> None:
    creator = story_with_parties().uow.creators["k1"]
    former_creator = CREATOR_ADAPTER.validate_json(as_stored_before(creator))
    assert former_creator.history == ()
    assert former_creator.first_change_after(0) is None
    assert former_creator.standing_changes(0, START + WEEK) == ()
    assert (former_creator.last_change, former_creator.wakeup) == (0, None)


def test_a_creator_of_whom_only_the_registration_is_written_down_is_admitted_and_free() -> None:
    document = {"creator_id": "k1", "name": "K", "mcn_id": None, "sequence": 1}
    creator = CREATOR_ADAPTER.validate_python(document)
    assert (creator.admitted, creator.mcn_share_bps) == (True, 0)
    assert (creator.violations, creator.bans, creator.standing.name) == ((), (), "free")


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ("", "free"),
        ("violation", "free"),
        ("violation violation", "banned"),
        ("violation violation violation violation", "banned_for_good"),
        ("leave", "left"),
        ("violation violation leave", "banned"),
    ],
)
def test_a_standing_has_a_name_for_people(steps: str, name: str) -> None:
    story = story_with_parties()
    for step in steps.split():
        play_step(story, step)
    assert story.uow.creators["k1"].standing.name == name


def test_a_history_keeps_a_day_and_what_the_creator_was_before() -> None:
    story = story_with_parties()
    for number in range(50):
        story.now = START + number * HOUR
        play_step(story, f"contract:{number}")
    creator = story.uow.creators["k1"]
    kept_since = story.now - HISTORY_KEPT
    assert [v.mcn_share_bps for v in creator.versions] == list(range(25, 50))
    assert creator.versions[0].at == kept_since
    for number in range(25, 50):
        as_of = creator.as_of(START + number * HOUR)
        assert as_of is not None
        assert as_of.mcn_share_bps == number
    # Longer ago, the oldest version that is known answers.
    assert creator.as_of(START) == creator.as_of(kept_since)


def silent_story(situation: str) -> OrderStory:
    """Play a history, and from then on let nobody spread what changes of a creator."""
    story = story_of(situation)
    story.spreads = False
    return story


def report_violations(story: OrderStory, count: int) -> None:
    for _ in range(count):
        play_step(story, "violation")


def test_what_nobody_may_have_learned_of_yet_is_never_forgotten() -> None:
    story = silent_story("offered")
    story.now = START + HOUR
    report_violations(story, 2)
    for number in range(10):
        story.now += span("2d")
        play_step(story, f"contract:{number}")
    assert story.order().state is State.OFFERED
    story.wake("creator:k1", story.now)
    (declined,) = story.events_of("order.declined")
    # Time had ended the offer by then, but not when the ban began.
    assert (declined.at, declined.published()["reason"]) == (START + HOUR, "creator_banned")
    assert story.uow.creators["k1"].spread_from is None
    assert audit(story) == []


def test_a_command_received_before_a_ban_sees_none_although_it_is_judged_later() -> None:
    story = silent_story("offered")
    banned_at = START + HOUR + span("10m")
    story.now = banned_at
    report_violations(story, 2)
    assert story.ask("accept_order", "creator", START + HOUR, order_id="o1").reason is None
    assert place(story, "o2").outcome == "applied"
    assert (story.order().state, story.order().stoppers) == (State.AWAITING_BALANCE, ())
    story.now = banned_at
    assert place(story, "o3").reason == RejectionReason.CREATOR_BANNED
    story.wake("creator:k1", banned_at)
    (stopped,) = story.events_of("clock.stopped")
    (cancelled,) = story.events_of("order.cancelled")
    assert (stopped.at, stopped.order_id) == (banned_at, "o1")
    assert (cancelled.at, cancelled.order_id) == (banned_at, "o2")
    assert stopped.caused_by == cancelled.caused_by
    assert audit(story) == []


def test_what_every_order_knows_is_forgotten_after_a_day_though_something_later_is_not() -> None:
    story = silent_story("offered")
    for number in range(5):
        story.now += HOUR
        play_step(story, f"contract:{number}")
    report_violations(story, 2)
    banned_at = story.now
    story.now += span("5d")
    play_step(story, "contract:99")
    versions = story.uow.creators["k1"].versions
    # The ban, which nobody has learned of, what the creator was just before, and what is new.
    assert [version.at for version in versions] == [banned_at, banned_at, story.now]
    assert [version.mcn_share_bps for version in versions] == [4, 4, 99]


def test_an_order_that_knows_a_change_learns_nothing_from_a_later_contract() -> None:
    story = silent_story("offered")
    report_violations(story, 2)
    creator = story.uow.creators["k1"]
    change = creator.first_change_after(0)
    assert change is not None
    play_step(story, "contract:99")
    creator = story.uow.creators["k1"]
    assert creator.has_changed_since(change.sequence)
    assert creator.first_change_after(change.sequence - 1) == change
    assert creator.first_change_after(change.sequence) is None


def test_what_an_order_has_still_to_learn_is_to_be_spread_again() -> None:
    story = silent_story("offered")
    report_violations(story, 2)
    creator = story.uow.creators["k1"]
    change = creator.first_change_after(0)
    assert change is not None
    number = change.sequence
    assert creator.spread_from == number
    # Marked already, or from something earlier on: as it is.
    for spread_from in (number, number - 1):
        marked = replace(creator, spread_from=spread_from)
        assert marked.known_up_to(0) == marked
    for later_mark in (None, number + 1):
        unmarked = replace(creator, spread_from=later_mark)
        assert unmarked.known_up_to(0).spread_from == number
        # Who knows it has nothing to learn.
        assert unmarked.known_up_to(number) == unmarked


def test_who_acts_and_what_share_is_frozen_is_as_of_the_commands_receipt() -> None:
    story = silent_story("offered")
    story.now = START + 2 * HOUR
    play_step(story, "contract:3000")
    play_step(story, "leave")
    assert story.ask("accept_order", "mcn", START + HOUR, order_id="o1").reason is None
    (accepted,) = story.events_of("order.accepted")
    assert (accepted.published()["mcn_id"], accepted.published()["mcn_share_bps"]) == ("m1", 0)
    outcome = story.ask("withdraw_order", "mcn", START + 3 * HOUR, order_id="o1")
    assert outcome.reason == RejectionReason.NOT_ALLOWED


def test_a_change_wants_attention_at_once_until_every_order_knows_of_it() -> None:
    story = silent_story("offered")
    place(story, "o2")
    at = START + span("5m")
    story.now = at
    report_violations(story, 2)
    for subject in ("creator:k1", "order:o1", "order:o2"):
        assert story.uow.next_wakeup(subject) == (at, False)
    assert story.uow.wake_at(story.order()) == at
    # Of one order something earlier is still on its way.
    horizons = {"order:o1": at - MICRO}
    events = story.uow.wake("creator:k1", lambda subject: horizons.get(subject, at))
    assert {event.order_id for event in events} == {"o2"}
    assert story.uow.next_wakeup("creator:k1") == (at, False)
    later_events = story.uow.wake("creator:k1", up_to(at))
    assert {event.order_id for event in later_events} == {"o1"}
    assert story.uow.next_wakeup("creator:k1") == (at + WEEK, True)
    story.events += events + later_events
    assert audit(story) == []


def test_a_change_is_spread_when_the_orders_that_go_on_know_of_it_too() -> None:
    story = silent_story("awaiting_balance")
    report_violations(story, 2)
    assert [event.fact.type for event in story.wake("creator:k1", story.now)] == ["clock.stopped"]
    assert not story.order().is_final
    assert story.uow.creators["k1"].spread_from is None


@pytest.mark.parametrize("situation", ["offered", "offered_paused", "declined"])
def test_an_order_whose_creator_has_not_changed_is_woken_for_itself(situation: str) -> None:
    story = story_of(situation)
    order = story.order()
    assert story.uow.wake_at(order) == order.wake_at
    assert (order.wake_at is None) == (situation == "declined")


def test_an_order_without_a_time_limit_is_woken_to_learn_of_its_creator() -> None:
    story = silent_story("offered")
    report_violations(story, 2)
    order = replace(story.order(), due_at=None)
    assert order.wake_at is None
    assert story.uow.wake_at(order) == story.now


def test_what_the_order_wants_before_its_creator_changed_comes_first() -> None:
    story = silent_story("offered")
    reminded_at = story.order().wake_at
    assert reminded_at is not None
    story.now = reminded_at + HOUR
    report_violations(story, 2)
    assert story.uow.wake_at(story.order()) == reminded_at


def test_an_order_passes_no_instant_that_its_creator_has_not() -> None:
    story = silent_story("balance_banned")
    over = START + WEEK + MICRO
    horizons = {"creator:k1": START + WEEK}
    assert story.uow.wake("o1", lambda subject: horizons.get(subject, over)) == ()
    assert [event.fact.type for event in story.wake("o1", over)] == ["clock.resumed"]
    # The end of the ban is not on record yet. When it is, the order knows of it already.
    assert [event.fact.type for event in story.wake("creator:k1", over)] == ["creator.ban_lifted"]
    assert audit(story) == []


def test_orders_that_are_not_at_hand_keep_a_change_from_being_done_with() -> None:
    story = silent_story("offered")
    report_violations(story, 2)
    story.uow.spread_complete = set()
    story.wake("creator:k1", START)
    assert story.order().state is State.DECLINED
    assert story.uow.next_wakeup("creator:k1") == (START, False)
    story.uow.spread_complete = {"k1"}
    assert story.wake("creator:k1", START) == ()
    assert story.uow.next_wakeup("creator:k1") == (START + WEEK, True)
