"""Dry run: what is shown before is what happens after, and showing it changes nothing."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.commands import AnyCommand
from models.commands.parsing import parse
from models.lifecycle import State
from models.service.handlers import hear
from ops.operate.actions import OWN, Power, open_in
from ops.operate.dry_run import Forecast, foresee
from tests.support.command_fields import needed
from tests.support.datasets.archived_orders import Resting, halves
from tests.support.store_harness import Desk
from tests.support.stories import DEPOSIT, START, place, span
from workers.database import schema
from workers.database.engine import writing

SITUATIONS = (
    *("awaiting_deposit", "offered", "awaiting_balance", "balance_banned", "in_fulfilment"),
    *("script_review", "content_review", "published", "disputed_script", "forfeited_asked"),
)


def asked(desk: Desk, power: Power, number: int = 1) -> AnyCommand:
    """Write what a power asks of order `o1` just now."""
    arguments = needed(power.kind, desk.order(), desk.now)
    if not power.lent:
        arguments.pop("reason", None)
    head = {"id": f"asked-{number:04}", "by": {"role": "operator", "id": "ann"}}
    return parse(json.dumps(power.command(arguments, order_id="o1", reason="why", head=head)))


def written(desk: Desk) -> dict[str, list[Any]]:
    return {name: desk.rows(name) for name in schema.metadata.tables}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_power_is_foreseen_as_the_rules_judge_it_and_nothing_is_written(
    desk: Desk, situation: str
) -> None:
    desk.bring(situation)
    commands = [asked(desk, power, n) for n, power in enumerate(open_in(desk.order().state))]
    before, at = written(desk), desk.now + timedelta(minutes=1)
    predictions = foresee(desk.store, commands, at)
    assert len(predictions) == len(commands) > 0
    for prediction in predictions:
        desk.book.mark()
        assert hear(desk.book, prediction.command, at) == prediction.settlement
        assert desk.order() == prediction.after
        desk.book.back()
        assert desk.order() == prediction.before
    assert any(prediction.is_applied for prediction in predictions)
    assert written(desk) == before


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
def test_what_is_foreseen_is_what_then_happens(desk: Desk, situation: str, kind: str) -> None:
    desk.bring(situation)
    (power,) = (
        candidate
        for candidate in open_in(desk.order().state)
        if candidate.kind == kind and not candidate.lent
    )
    command = asked(desk, power)
    (foreseen,) = foresee(desk.store, [command], desk.now)
    settlement = desk.tell(json.loads(command.model_dump_json(exclude_none=True)), desk.now)
    assert foreseen.settlement == settlement
    assert foreseen.after == desk.order()
    desk.check()


def test_time_that_has_passed_unnoticed_is_foreseen_too(desk: Desk) -> None:
    desk.bring("offered")
    (power,) = (
        candidate for candidate in open_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    (prediction,) = foresee(desk.store, [asked(desk, power)], START + span("25h"))
    assert (prediction.settlement.outcome, prediction.settlement.reason) == ("rejected", "late")
    assert prediction.before is not None
    assert prediction.after is not None
    assert (prediction.before.state, prediction.after.state) == (State.OFFERED, State.EXPIRED)
    assert prediction.moves != ()


def test_a_command_that_was_asked_already_is_a_repeat(desk: Desk) -> None:
    desk.bring("offered")
    (power,) = (
        candidate for candidate in open_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    body = json.loads(asked(desk, power).model_dump_json())
    desk.tell(body, desk.now)
    (prediction,) = foresee(desk.store, [asked(desk, power)], desk.now)
    assert prediction.settlement.outcome == "duplicate"


def test_whoever_only_looks_waits_for_nobody(desk: Desk) -> None:
    desk.bring("offered")
    (power,) = (
        candidate for candidate in open_in(State.OFFERED) if candidate.kind == "pause_clock"
    )
    look_over = threading.Event()

    def look() -> None:
        foresee(desk.store, [asked(desk, power)], desk.now)
        look_over.set()

    with writing(desk.engine) as connection:
        connection.execute(text("UPDATE orders SET name = 'held' WHERE order_id = 'o1'"))
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        assert look_over.wait(timeout=4)
    looking.join()


def test_many_are_added_up_by_state_reason_and_money(desk: Desk) -> None:
    desk.admit().offer("o1", "o2", "o3")
    desk.ask("accept_order", "creator", order_id="o2")
    desk.ask("decline_order", "creator", order_id="o3")
    forecast = Forecast()
    (power,) = (
        candidate
        for candidate in open_in(State.OFFERED)
        if candidate.kind == "cancel_order" and not candidate.lent
    )
    head = {"id": "asked-0001", "by": {"role": "operator", "id": "ann"}}
    bodies = [
        power.command({}, order_id=name, reason="why", head=head | {"id": f"asked-{name}"})
        for name in ("o1", "o2", "o3", "nobody")
    ]
    for prediction in foresee(desk.store, [parse(json.dumps(body)) for body in bodies], desk.now):
        forecast.add(prediction)
    summary = forecast.shown()
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
    desk = Resting(engine=engine)
    desk.bring("forfeited_asked")
    place(desk, "o2")
    desk.rest()
    before = halves(engine)
    assert before[1] > 0
    power, at = OWN[kind], desk.now + timedelta(days=500)
    (prediction,) = foresee(desk.store, [asked(desk, power)], at)
    desk.book.mark()
    assert hear(desk.book, prediction.command, at) == prediction.settlement
    desk.book.back()
    assert halves(engine) == before
