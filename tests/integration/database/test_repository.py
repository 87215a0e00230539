"""Repository: after a story the database holds what the pure rules say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from models.fields import MICROSECOND
from models.policy import Policy, read_policy
from models.service.unit_of_work import UnitOfWork
from ops.order_views import serialize_order
from ops.simulation.simulate import Simulation, SimulationStep, read_step
from tests.check_scenarios import differences
from tests.support import sample_commands
from tests.support.store_harness import StoreHarness
from tests.support.stories import HISTORIES, START, TOTAL, place, span
from workers.timestamps import from_us

FOLDER = Path(__file__).parents[2] / "scenarios"
SCENARIOS = sorted(path.name.removesuffix(".steps.jsonl") for path in FOLDER.glob("*.steps.jsonl"))


def scenario(name: str) -> tuple[list[SimulationStep], Policy, dict[str, Any]]:
    """Read a scenario: its steps, its policy, and what must come of it."""
    policy_file = FOLDER / f"{name}.policy.json"
    policy = read_policy(policy_file.read_bytes()) if policy_file.exists() else Policy()
    lines = (FOLDER / f"{name}.steps.jsonl").read_text("utf-8").splitlines()
    expect = json.loads((FOLDER / f"{name}.expect.json").read_text("utf-8"))
    return [read_step(line, None) for line in lines if line.strip()], policy, expect


def play_through_store(
    harness: StoreHarness, steps: list[SimulationStep]
) -> Iterator[dict[str, Any]]:
    """Play steps through the store; yield what came of them, in the form of `simulate`."""
    for step in steps:
        harness.advance(step.at)
        if step.command is not None:
            harness.clock.present = max(harness.clock.present, step.at)
            assert harness.settle(harness.receive(step.command, step.at)) == []
    for row in harness.rows("parked"):
        # What still waits at the end is answered.
        harness.clock.present = from_us(row.answer_at) + MICROSECOND
        harness.wake_stored(f"parked:{row.stamp}")
    for answer in harness.published("command.settled"):
        outcome, reason = answer["outcome"], answer["reason"]
        yield {"id": answer["command_id"], "outcome": outcome, "reason": reason}
    events = [event for event in harness.published() if event["type"] != "command.settled"]
    yield {"events": events}
    orders = {order.order_id: serialize_order(order) for order in harness.reader.orders()}
    yield {"orders": orders, "ledger": harness.reader.balances()}


def play_through_rules(
    steps: list[SimulationStep], policy: Policy
) -> tuple[list[Any], dict[str, Any]]:
    """Play steps through the rules alone: the events, sorted, and the summary."""
    simulation = Simulation(UnitOfWork(policy=policy))
    events = [event for step in steps for line in simulation.play(step) for event in line["events"]]
    return sorted(map(json.dumps, events)), simulation.summary()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_played_through_the_store_ends_as_expected(engine: Engine, name: str) -> None:
    steps, policy, expect = scenario(name)
    harness = StoreHarness(policy, engine=engine)
    lines = list(play_through_store(harness, steps))
    assert list(differences(expect, lines)) == []
    events, summary = play_through_rules(steps, policy)
    assert sorted(map(json.dumps, lines[-2]["events"])) == events
    assert lines[-1] == summary
    assert harness.reader.audit().findings == []


@pytest.mark.parametrize("situation", HISTORIES)
def test_every_situation_is_stored_as_the_unit_of_work_has_it(
    harness: StoreHarness, situation: str
) -> None:
    harness.bring_to(situation).check_database()
    assert [serialize_order(order) for order in harness.reader.orders()] == [
        serialize_order(harness.order())
    ]


def test_two_refunds_whose_ids_are_spelt_alike_are_kept_apart(harness: StoreHarness) -> None:
    harness.admit()
    for order_id in ("c", "b_c"):
        place(harness, order_id)
    harness.pay("a_b", {"c": 1})
    harness.pay("a", {"b_c": 1})
    harness.ask("confirm_refund", "payments", refund_id="rf_a_b_c~2")
    harness.check_database()
    assert {row.refund_id: row.confirmed_at is not None for row in harness.rows("refunds")} == {
        "rf_a_b_c": False,
        "rf_a_b_c~2": True,
    }


def test_commands_are_handled_in_the_order_of_their_receipt(harness: StoreHarness) -> None:
    harness.admit().offer("o1")
    accept = harness.receive(sample_commands.accept(), harness.now + span("2s"))
    decline = harness.receive(
        sample_commands.command("decline_order", "creator", "o1"), harness.now + span("1s")
    )
    nudge = harness.receive(
        sample_commands.command("nudge_creator", "client", "o1"), harness.now + span("1s")
    )
    harness.clock.present = accept.at
    assert harness.settle(accept, nudge, decline) == []
    assert [harness.outcome_of(submission)[1] for submission in (decline, nudge, accept)] == [
        None,
        *["wrong_state"] * 2,
    ]


def test_the_relay_is_notified_once_for_each_batch_written(harness: StoreHarness) -> None:
    harness.admit()
    assert harness.notifications == harness.command_count


OTHER_POLICY = Policy(service_fee_bps=1_000, accept_window=timedelta(hours=1))


def test_an_order_keeps_the_policy_it_was_placed_under(harness: StoreHarness) -> None:
    harness.admit().offer("o1")
    successor = StoreHarness(OTHER_POLICY, engine=harness.engine, now=harness.now)
    placement = sample_commands.place("o2")
    successor.settle_alone(placement, harness.now)
    accept = successor.receive(sample_commands.accept(), harness.now + span("24h"))
    successor.clock.present = accept.at
    assert successor.settle(accept) == []
    assert successor.outcome_of(accept)[:2] == ("applied", None)
    orders = {order.order_id: order for order in successor.reader.orders()}
    assert orders["o1"].total_fen == TOTAL
    assert orders["o2"].total_fen == 110_000
    assert {order.policy for order in orders.values()} == {harness.policy, OTHER_POLICY}
    assert successor.reader.audit().findings == []


def test_a_worker_of_the_old_policy_reads_what_the_new_one_placed(harness: StoreHarness) -> None:
    harness.admit()
    successor = StoreHarness(OTHER_POLICY, engine=harness.engine)
    successor.settle_alone(sample_commands.place(), START)
    harness.settle_alone(sample_commands.command("cancel_order", "client", "o1"), START)
    assert [order.policy for order in harness.reader.orders()] == [OTHER_POLICY]
    assert [order.state for order in harness.reader.orders()] == ["cancelled"]
