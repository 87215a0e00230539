"""Events: facts that nobody can change any more, each under the name that it is published by."""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, fields

import pytest

from models.events import read_fact
from models.events.event import EVENT_TYPES
from models.events.parties import ClientRegistered
from tests.support.stories import HISTORIES, story_of


def test_a_fact_cannot_be_changed_nor_be_given_anything_else() -> None:
    fact = ClientRegistered(client_id="c1", name="C")
    with pytest.raises(FrozenInstanceError):
        fact.name = "D"  # type: ignore[misc]
    assert not hasattr(fact, "__dict__")


def test_what_a_fact_says_is_said_by_name() -> None:
    with pytest.raises(TypeError):
        ClientRegistered("c1", "C")  # type: ignore[call-arg]


def test_a_kind_of_event_is_known_by_its_published_name() -> None:
    assert EVENT_TYPES["client.registered"] is ClientRegistered
    assert {name: fact_class.type for name, fact_class in EVENT_TYPES.items()} == {
        name: name for name in EVENT_TYPES
    }


# What an event from before a field was told of means by its silence.
UNTOLD = {
    "counted": "elapsed",
    "needs_script": True,
    "source": "psp",
    "attempt": 1,
    **dict.fromkeys(("mcn_share_bps", "mcn_fen", "cost_fen"), 0),
    **dict.fromkeys(("creator_part_fen", "fee_part_fen", "refund_fen"), 0),
    **dict.fromkeys(("order_name", "state"), ""),
    "awaited": (),
}


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_a_field_that_an_older_event_does_not_have_means_what_it_always_meant(name: str) -> None:
    for field in fields(EVENT_TYPES[name]):  # type: ignore[arg-type]
        if field.default is not MISSING and field.default is not None:
            assert field.default == UNTOLD[field.name]
            assert type(field.default) is type(UNTOLD[field.name])


@pytest.mark.parametrize("situation", HISTORIES)
def test_an_event_is_read_as_it_was_published(situation: str) -> None:
    envelope = {"type", "order_id", "at", "sequence", "caused_by"}
    for event in story_of(situation).events:
        body = event.published()
        names = {field.name for field in fields(event.fact)}  # type: ignore[arg-type]
        content = {name: value for name, value in body.items() if name in names}
        assert body.keys() - names <= envelope
        assert read_fact(event.fact.type, content) == event.fact
