"""Rollback: a command that has to be handled again has left nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from models.service.unit_of_work import UnitOfWork
from tests.support.stories import BALANCE, DEPOSIT, OrderStory, audit, place, play_step, story_of


def contents(uow: UnitOfWork) -> list[Any]:
    """Copy all that a unit of work has recorded."""
    return [*(dict(tracked) for tracked in uow.tracked_dicts()), list(uow.postings)]


def cancel(story: OrderStory) -> None:
    story.ask("cancel_order", "client", order_id="o1", accept_forfeit=True)


STEPS = {
    "an order is placed": lambda story: place(story, "o2"),
    "a party is registered": lambda story: story.ask(
        "register_client", "platform", client_id="c7", name="C"
    ),
    "a creator is banned": lambda story: [play_step(story, "violation") for _ in range(2)],
    "a payment is applied": lambda story: story.pay("p7", {"o1": BALANCE}),
    "a payment waits in suspense": lambda story: story.pay("p7", {"o7": DEPOSIT}),
    "an order ends": cancel,
}


@pytest.mark.parametrize("step", STEPS)
def test_after_a_rollback_everything_is_as_at_the_savepoint(step: str) -> None:
    story = story_of("awaiting_balance")
    story.uow.savepoint()
    before = contents(story.uow)
    event_count = len(story.events)
    STEPS[step](story)
    assert contents(story.uow) != before
    story.uow.rollback()
    assert contents(story.uow) == before
    del story.events[event_count:]
    # The savepoint stays: what comes next can be undone in its turn.
    cancel(story)
    story.uow.rollback()
    assert contents(story.uow) == before
    del story.events[event_count:]
    assert audit(story) == []
