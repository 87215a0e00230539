"""Unpaid orders: a client has so many that wait for their first payment, and no more at once."""

from __future__ import annotations

import json

import pytest

from models.commands.parsing import parse_command
from models.policy import Policy
from models.service.outcome import Outcome
from models.service.subjects import subjects_counted, subjects_of, wakeup_subjects_counted
from tests.support import sample_commands
from tests.support.stories import OrderStory, audit, place, span, story_with_parties

LIMIT = 4
FEW = Policy(unpaid_orders_limit=LIMIT)


def crowd(count: int = LIMIT) -> OrderStory:
    """Let a client have so many unpaid orders, the first of a creator of its own."""
    story = story_with_parties(FEW)
    for number in range(1, count + 1):
        creator_id = "k1" if number == 1 else "k2"
        assert place(story, f"o{number}", creator_id=creator_id).outcome == "applied"
    return story


def place_next(story: OrderStory, after: str = "0s", **fields: object) -> Outcome:
    story.now += span(after)
    fields = {"creator_id": "k2"} | fields
    return place(story, "next", **fields)


def ban(story: OrderStory, creator_id: str) -> None:
    """Report two violations: the second one bans."""
    for number in (1, 2):
        story.ask(
            "report_violation",
            "platform",
            violation_id=f"{creator_id}-{number}",
            creator_id=creator_id,
            url="https://elsewhere.example/ad",
            seen_at="2026-03-02T00:00:00Z",
            evidence="a screenshot",
        )


def test_one_more_unpaid_order_than_the_limit_is_refused_and_the_limit_told() -> None:
    story = crowd()
    outcome = place_next(story)
    assert (outcome.reason, outcome.limits) == ("too_many_unpaid", {"limit": LIMIT})
    assert place(story, "another", "client:c2").outcome == "applied"
    assert audit(story) == []


def test_the_limit_is_that_of_the_policy_in_force() -> None:
    story = crowd()
    story.uow.policy = Policy()
    assert place_next(story).outcome == "applied"


@pytest.mark.parametrize("learns", ["at once", "when it is woken"])
@pytest.mark.parametrize("way", ["paid", "cancelled", "banned", "left"])
def test_an_order_that_waits_no_longer_makes_room(way: str, learns: str) -> None:
    story = crowd()
    story.spreads = learns == "at once"
    if way == "paid":
        story.pay("p", {"o1": story.order().balance_due_fen})
    elif way == "cancelled":
        story.ask("cancel_order", "client", order_id="o1")
    elif way == "left":
        story.ask("end_contract", "creator", creator_id="k1")
    else:
        ban(story, "k1")
    assert place_next(story).outcome == "applied"
    assert place(story, "o9", creator_id="k2").reason == "too_many_unpaid"


@pytest.mark.parametrize(("after", "reason"), [("40m", "too_many_unpaid"), ("40m+1us", None)])
def test_an_order_counts_until_time_has_ended_it_whoever_has_noticed(
    after: str, reason: str | None
) -> None:
    assert place_next(crowd(), after).reason == reason


def test_an_order_whose_clock_is_stopped_waits_on() -> None:
    story = crowd()
    for number in range(1, LIMIT + 1):
        fields = {"order_id": f"o{number}", "reason": "the bank is down"}
        assert story.ask("pause_clock", "operator", **fields).outcome == "applied"
    assert place_next(story, "3d").reason == "too_many_unpaid"
    # The pauses end after a month, and then the half hour that was left.
    assert place_next(story, "28d").outcome == "applied"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"creator_id": "nobody"}, "unknown_creator"),
        ({"order_id": "o1"}, "order_exists"),
        ({"creator_id": "departed"}, "creator_not_admitted"),
        ({"creator_id": "banned"}, "too_many_unpaid"),
        ({}, "too_many_unpaid"),
    ],
)
def test_too_many_unpaid_orders_have_their_place_among_reasons(
    fields: dict[str, str], reason: str
) -> None:
    story = crowd()
    for creator_id in ("departed", "banned"):
        registration = {"creator_id": creator_id, "name": "K", "contract": "direct"}
        story.ask("register_creator", "platform", **registration)
    story.ask("end_contract", "platform", creator_id="departed")
    ban(story, "banned")
    assert place_next(story, **fields).reason == reason


@pytest.mark.parametrize(
    ("unpaid_count", "in_flight", "expected"),
    [
        (LIMIT, 0, {"unpaid:c1"}),
        (LIMIT - 1, 0, set()),
        (LIMIT - 1, 1, {"unpaid:c1"}),
        (0, LIMIT - 1, set()),
    ],
)
def test_placements_of_a_client_wait_for_each_other_where_all_of_them_could_reach_the_limit(
    unpaid_count: int, in_flight: int, expected: set[str]
) -> None:
    placement = parse_command(json.dumps(sample_commands.place("next")))
    assert "unpaid:c1" in subjects_of(placement).reads
    counted = subjects_counted(crowd(unpaid_count).uow, placement, lambda _: in_flight)
    assert counted == expected


def none_in_flight(_subject: str) -> int:
    return 0


def test_whatever_takes_from_unpaid_orders_at_the_limit_waits_for_placements() -> None:
    body = sample_commands.command("cancel_order", "client", "o1")
    cancellation = parse_command(json.dumps(body))
    story = crowd()
    creator = f"creator:{story.order('o1').creator_id}"
    assert subjects_counted(story.uow, cancellation, none_in_flight) == {"unpaid:c1"}
    for subject in ("o1", creator):
        assert wakeup_subjects_counted(story.uow, subject, none_in_flight) == {"unpaid:c1"}
    story.ask("cancel_order", "client", order_id="o1")
    assert subjects_counted(story.uow, cancellation, none_in_flight) == frozenset()
    for subject in ("o1", creator):
        assert wakeup_subjects_counted(story.uow, subject, none_in_flight) == frozenset()


def test_unpaid_orders_that_nobody_named_count_once_and_those_at_hand_as_they_are() -> None:
    story = crowd()
    uow = story.uow
    # As loaded: all that are on record as unpaid, o1 and o2 because a command names them as well.
    uow.unpaid_orders = dict(uow.orders)
    for order_id in ("o3", "o4"):
        del uow.orders[order_id]
    assert sorted(order.order_id for order in uow.unpaid_of("c1")) == ["o1", "o2", "o3", "o4"]
    story.ask("cancel_order", "client", order_id="o1")
    assert sorted(order.order_id for order in uow.unpaid_of("c1")) == ["o2", "o3", "o4"]
    assert list(uow.unpaid_of("c2")) == []
