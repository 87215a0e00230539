"""Campaign tests: the same seed gives the same traffic, and enough of it is opposed."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from models.commands.parsing import MalformedCommand, parse_command
from tests.law.campaign import CampaignPlan, DealtCall
from tests.law.cast import Exchange, write_cast
from tests.law.sender import write_text
from workers.timestamps import from_us

COMMANDS = 8_000
PLAN = CampaignPlan(7, COMMANDS, has_gateway=True, broken=3, deadly=1)
SENT_AT = from_us(1_800_000_000_000_000)


@pytest.fixture(scope="module")
def calls() -> list[DealtCall]:
    return list(chain.from_iterable(PLAN.salvos()))


def test_the_same_seed_gives_the_same_campaign(calls: list[DealtCall]) -> None:
    assert calls == list(chain.from_iterable(PLAN.salvos()))
    other = CampaignPlan(8, COMMANDS, has_gateway=True, broken=3, deadly=1)
    assert calls != list(chain.from_iterable(other.salvos()))


def test_at_least_three_in_ten_commands_have_an_opponent_in_another_message(
    calls: list[DealtCall],
) -> None:
    messages_by_exchange: dict[int, set[int]] = {}
    for number, call in enumerate(calls):
        for dealt in call.commands:
            messages_by_exchange.setdefault(dealt.exchange, set()).add(number)
    commands = [dealt for call in calls for dealt in call.commands]
    opposed = [dealt for dealt in commands if len(messages_by_exchange[dealt.exchange]) > 1]
    assert len(commands) >= COMMANDS
    assert len(opposed) >= 0.3 * len(commands)


def test_messages_of_every_size_go_through_both_doors(calls: list[DealtCall]) -> None:
    sizes = Counter(min(call.per_message, len(call.commands)) for call in calls)
    assert sizes.keys() >= {1, 2, 10, 100, 400}
    assert {call.door for call in calls} == {"redis", "http"}
    only_redis = CampaignPlan(7, 500)
    assert {call.door for call in chain.from_iterable(only_redis.salvos())} == {"redis"}


def test_every_command_is_one_that_pipelines_know_but_for_those_malformed_on_purpose() -> None:
    calls = chain.from_iterable(CampaignPlan(7, 1_500).salvos())
    for dealt in (dealt for call in calls for dealt in call.commands):
        text = write_text(dealt.body, SENT_AT)
        if "malformed" in dealt.body:
            with pytest.raises(MalformedCommand):
                parse_command(text)
        else:
            assert parse_command(text).id == dealt.body["id"]


def test_poison_is_sent_as_often_as_planned(calls: list[DealtCall]) -> None:
    ids = [dealt.body["id"] for call in calls for dealt in call.commands]
    assert sum(command_id.startswith("broken-") for command_id in ids) == PLAN.broken
    assert sum(command_id.startswith("deadly-") for command_id in ids) == PLAN.deadly


OPPONENTS = (
    {"cancel_order", "accept_order"},
    {"publish_work", "withdraw_order"},
    {"report_violation", "accept_order"},
    {"report_violation", "place_order"},
    {"end_contract", "accept_order"},
    {"end_contract", "place_order"},
    {"register_creator", "accept_order"},
    {"register_creator", "place_order"},
    {"overturn_violation", "accept_order"},
    {"confirm_payment", "cancel_order"},
    {"confirm_refund", "cancel_order"},
    {"confirm_refund", "fail_refund"},
    {"confirm_payout", "hold_payout"},
    {"confirm_payout", "fail_payout"},
    {"reverse_payout", "release_payout"},
    {"confirm_payment", "resolve_suspense"},
    {"confirm_payment", "void_payment"},
    {"confirm_refund", "void_payment"},
    {"cancel_order", "resolve_suspense"},
    {"place_order", "accept_order"},
)


@pytest.mark.parametrize("kinds", OPPONENTS, ids=lambda kinds: "-".join(sorted(kinds)))
def test_every_pair_of_opponents_meets(kinds: set[str]) -> None:
    assert any(kinds <= {body["kind"] for body in exchange} for exchange in _exchanges(60))


def test_one_id_comes_twice_from_one_sender_and_from_two() -> None:
    pairs = [
        (first, second)
        for exchange in _exchanges(60)
        for first, second in [exchange[:2]]
        if len(exchange) == 2 and first["id"] == second["id"]
    ]
    assert {first["by"] == second["by"] for first, second in pairs} == {True, False}
    assert {first == second for first, second in pairs} == {True, False}


def _exchanges(casts: int) -> list[Exchange]:
    steps = chain.from_iterable(write_cast(7, number) for number in range(casts))
    return [exchange for exchange in chain.from_iterable(steps) if len(exchange) > 1]
