"""Checker tests: what agrees is let pass, and every planted difference is named for what it is."""

from __future__ import annotations

import copy
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from models import ledger
from models.events.notifications import OperatorAlerted
from models.fields import MICROSECOND
from ops.simulation.simulate import Simulation, SimulationStep
from tests.law.cast import POLICY, CommandBody, Exchange, write_cast
from tests.law.checker import find_differences, match_texts
from tests.law.evidence import LoggedCommand, PipelineRecord, StampedOutcome, StoredEvent
from tests.law.formats import REMINDER_CAUSE, CommandKey, RecordingUnitOfWork, outcomes_of
from tests.law.sender import write_text
from workers.timestamps import from_us

BEGIN_US = 1_800_000_000_000_000
STEP_US = 500_000
GAP_US = 1_000


def play_cast(seed: int) -> tuple[PipelineRecord, list[LoggedCommand]]:
    """Play a cast through the rules and write the record that a right pipeline would leave."""
    world = RecordingUnitOfWork(POLICY)
    simulation, record = Simulation(world), PipelineRecord()
    log: list[LoggedCommand] = []
    lines: list[Mapping[str, Any]] = []
    for stamp, body in _stamped(write_cast(seed, 0)):
        text, sender = write_text(body, from_us(stamp)), body["by"]
        log.append(
            LoggedCommand(f"{sender['role']}:{sender['id']}", body["id"], text, len(log), 0, stamp)
        )
        lines += simulation.play(SimulationStep(from_us(stamp), text))
    record.until_us = BEGIN_US + 100 * STEP_US
    lines += simulation.advance(from_us(record.until_us))
    record.outcomes = _stamp_outcomes(json.loads(json.dumps(lines)), log)
    record.events = {
        subject: [StoredEvent(event.sequence, event.caused_by, event.text()) for event in events]
        for subject, events in world.events.items()
    }
    record.endings = {
        order_id: (order.state.value, order.reason) for order_id, order in world.orders.items()
    }
    record.balances = ledger.balances(posting for _, posting in world.postings)
    return record, log


def _stamp_outcomes(
    lines: Iterable[Mapping[str, Any]], log: Iterable[LoggedCommand]
) -> list[StampedOutcome]:
    """Give each outcome the stamp of its command, which may have waited for an order meanwhile."""
    stamps: dict[CommandKey, deque[int]] = defaultdict(deque)
    for command in log:
        stamps[command.sender, command.command_id].append(command.stamp or 0)
    outcomes = [(stamps[key].popleft(), key, outcome) for key, outcome in outcomes_of(lines)]
    outcomes.sort(key=lambda stamped: stamped[0])
    return [StampedOutcome(key, stamp, stamp, outcome) for stamp, key, outcome in outcomes]


def _stamped(steps: list[list[Exchange]]) -> Iterator[tuple[int, CommandBody]]:
    for number, step in enumerate(steps):
        stamp = BEGIN_US + number * STEP_US
        for exchange in step:
            for body in exchange:
                yield stamp, body
                stamp += GAP_US


GOOD_RUN = play_cast(1)

Run = tuple[PipelineRecord, list[LoggedCommand]]


@pytest.fixture
def good_run() -> Run:
    return copy.deepcopy(GOOD_RUN)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_differs_where_the_pipeline_did_what_the_rules_do(seed: int) -> None:
    assert find_differences(*play_cast(seed), POLICY) == []


def wrong_outcome(run: Run) -> str:
    index, outcome = next(
        (n, outcome)
        for n, outcome in enumerate(run[0].outcomes)
        if outcome.outcome["outcome"] == "applied"
    )
    run[0].outcomes[index] = replace(outcome, outcome={"outcome": "rejected", "reason": "late"})
    return "outcome"


def wrong_reason(run: Run) -> str:
    index, outcome = next(
        (n, outcome)
        for n, outcome in enumerate(run[0].outcomes)
        if outcome.outcome["outcome"] == "rejected"
    )
    run[0].outcomes[index] = replace(outcome, outcome=outcome.outcome | {"reason": "other"})
    return "outcome"


def swapped_opponents(run: Run) -> str:
    """Let a command be judged as if it had been received before its order was placed."""
    record = run[0]
    number, placement = next(
        (n, outcome)
        for n, outcome in enumerate(record.outcomes)
        if "place_order" in run[1][n].text and outcome.outcome["outcome"] == "applied"
    )
    moved = replace(placement, stamp=BEGIN_US + 99 * STEP_US, at_us=BEGIN_US + 99 * STEP_US)
    record.outcomes[number:] = [*record.outcomes[number + 1 :], moved]
    return "outcome"


def wrong_ending(run: Run) -> str:
    order_id = next(iter(run[0].endings))
    run[0].endings[order_id] = ("completed", "reasonless")
    return "ending"


def lost_order(run: Run) -> str:
    run[0].endings.popitem()
    return "ending"


def one_fen_elsewhere(run: Run) -> str:
    run[0].balances["psp"] -= 1
    return "balance"


def lost_event(run: Run) -> str:
    next(events for events in run[0].events.values() if len(events) > 1).pop()
    return "event"


def other_word_in_an_event(run: Run) -> str:
    events = next(iter(run[0].events.values()))
    fact = json.loads(events[0].text) | {"name": "another"}
    events[0] = events[0]._replace(text=json.dumps(fact))
    return "event"


def events_in_another_order(run: Run) -> str:
    events = next(events for events in run[0].events.values() if len(events) > 1)
    first, second = events[:2]
    events[:2] = [
        second._replace(sequence=first.sequence),
        first._replace(sequence=second.sequence),
    ]
    return "event"


def event_invented(run: Run) -> str:
    run[0].events["order:nobody"] = [StoredEvent(1, "command:x", '{"type":"x","sequence":1}')]
    return "event"


def gap_in_a_sequence(run: Run) -> str:
    events = next(iter(run[0].events.values()))
    events[-1] = events[-1]._replace(sequence=99)
    return "sequence"


def stamp_given_twice(run: Run) -> str:
    outcomes = run[0].outcomes
    outcomes[1] = replace(outcomes[1], stamp=outcomes[0].stamp)
    return "stamp"


def answer_lost(run: Run) -> str:
    run[1].append(LoggedCommand("client:c", "c-never", "{}", 0, 0, BEGIN_US + 1))
    return "unanswered"


def answer_to_nobody(run: Run) -> str:
    run[1].pop(0)
    return "unsent"


PLANTED: tuple[Callable[[Run], str], ...] = (
    wrong_outcome,
    wrong_reason,
    swapped_opponents,
    wrong_ending,
    lost_order,
    one_fen_elsewhere,
    lost_event,
    other_word_in_an_event,
    events_in_another_order,
    event_invented,
    gap_in_a_sequence,
    stamp_given_twice,
    answer_lost,
    answer_to_nobody,
)


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_difference_is_named(plant: Callable[[Run], str], good_run: Run) -> None:
    kind = plant(good_run)
    differences = find_differences(*good_run, POLICY)
    assert kind in {difference.kind for difference in differences}
    assert all(difference.expected != difference.actual for difference in differences)


def test_reminders_may_come_at_other_times_or_not_at_all(good_run: Run) -> None:
    for events in good_run[0].events.values():
        kept_events = [event for event in events if not event.caused_by.startswith("reminder:")]
        events[:] = [event._replace(sequence=n) for n, event in enumerate(kept_events, start=1)]
    assert good_run[0].events != GOOD_RUN[0].events
    assert find_differences(*good_run, POLICY) == []


def test_a_dead_letter_and_what_was_never_acknowledged_need_no_answer(good_run: Run) -> None:
    record, log = good_run
    record.dead_ids.add("c-dead")
    log.append(LoggedCommand("client:c", "c-dead", "{}", 0, 0, BEGIN_US + 1))
    log.append(LoggedCommand("client:c", "c-unheard", "{}", 0, 0))
    assert find_differences(record, log, POLICY) == []


def test_what_redis_lost_is_answered_at_the_stamp_it_was_sent_again(good_run: Run) -> None:
    record, log = good_run
    lost = LoggedCommand(log[0].sender, log[0].command_id, log[0].text, 0, 0, BEGIN_US - 5)
    assert {d.kind for d in find_differences(record, [*log, lost], POLICY)} == {"unanswered"}
    record.wiped_us = [BEGIN_US - 1]
    assert find_differences(record, [*log, lost], POLICY) == []


def test_texts_under_one_id_are_told_apart_by_stamp_instant_and_sender() -> None:
    log = [
        LoggedCommand("client:a", "id", "by stamp", 0, 0, stamp=7),
        LoggedCommand("client:a", "id", "by instant", 0, 0, received_us=9),
        LoggedCommand("client:b", "id", "by sender", 0, 0, stamp=8),
        LoggedCommand("client:a", "id", "the one that is left", 0, 0),
    ]
    outcomes = [
        StampedOutcome((None, "id"), 7, 6, {}),
        StampedOutcome((None, "id"), 10, 9, {}),
        StampedOutcome(("client:b", "id"), 50, 50, {}),
        StampedOutcome(("client:a", "id"), 60, 60, {}),
        StampedOutcome(("client:c", "id"), 7, 6, {}),
    ]
    assert match_texts(outcomes, log) == [
        "by stamp",
        "by instant",
        "by sender",
        "the one that is left",
        None,
    ]


def test_an_alert_is_compared_without_its_instant_and_nothing_else(good_run: Run) -> None:
    alerts = [
        (subject, place)
        for subject, events in good_run[0].events.items()
        for place, event in enumerate(events)
        if f'"{OperatorAlerted.type}"' in event.text
        and not event.caused_by.startswith(REMINDER_CAUSE)
    ]
    assert alerts
    for subject, place in alerts:
        event = good_run[0].events[subject][place]
        fact = json.loads(event.text) | {"at": str(from_us(BEGIN_US) + MICROSECOND)}
        good_run[0].events[subject][place] = event._replace(text=json.dumps(fact))
    assert find_differences(*good_run, POLICY) == []
    fact |= {"amount_fen": 1 + fact["amount_fen"]}
    good_run[0].events[subject][place] = event._replace(text=json.dumps(fact))
    assert {d.kind for d in find_differences(*good_run, POLICY)} == {"event"}
