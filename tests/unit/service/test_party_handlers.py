"""Party handlers: who is registered, who may act for whom, and who has left."""

from __future__ import annotations

import pytest

from models.lifecycle import State
from models.policy import Policy
from models.reasons import RejectionReason
from tests.support.command_fields import fields_for
from tests.support.stories import (
    DEPOSIT,
    OrderStory,
    audit,
    place,
    play_step,
    story_of,
    story_with_parties,
)

REGISTERED_ONLY = Policy(require_registered_clients=True)


def test_a_client_must_be_registered_only_where_the_policy_says_so() -> None:
    assert place(story_with_parties()).outcome == "applied"
    story = story_with_parties(REGISTERED_ONLY)
    assert place(story).reason == RejectionReason.UNKNOWN_CLIENT
    client = {"client_id": "c1", "name": "C1"}
    assert story.ask("register_client", "client", **client).reason == RejectionReason.NOT_ALLOWED
    (event,) = story.ask("register_client", "platform", **client).events
    assert (event.fact.type, event.subject, event.sequence) == ("client.registered", "client:c1", 1)
    assert place(story).outcome == "applied"


def test_registering_a_party_again_renames_it() -> None:
    story = story_with_parties()
    for name in ("V", "W"):
        story.ask("register_provider", "platform", provider_id="v1", name=name)
        story.ask("register_client", "platform", client_id="c1", name=name)
        story.ask("register_mcn", "platform", mcn_id="m7", name=name)
    assert (story.uow.providers["v1"].name, story.uow.providers["v1"].sequence) == ("W", 2)
    assert (story.uow.clients["c1"].name, story.uow.clients["c1"].sequence) == ("W", 2)
    assert (story.uow.mcns["m7"].name, story.uow.mcns["m7"].sequence) == ("W", 2)


def test_placing_is_refused_for_the_first_party_that_is_not_in_order() -> None:
    story = story_with_parties(REGISTERED_ONLY)
    assert place(story, "o1", "client", creator_id="k9").reason == RejectionReason.UNKNOWN_CLIENT
    story.ask("register_client", "platform", client_id="c1", name="C")
    assert place(story, "o1", "client", creator_id="k9").reason == RejectionReason.UNKNOWN_CREATOR
    for _ in range(2):
        play_step(story, "violation")
    assert place(story).reason == RejectionReason.CREATOR_BANNED
    play_step(story, "leave")
    assert place(story).reason == RejectionReason.CREATOR_NOT_ADMITTED


@pytest.mark.parametrize(
    ("situation", "becomes", "reason"),
    [
        ("awaiting_deposit", State.CANCELLED, "creator_left"),
        ("offered", State.DECLINED, "creator_left"),
        ("awaiting_balance", State.AWAITING_BALANCE, None),
        ("in_fulfilment", State.IN_FULFILMENT, None),
        ("published", State.PUBLISHED, None),
    ],
)
def test_a_creator_who_leaves_keeps_the_orders_that_were_accepted(
    situation: str, becomes: State, reason: str | None
) -> None:
    story = story_of(situation)
    play_step(story, "leave")
    assert (story.order().state, story.order().reason) == (becomes, reason)
    assert place(story, "o2").reason == RejectionReason.CREATOR_NOT_ADMITTED
    assert audit(story) == []


def test_a_contract_is_ended_by_the_creator_or_the_platform_and_once() -> None:
    story = story_with_parties()
    fields = {"creator_id": "k1"}
    for by in ("creator:k2", "mcn", "client", "operator"):
        assert story.ask("end_contract", by, **fields).reason == RejectionReason.NOT_ALLOWED
    unknown = story.ask("end_contract", "platform", creator_id="k9")
    assert unknown.reason == RejectionReason.UNKNOWN_CREATOR
    assert story.ask("end_contract", "platform", **fields, reason="inactive").reason is None
    assert (
        story.ask("end_contract", "creator", **fields).reason
        == RejectionReason.CREATOR_NOT_ADMITTED
    )
    play_step(story, "contract:0")
    assert place(story).outcome == "applied"


def test_an_agency_that_has_no_contract_any_more_does_not_act() -> None:
    story = story_of("in_fulfilment")
    fields = fields_for("submit_script", story.order(), story.now)
    play_step(story, "leave")
    outcome = story.ask("submit_script", "mcn", order_id="o1", **fields)
    assert outcome.reason == RejectionReason.NOT_ALLOWED
    assert story.ask("submit_script", "creator", order_id="o1", **fields).reason is None


# ------------------------------------------------------------------ service providers
def story_with_providers(situation: str) -> OrderStory:
    """Let v1 serve the client and v2 the creator of an order."""
    story = story_of(situation)
    for name in ("v1", "v2", "v3"):
        play_step(story, f"provider:{name}")
    story.ask("appoint_provider", "client", order_id="o1", provider_id="v1")
    story.ask("appoint_provider", "creator", order_id="o1", provider_id="v2")
    return story


def act_as(story: OrderStory, kind: str, by: str) -> str | None:
    fields = fields_for(kind, story.order(), story.now)
    return story.ask(kind, by, order_id="o1", **fields).reason


def test_a_provider_does_its_sides_work_and_reviews_and_nothing_else() -> None:
    story = story_with_providers("in_fulfilment")
    assert act_as(story, "submit_script", "provider:v1") == RejectionReason.NOT_ALLOWED
    assert act_as(story, "submit_script", "provider:v2") is None
    assert act_as(story, "approve_script", "provider:v2") == RejectionReason.NOT_ALLOWED
    assert act_as(story, "reject_script", "provider:v1") is None
    assert act_as(story, "submit_script", "provider:v2") is None
    assert act_as(story, "approve_script", "provider:v1") is None
    assert act_as(story, "submit_content", "provider:v2") is None
    assert act_as(story, "approve_content", "provider:v1") is None
    assert act_as(story, "publish_work", "provider:v2") is None
    for kind in ("cancel_order", "dispute_order", "withdraw_order", "appoint_provider"):
        for by in ("provider:v1", "provider:v2"):
            assert act_as(story, kind, by) == RejectionReason.NOT_ALLOWED
    assert act_as(story, "confirm_delivery", "provider:v1") is None
    assert story.events_of("delivery.accepted")[0].published()["by"] == "provider:v1"


def test_nobody_serves_both_sides_of_one_order() -> None:
    story = story_with_providers("offered")
    fields = {"order_id": "o1"}
    outcome = story.ask("appoint_provider", "mcn", **fields, provider_id="v1")
    assert outcome.reason == RejectionReason.CONFLICT_OF_INTEREST
    assert story.ask("appoint_provider", "client", **fields, provider_id="v3").reason is None
    assert story.ask("appoint_provider", "mcn", **fields, provider_id="v1").reason is None
    assert (story.order().client_provider, story.order().creator_provider) == ("v3", "v1")


def test_a_provider_is_appointed_for_one_order_and_dismissed_again() -> None:
    story = story_with_providers("script_review")
    place(story, "o2")
    story.pay("d2", {"o2": DEPOSIT})
    assert story.order("o2").client_provider is None
    unknown = story.ask("appoint_provider", "client", order_id="o1", provider_id="v9")
    assert unknown.reason == RejectionReason.UNKNOWN_PROVIDER
    story.ask("appoint_provider", "client", order_id="o1", provider_id=None)
    assert act_as(story, "approve_script", "provider:v1") == RejectionReason.NOT_ALLOWED
    appointment = story.events_of("provider.appointed")[-1].published()
    assert (appointment["side"], appointment["provider_id"]) == ("client", None)


def test_who_may_not_appoint_is_told_so_before_whom_nobody_knows() -> None:
    story = story_of("cancelled_at_a_cost")
    for by, reason in (("operator", "not_allowed"), ("client", "unknown_provider")):
        outcome = story.ask("appoint_provider", by, order_id="o1", provider_id="v9")
        assert outcome.reason == reason
    play_step(story, "provider:v1")
    outcome = story.ask("appoint_provider", "client", order_id="o1", provider_id="v1")
    assert outcome.reason == RejectionReason.WRONG_STATE
