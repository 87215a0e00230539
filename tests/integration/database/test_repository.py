"""Repository: what the pure rules say of a story is what the database holds after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from models.policy import Policy, read_policy
from models.service.unit_of_work import Book
from ops.order_views import describe
from ops.simulation.simulate import Step, World, read_step
from tests.check_scenarios import differences
from tests.support import sample_commands
from tests.support.store_harness import Desk
from tests.support.stories import HISTORIES, MICRO, START, TOTAL, place, span

FOLDER = Path(__file__).parents[2] / "scenarios"


SCENARIOS = sorted(path.name.removesuffix(".steps.jsonl") for path in FOLDER.glob("*.steps.jsonl"))


def scenario(name: str) -> tuple[list[Step], Policy, dict[str, Any]]:
    """Read a worked example: its steps, the policy it wants, and what must come out."""
    policy_file = FOLDER / f"{name}.policy.json"
    policy = read_policy(policy_file.read_bytes()) if policy_file.exists() else Policy()
    lines = (FOLDER / f"{name}.steps.jsonl").read_text("utf-8").splitlines()
    expect = json.loads((FOLDER / f"{name}.expect.json").read_text("utf-8"))
    return [read_step(line, None) for line in lines if line.strip()], policy, expect


def played(desk: Desk, steps: list[Step]) -> Iterator[dict[str, Any]]:
    """Play steps through the store; describe what came of them as `simulate` does."""
    for step in steps:
        desk.advance(step.at)
        if step.command is not None:
            outcome, reason, name = desk.answer(desk.say(step.command, step.at))
            yield {"id": name, "outcome": outcome, "reason": reason}
    events = [event for event in desk.published() if event["type"] != "command.settled"]
    yield {"events": events}
    orders = {order.order_id: describe(order) for order in desk.reader.orders()}
    yield {"orders": orders, "ledger": desk.reader.balances()}


def foreseen(steps: list[Step], policy: Policy) -> tuple[list[Any], dict[str, Any]]:
    """Play steps through the rules alone: the events, sorted, and the summary."""
    world = World(Book(policy=policy))
    events = [event for step in steps for line in world.play(step) for event in line["events"]]
    return sorted(map(json.dumps, events)), world.summary()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_worked_example_comes_out_of_the_store_as_it_must(engine: Engine, name: str) -> None:
    steps, policy, expect = scenario(name)
    desk = Desk(policy, engine=engine)
    lines = list(played(desk, steps))
    assert list(differences(expect, lines)) == []
    events, summary = foreseen(steps, policy)
    assert sorted(map(json.dumps, lines[-2]["events"])) == events
    assert lines[-1] == summary
    assert desk.reader.audit().findings == []


@pytest.mark.parametrize("situation", HISTORIES)
def test_every_situation_is_stored_as_the_book_has_it(desk: Desk, situation: str) -> None:
    desk.bring(situation).check()
    assert [describe(order) for order in desk.reader.orders()] == [describe(desk.order())]


def test_two_pairs_that_spell_one_refund_are_kept_apart(desk: Desk) -> None:
    desk.admit()
    for order_id in ("c", "b_c"):
        place(desk, order_id)
    desk.pay("a_b", {"c": 1})
    desk.pay("a", {"b_c": 1})
    desk.ask("confirm_refund", "payments", refund_id="rf_a_b_c~2")
    desk.check()
    assert {row.refund_id: row.confirmed_at is not None for row in desk.rows("refunds")} == {
        "rf_a_b_c": False,
        "rf_a_b_c~2": True,
    }


def test_commands_are_judged_in_the_order_of_their_receipt(desk: Desk) -> None:
    desk.admit().offer("o1")
    later = desk.receive(sample_commands.accept(), desk.now + 2 * MICRO)
    sooner = desk.receive(sample_commands.ask("decline_order", "creator", "o1"), desk.now + MICRO)
    twin = desk.receive(sample_commands.ask("nudge_creator", "client", "o1"), desk.now + MICRO)
    desk.door.present = later.at
    assert desk.settle(later, twin, sooner) == []
    assert [desk.answer(submission)[1] for submission in (sooner, twin, later)] == [
        None,
        *["wrong_state"] * 2,
    ]


def test_what_was_settled_is_told_to_the_relay_once_it_is_written(desk: Desk) -> None:
    desk.admit()
    assert desk.rung == desk.asked


OTHER = Policy(service_fee_bps=1_000, accept_window=timedelta(hours=1))


def test_an_order_keeps_the_policy_it_was_placed_under(desk: Desk) -> None:
    desk.admit().offer("o1")
    successor = Desk(OTHER, engine=desk.engine, now=desk.now)
    placement = sample_commands.place("o2")
    successor.say(placement, desk.now)
    accept = successor.receive(sample_commands.accept(), desk.now + span("24h"))
    successor.door.present = accept.at
    assert successor.settle(accept) == []
    assert successor.answer(accept)[:2] == ("applied", None)
    orders = {order.order_id: order for order in successor.reader.orders()}
    assert orders["o1"].total_fen == TOTAL
    assert orders["o2"].total_fen == 110_000
    assert {order.policy for order in orders.values()} == {desk.policy, OTHER}
    assert successor.reader.audit().findings == []


def test_a_worker_of_the_old_policy_reads_what_the_new_one_placed(desk: Desk) -> None:
    desk.admit()
    successor = Desk(OTHER, engine=desk.engine)
    successor.say(sample_commands.place(), START)
    desk.say(sample_commands.ask("cancel_order", "client", "o1"), START)
    assert [order.policy for order in desk.reader.orders()] == [OTHER]
    assert [order.state for order in desk.reader.orders()] == ["cancelled"]
