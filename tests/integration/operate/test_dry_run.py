"""Dry run: what is shown before is what happens after, and showing it changes nothing."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.commands import AnyCommand
from models.commands.parsing import parse_command
from models.lifecycle import State
from models.service.handlers import handle
from ops.operate.actions import OWN_ACTIONS, OperatorAction, actions_in
from ops.operate.dry_run import DryRunSummary, dry_run_commands
from tests.support.command_fields import fields_for
from tests.support.datasets.archived_orders import ArchivingHarness, count_live_and_archived
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, START, place, span
from workers.database import schema
from workers.database.engine import writing

SITUATIONS = (
    *("awaiting_deposit", "offered", "awaiting_balance", "balance_banned", "in_fulfilment"),
    *("script_review", "content_review", "published", "disputed_script", "forfeited_asked"),
)


def command_of(harness: StoreHarness, power: OperatorAction, number: int = 1) -> AnyCommand:
    """Write what a power asks of order `o1` just now."""
    arguments = fields_for(power.kind, harness.order(), harness.now)
    if not power.on_behalf:
        arguments.pop("reason", None)
    head = {"id": f"asked-{number:04}", "by": {"role": "operator", "id": "ann"}}
    return parse_command(
        json.dumps(power.command(arguments, order_id="o1", reason="why", head=head))
    )


def stored_rows(harness: StoreHarness) -> dict[str, list[Any]]:
    return {name: harness.rows(name) for name in schema.metadata.tables}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_dry_run_of_every_action_is_as_the_rules_decide_and_writes_nothing(
    harness: StoreHarness, situation: str
) -> None:
    harness.bring_to(situation)
    commands = [
        command_of(harness, power, n) for n, power in enumerate(actions_in(harness.order().state))
    ]
    before, at = stored_rows(harness), harness.now + timedelta(minutes=1)
    predictions = dry_run_commands(harness.store, commands, at)
    assert len(predictions) == len(commands) > 0
    for prediction in predictions:
        harness.book.savepoint()
        assert handle(harness.book, prediction.command, at) == prediction.outcome
        assert harness.order() == prediction.after
        harness.book.rollback()
        assert harness.order() == prediction.before
    assert any(prediction.is_applied for prediction in predictions)
    assert stored_rows(harness) == before


@pytest.mark.parametrize(
    ("situation", "kind"),
    [
        ("offered", "extend_deadline"),
        ("offered_paused", "extend_deadline"),
        ("awaiting_balance", "cancel_order"),
        ("disputed_script", "resolve_dispute"),
        ("forfeited_asked", "release_forfeit"),
    ],
)
def test_a_dry_run_shows_what_then_happens(
    harness: StoreHarness, situation: str, kind: str
) -> None:
    harness.bring_to(situation)
    (power,) = (
        candidate
        for candidate in actions_in(harness.order().state)
        if candidate.kind == kind and not candidate.on_behalf
    )
    command = command_of(harness, power)
    (foreseen,) = dry_run_commands(harness.store, [command], harness.now)
    settlement = harness.handle(json.loads(command.model_dump_json(exclude_none=True)), harness.now)
    assert foreseen.outcome == settlement
    assert foreseen.after == harness.order()
    harness.check_database()


def test_a_dry_run_counts_deadlines_that_passed_unnoticed(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    (power,) = (
        candidate for candidate in actions_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    (prediction,) = dry_run_commands(
        harness.store, [command_of(harness, power)], START + span("25h")
    )
    assert (prediction.outcome.outcome, prediction.outcome.reason) == ("rejected", "late")
    assert prediction.before is not None
    assert prediction.after is not None
    assert (prediction.before.state, prediction.after.state) == (State.OFFERED, State.EXPIRED)
    assert prediction.postings != ()


def test_a_dry_run_shows_a_settled_command_as_a_repeat(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    (power,) = (
        candidate for candidate in actions_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    body = json.loads(command_of(harness, power).model_dump_json())
    harness.handle(body, harness.now)
    (prediction,) = dry_run_commands(harness.store, [command_of(harness, power)], harness.now)
    assert prediction.outcome.outcome == "duplicate"


def test_a_dry_run_waits_for_no_lock(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    (power,) = (
        candidate for candidate in actions_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    look_over = threading.Event()

    def look() -> None:
        dry_run_commands(harness.store, [command_of(harness, power)], harness.now)
        look_over.set()

    with writing(harness.engine) as connection:
        connection.execute(text("UPDATE orders SET name = 'held' WHERE order_id = 'o1'"))
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        assert look_over.wait(timeout=4)
    looking.join()


def test_many_are_added_up_by_state_reason_and_money(harness: StoreHarness) -> None:
    harness.admit().offer("o1", "o2", "o3")
    harness.ask("accept_order", "creator", order_id="o2")
    harness.ask("decline_order", "creator", order_id="o3")
    forecast = DryRunSummary()
    (power,) = (
        candidate
        for candidate in actions_in(State.OFFERED)
        if candidate.kind == "cancel_order" and not candidate.on_behalf
    )
    head = {"id": "asked-0001", "by": {"role": "operator", "id": "ann"}}
    bodies = [
        power.command({}, order_id=name, reason="why", head=head | {"id": f"asked-{name}"})
        for name in ("o1", "o2", "o3", "nobody")
    ]
    for prediction in dry_run_commands(
        harness.store, [parse_command(json.dumps(body)) for body in bodies], harness.now
    ):
        forecast.add(prediction)
    summary = forecast.to_json()
    assert summary["by_state"] == {
        "awaiting_balance": 1,
        "declined": 1,
        "offered": 1,
        "unknown": 1,
    }
    assert (summary["asked"], summary["applied"]) == (4, 2)
    assert summary["refused"] == {"unknown_order": 1, "wrong_state": 1}
    assert summary["held_fen"] == 2 * DEPOSIT
    assert summary["moves"] == [
        {"from": "escrow", "to": "refunds_payable", "amount_fen": 2 * DEPOSIT}
    ]
    assert [example["order_id"] for example in summary["examples"]] == ["o1", "o2"]


@pytest.mark.parametrize("kind", ["release_forfeit", "cancel_order"])
def test_an_order_at_rest_is_judged_where_it_rests_and_stays_there(
    engine: Engine, kind: str
) -> None:
    desk = ArchivingHarness(engine=engine)
    desk.bring_to("forfeited_asked")
    place(desk, "o2")
    desk.archive_all()
    before = count_live_and_archived(engine)
    assert before[1] > 0
    power, at = OWN_ACTIONS[kind], desk.now + timedelta(days=500)
    (prediction,) = dry_run_commands(desk.store, [command_of(desk, power)], at)
    desk.book.savepoint()
    assert handle(desk.book, prediction.command, at) == prediction.outcome
    desk.book.rollback()
    assert count_live_and_archived(engine) == before
