"""Dry run: it predicts what then happens, and changes nothing."""

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
from models.service.handlers import handle_without_waiting
from ops.operate.actions import OWN_ACTIONS, OperatorAction, actions_in
from ops.operate.dry_run import DryRunSummary, dry_run_commands
from tests.support.command_fields import fields_for
from tests.support.datasets.archived_orders import ArchivingHarness, count_live_and_archived
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, START, place, span
from workers.database import schema
from workers.database.engine import WRITE_TIMEOUT_S, writing

SITUATIONS = (
    *("awaiting_deposit", "offered", "awaiting_balance", "balance_banned", "in_fulfilment"),
    *("script_review", "content_review", "published", "disputed_script", "forfeited_asked"),
)


def command_of(harness: StoreHarness, action: OperatorAction, number: int = 1) -> AnyCommand:
    """Write the command of an operator action on order `o1` as it is now."""
    arguments = fields_for(action.kind, harness.order(), harness.now)
    if not action.on_behalf:
        arguments.pop("reason", None)
    head = {"id": f"asked-{number:04}", "by": {"role": "operator", "id": "ann"}}
    return parse_command(
        json.dumps(action.command(arguments, order_id="o1", reason="why", head=head))
    )


def stored_rows(harness: StoreHarness) -> dict[str, list[Any]]:
    return {name: harness.rows(name) for name in schema.metadata.tables}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_dry_run_of_every_action_is_as_the_rules_decide_and_writes_nothing(
    harness: StoreHarness, situation: str
) -> None:
    harness.bring_to(situation)
    commands = [
        command_of(harness, action, n) for n, action in enumerate(actions_in(harness.order().state))
    ]
    before, at = stored_rows(harness), harness.now + timedelta(minutes=1)
    predictions = dry_run_commands(harness.store, commands, at)
    assert len(predictions) == len(commands) > 0
    for prediction in predictions:
        harness.uow.savepoint()
        outcome = handle_without_waiting(harness.uow, prediction.command, at)
        assert outcome == prediction.outcome
        assert harness.order() == prediction.after
        harness.uow.rollback()
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
    (action,) = (
        candidate
        for candidate in actions_in(harness.order().state)
        if candidate.kind == kind and not candidate.on_behalf
    )
    command = command_of(harness, action)
    (prediction,) = dry_run_commands(harness.store, [command], harness.now)
    outcome = harness.handle(json.loads(command.model_dump_json(exclude_none=True)), harness.now)
    assert prediction.outcome == outcome
    assert prediction.after == harness.order()
    harness.check_database()


def test_a_dry_run_counts_deadlines_that_passed_unnoticed(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    (action,) = (
        candidate for candidate in actions_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    (prediction,) = dry_run_commands(
        harness.store, [command_of(harness, action)], START + span("25h")
    )
    assert (prediction.outcome.outcome, prediction.outcome.reason) == ("rejected", "late")
    assert prediction.before is not None
    assert prediction.after is not None
    assert (prediction.before.state, prediction.after.state) == (State.OFFERED, State.EXPIRED)
    assert prediction.postings != ()


def test_a_dry_run_shows_a_settled_command_as_a_repeat(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    (action,) = (
        candidate for candidate in actions_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    body = json.loads(command_of(harness, action).model_dump_json())
    harness.handle(body, harness.now)
    (prediction,) = dry_run_commands(harness.store, [command_of(harness, action)], harness.now)
    assert prediction.outcome.outcome == "duplicate"


def test_a_dry_run_waits_for_no_lock(harness: StoreHarness) -> None:
    harness.bring_to("offered")
    (action,) = (
        candidate for candidate in actions_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    dry_run_over = threading.Event()

    def dry_run() -> None:
        dry_run_commands(harness.store, [command_of(harness, action)], harness.now)
        dry_run_over.set()

    with writing(harness.engine) as connection:
        connection.execute(text("UPDATE orders SET name = 'held' WHERE order_id = 'o1'"))
        dry_run_thread = threading.Thread(target=dry_run, daemon=True)
        dry_run_thread.start()
        # Longer than anybody waits for a lock: whoever did would have given up.
        assert dry_run_over.wait(2 * WRITE_TIMEOUT_S)
    dry_run_thread.join()


def test_a_dry_run_of_many_orders_is_added_up_by_state_reason_and_money(
    harness: StoreHarness,
) -> None:
    harness.admit().offer("o1", "o2", "o3")
    harness.ask("accept_order", "creator", order_id="o2")
    harness.ask("decline_order", "creator", order_id="o3")
    summary = DryRunSummary()
    (action,) = (
        candidate
        for candidate in actions_in(State.OFFERED)
        if candidate.kind == "cancel_order" and not candidate.on_behalf
    )
    head = {"id": "asked-0001", "by": {"role": "operator", "id": "ann"}}
    bodies = [
        action.command({}, order_id=name, reason="why", head=head | {"id": f"asked-{name}"})
        for name in ("o1", "o2", "o3", "nobody")
    ]
    for prediction in dry_run_commands(
        harness.store, [parse_command(json.dumps(body)) for body in bodies], harness.now
    ):
        summary.add(prediction)
    report = summary.to_json()
    assert report["by_state"] == {
        "awaiting_balance": 1,
        "declined": 1,
        "offered": 1,
        "unknown": 1,
    }
    assert (report["asked"], report["applied"]) == (4, 2)
    assert report["refused"] == {"unknown_order": 1, "wrong_state": 1}
    assert report["held_fen"] == 2 * DEPOSIT
    assert report["moves"] == [
        {"from": "escrow", "to": "refunds_payable", "amount_fen": 2 * DEPOSIT}
    ]
    assert [example["order_id"] for example in report["examples"]] == ["o1", "o2"]


@pytest.mark.parametrize("kind", ["release_forfeit", "cancel_order"])
def test_a_dry_run_on_an_archived_order_leaves_it_in_the_archive(engine: Engine, kind: str) -> None:
    harness = ArchivingHarness(engine=engine)
    harness.bring_to("forfeited_asked")
    place(harness, "o2")
    harness.archive_all()
    before = count_live_and_archived(engine)
    assert before[1] > 0
    action, at = OWN_ACTIONS[kind], harness.now + timedelta(days=500)
    (prediction,) = dry_run_commands(harness.store, [command_of(harness, action)], at)
    harness.uow.savepoint()
    assert handle_without_waiting(harness.uow, prediction.command, at) == prediction.outcome
    harness.uow.rollback()
    assert count_live_and_archived(engine) == before
