"""Parked commands in the database: kept until their order is placed or their time has passed."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from models.commands.parsing import parse_command
from models.policy import Policy
from models.service.handlers import expire_parked, handle
from models.service.outcome import JudgedCommand, recorded_events
from models.service.unit_of_work import up_to
from tests.support.sample_commands import command, pay, place
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, MICRO, START, span
from workers.database.engine import writing
from workers.database.repository import LoadedState, flush_steps
from workers.processing import wakeups
from workers.timestamps import from_us, to_us


def settle(
    harness: StoreHarness,
    *submissions: tuple[dict[str, Any], datetime],
    wakes: Collection[str] = (),
    now: datetime = START,
) -> tuple[LoadedState, list[JudgedCommand]]:
    """Load, handle and flush a batch by itself, each command by its stamp in microseconds."""
    commands = [parse_command(json.dumps(body)) for body, _ in submissions]
    with writing(harness.engine) as connection:
        page = harness.store.load(connection, commands, wakes)
        judged = [
            entry
            for parsed, (_, at) in zip(commands, submissions, strict=True)
            for entry in handle(page.uow, parsed, at, to_us(at))
        ]
        for subject in wakes:
            judged += expire_parked(page.uow, subject.removeprefix("parked:"), now)
            page.events.extend(page.uow.wake(subject, up_to(now)))
            page.woken.add(subject)
        page.events.extend(recorded_events(judged))
        for entry in judged:
            if entry.outcome.outcome != "duplicate" and entry.command.key in page.uow.receipts:
                page.new_stamps[entry.command.key] = entry.number
        page.parked_traces |= {key: f"trace of {key}" for key in page.uow.parked}
        for step in flush_steps(page):
            step(connection)
    return page, judged


def reasons_of(judged: list[JudgedCommand]) -> list[tuple[str, str | None]]:
    return [(entry.command.kind, entry.outcome.reason) for entry in judged]


@pytest.fixture
def admitted(harness: StoreHarness) -> StoreHarness:
    """Give a harness with two agencies and their creators."""
    return harness.admit()


CANCEL = ("cancel_order", "client", "o1")


def test_what_was_parked_is_released_by_the_placement_in_another_batch(
    admitted: StoreHarness,
) -> None:
    cancel = command(*CANCEL)
    page, judged = settle(admitted, (cancel, START), (cancel, START + MICRO))
    assert judged == []
    first, repeat = admitted.rows("parked")
    assert (first.stamp, first.sender, first.command_id) == (
        to_us(START),
        "client:c1",
        cancel["id"],
    )
    assert (first.order_id, first.received_at, first.trace) == (
        "o1",
        to_us(START),
        f"trace of {first.stamp}",
    )
    assert from_us(first.answer_at) == from_us(first.wake_at) == START + span("5s")
    assert (repeat.answer_at, repeat.order_id) == (first.answer_at, "o1")
    page, judged = settle(admitted, (place("o1"), START + span("5s")))
    assert page.parked_traces == {str(row.stamp): row.trace for row in (first, repeat)}
    assert [(entry.number, entry.outcome.outcome) for entry in judged[1:]] == [
        (first.stamp, "applied"),
        (repeat.stamp, "duplicate"),
    ]
    assert [entry.received_at for entry in judged[1:]] == [START, START + MICRO]
    assert admitted.rows("parked") == []
    (receipt,) = (row for row in admitted.rows("receipts") if row.command_id == cancel["id"])
    assert (receipt.stamp, receipt.outcome) == (first.stamp, "applied")
    assert admitted.reader.audit().findings == []


def test_a_parked_command_is_claimed_when_its_time_has_passed_and_answered(
    admitted: StoreHarness,
) -> None:
    body = command(*CANCEL)
    settle(admitted, (body, START), (body, START + span("1s")))
    answer_at = START + span("5s")
    assert wakeups.claim(admitted.engine, answer_at - MICRO, 9) == []
    subjects = wakeups.claim(admitted.engine, answer_at, 9)
    assert sorted(subjects) == [f"parked:{row.stamp}" for row in admitted.rows("parked")]
    assert settle(admitted, wakes=subjects, now=answer_at)[1] == []
    (first, repeat) = admitted.rows("parked")
    assert (from_us(first.wake_at), bool(first.trace)) == (answer_at, True), "the lease is over"
    # One of the two is enough: the other is found by what it repeats.
    _, judged = settle(admitted, wakes=[f"parked:{repeat.stamp}"], now=answer_at + MICRO)
    assert [(entry.number, entry.outcome.reason) for entry in judged] == [
        (first.stamp, "unknown_order"),
        (repeat.stamp, "unknown_order"),
    ]
    assert admitted.rows("parked") == []


def test_a_batch_loads_no_more_of_what_waits_than_it_needs(admitted: StoreHarness) -> None:
    mine, same_id = command(*CANCEL), command("accept_order", "creator", "o2")
    settle(admitted, (mine, START), (same_id | {"id": mine["id"]}, START + MICRO))
    settle(admitted, (command("cancel_order", "client", "o3"), START + 2 * MICRO))
    page, _ = settle(admitted, (mine, START + 3 * MICRO))
    assert {waiting.number for waiting in page.uow.parked.values()} == {
        to_us(START),
        to_us(START + 3 * MICRO),
    }
    assert {sender: len(until) for sender, until in page.uow.parked_until.items()} == {
        "client:c1": 3
    }


def test_a_redelivered_command_waits_once(admitted: StoreHarness) -> None:
    body = command(*CANCEL)
    for _ in range(2):
        settle(admitted, (body, START))
    assert len(admitted.rows("parked")) == 1


def test_the_limit_counts_what_other_batches_have_parked(engine: Engine) -> None:
    harness = StoreHarness(Policy(parked_limit=2), engine=engine).admit()
    for number in range(2):
        body = command("cancel_order", "client", f"o{number}")
        settle(harness, (body, START + number * MICRO))
    _, judged = settle(harness, (command("cancel_order", "client", "o7"), START + span("1s")))
    assert reasons_of(judged) == [("cancel_order", "unknown_order")]
    other = command("cancel_order", "client:c2", "o7")
    assert settle(harness, (other, START + span("2s")))[1] == []


def test_what_a_parked_command_names_is_loaded_with_it(admitted: StoreHarness) -> None:
    settle(admitted, (command("register_provider", "platform", provider_id="v1", name="V"), START))
    appoint = command("appoint_provider", "client", "o1", provider_id="v1")
    settle(admitted, (appoint, START + MICRO))
    _, judged = settle(admitted, (place("o1"), START + span("1s")))
    assert reasons_of(judged) == [("place_order", None), ("appoint_provider", None)]


def test_a_share_in_suspense_is_loaded_and_applied_with_its_placement(
    admitted: StoreHarness,
) -> None:
    shares = {"o1": DEPOSIT, "o2": 7}
    settle(admitted, (pay("p1", shares), START))
    rows = {row.order_id: row for row in admitted.rows("suspended")}
    assert rows["o1"].number == to_us(START)
    assert from_us(rows["o1"].due_at) == from_us(rows["o1"].wake_at) == START + span("5s")
    # The refund of a cancellation that waited too is named as if all had come in one batch.
    settle(admitted, (command(*CANCEL), START + MICRO))
    settle(admitted, (place("o1"), START + span("1s")))
    (refund,) = admitted.rows("refunds")
    assert (refund.refund_id, refund.amount_fen) == ("rf_p1_o1", DEPOSIT)
    rows = {row.order_id: row for row in admitted.rows("suspended")}
    assert (rows["o1"].due_at, from_us(rows["o1"].resolved_at)) == (None, START + span("1s"))
    (payment,) = admitted.rows("payments")
    assert payment.client_id == "c1"
    assert admitted.reader.balances()["suspense"] == shares["o2"]
    assert admitted.reader.audit().findings == []


def test_an_operator_is_told_of_money_that_waits_once_its_grace_is_over(
    admitted: StoreHarness,
) -> None:
    settle(admitted, (pay("p1", {"o1": DEPOSIT}), START))
    over_at = START + span("5s")
    (subject,) = wakeups.claim(admitted.engine, over_at, 9)
    assert subject == "suspense:p1:o1"
    settle(admitted, wakes=[subject], now=over_at)
    assert admitted.published("operator.alerted") == []
    settle(admitted, wakes=[subject], now=over_at + MICRO)
    (alert,) = admitted.published("operator.alerted")
    assert (alert["alert"], alert["for_order_id"]) == ("unknown_order", "o1")
    assert wakeups.claim(admitted.engine, over_at + span("1h"), 9) == []
    assert admitted.reader.audit().findings == []
