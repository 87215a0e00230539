"""Checker: plays commands as they were stamped through the rules alone, and compares.

What must agree is the outcome of every submission, the ending of every order, the balance of every
account, and every event of every subject, in its place and word by word. Left out are the events
that are caused by a reminder: what is sent when the scheduler looks, bears the instant of its look,
is not sent at all where a command came first, and once where two were due. So events are compared
without their numbers, which must have no gaps, and alerts without their instants.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from models import ledger
from models.events.event import Event
from models.policy import Policy
from ops.simulation.simulate import Simulation, SimulationStep
from tests.law.evidence import LoggedCommand, PipelineRecord, StampedOutcome, StoredEvent
from tests.law.formats import (
    ALERT_TYPE,
    REMINDER_CAUSE,
    CommandKey,
    RecordingUnitOfWork,
    finish,
    outcomes_of,
)
from workers.timestamps import from_us

DifferenceKind = Literal[
    "outcome", "ending", "balance", "event", "sequence", "stamp", "unanswered", "unsent"
]


@dataclass(frozen=True, slots=True)
class LawDifference:
    """Where a pipeline and the rules disagree: about what, and what each says."""

    kind: DifferenceKind
    subject: str
    expected: str
    actual: str


@dataclass(slots=True)
class ExpectedRun:
    """What the rules alone make of a run."""

    world: RecordingUnitOfWork
    outcomes: dict[CommandKey, deque[dict[str, Any]]]


def find_differences(
    record: PipelineRecord, log: Sequence[LoggedCommand], policy: Policy
) -> list[LawDifference]:
    """Name everything in which the pipeline and the rules differ."""
    texts = match_texts(record.outcomes, log)
    expected_run = play(record, texts, policy)
    endings = {
        order_id: (order.state.value, order.reason and str(order.reason))
        for order_id, order in expected_run.world.orders.items()
    }
    balances = ledger.balances(posting for _, posting in expected_run.world.postings)
    return [
        *_check_stamps(record.outcomes),
        *_check_answers(record, log),
        *_compare_outcomes(record.outcomes, texts, expected_run.outcomes),
        *_compare_values("ending", endings, record.endings),
        *_compare_values("balance", _without_zeros(balances), _without_zeros(record.balances)),
        *_compare_events(expected_run.world.events, record.events),
    ]


def match_texts(
    outcomes: Iterable[StampedOutcome], log: Sequence[LoggedCommand]
) -> list[str | None]:
    """Find for each outcome the text that it answers, by sender and id.

    Where several were sent under one id, by the stamp or the instant of receipt; where neither was
    acknowledged, the one that nobody else answers.
    """
    by_id: dict[str | None, list[LoggedCommand]] = defaultdict(list)
    for command in log:
        by_id[command.command_id].append(command)
    return [_match_text(outcome, by_id[outcome.key[1]]) for outcome in outcomes]


def _match_text(outcome: StampedOutcome, candidates: list[LoggedCommand]) -> str | None:
    sender = outcome.key[0]
    own = [command for command in candidates if sender in (None, command.sender)]
    for exact in (
        own,
        [command for command in own if command.stamp == outcome.stamp],
        [command for command in own if command.received_us == outcome.at_us],
        [command for command in own if not command.is_acknowledged],
    ):
        texts = {command.text for command in exact}
        if len(texts) == 1:
            return texts.pop()
    return None


def play(record: PipelineRecord, texts: Sequence[str | None], policy: Policy) -> ExpectedRun:
    """Play commands at their stamps, and let time pass to the end of the run."""
    world = RecordingUnitOfWork(policy)
    simulation, answers = Simulation(world), defaultdict[CommandKey, deque[dict[str, Any]]](deque)

    def note(lines: Iterable[Mapping[str, Any]]) -> None:
        for key, outcome in outcomes_of(lines):
            answers[key].append(outcome)

    for outcome, text in zip(record.outcomes, texts, strict=True):
        if text is not None:
            note(simulation.play(SimulationStep(from_us(outcome.stamp), text)))
    note(finish(simulation, from_us(record.until_us)))
    return ExpectedRun(world, answers)


def _check_stamps(outcomes: Sequence[StampedOutcome]) -> Iterator[LawDifference]:
    """Hold that no stamp was given twice."""
    for earlier, later in pairwise(outcomes):
        if later.stamp == earlier.stamp and later.key != earlier.key:
            yield LawDifference(
                "stamp",
                _key_text(later.key),
                f"a stamp after {earlier.stamp}, received at {earlier.at_us}",
                f"{later.stamp}, received at {later.at_us}",
            )


def _check_answers(record: PipelineRecord, log: Iterable[LoggedCommand]) -> Iterator[LawDifference]:
    """Hold that whatever was acknowledged has its outcome, or is a dead letter.

    What Redis lost was sent again, so it has an outcome at another stamp.
    """
    stamps = {outcome.stamp for outcome in record.outcomes}
    answered_ids = {outcome.key[1] for outcome in record.outcomes}
    last_wipe_us = max(record.wiped_us, default=0)
    for command in log:
        if not command.is_acknowledged or command.command_id in record.dead_ids:
            continue
        if (command.stamp or 0) > last_wipe_us:
            is_answered = command.stamp in stamps
        else:
            is_answered = command.command_id in answered_ids
        if not is_answered:
            name = f"{command.sender} {command.command_id}"
            yield LawDifference("unanswered", name, "an outcome", "none")


def _compare_outcomes(
    outcomes: Sequence[StampedOutcome],
    texts: Sequence[str | None],
    expected_outcomes: Mapping[CommandKey, deque[dict[str, Any]]],
) -> Iterator[LawDifference]:
    """Compare the outcomes of each sender's id in their order."""
    for outcome, text in zip(outcomes, texts, strict=True):
        name = f"{_key_text(outcome.key)} at {outcome.stamp}"
        if text is None:
            yield LawDifference("unsent", name, "a submission", "nobody sent it")
            continue
        expected_answers = expected_outcomes.get(outcome.key)
        expected = expected_answers.popleft() if expected_answers else {}
        if expected != outcome.outcome:
            kind = json.loads(text).get("kind")
            yield LawDifference(
                "outcome",
                f"{name} ({kind})",
                _outcome_text(expected),
                _outcome_text(outcome.outcome),
            )


def _compare_values(
    kind: DifferenceKind, expected: Mapping[str, object], actual: Mapping[str, object]
) -> Iterator[LawDifference]:
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            yield LawDifference(
                kind, name, _value_text(expected.get(name)), _value_text(actual.get(name))
            )


def _compare_events(
    expected: Mapping[str, Sequence[Event]], actual: Mapping[str, Sequence[StoredEvent]]
) -> Iterator[LawDifference]:
    """Compare what happened to each subject; most are equal to the letter."""
    for subject in sorted(expected.keys() | actual.keys()):
        expected_events, stored_events = expected.get(subject, ()), actual.get(subject, ())
        sequences = [event.sequence for event in stored_events]
        if sequences != list(range(1, len(sequences) + 1)):
            yield LawDifference("sequence", subject, "1, 2, 3 …", str(sequences))
        expected_texts = [event.text() for event in expected_events]
        if expected_texts == [event.text for event in stored_events]:
            continue
        expected_facts = _comparable(
            (event.caused_by, text)
            for event, text in zip(expected_events, expected_texts, strict=True)
        )
        actual_facts = _comparable((event.caused_by, event.text) for event in stored_events)
        if expected_facts != actual_facts:
            yield LawDifference("event", subject, *_first_difference(expected_facts, actual_facts))


def _comparable(events: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Take from events what must agree, whenever the scheduler looked."""
    facts = []
    for caused_by, text in events:
        if caused_by.startswith(REMINDER_CAUSE):
            continue
        fact = json.loads(text)
        del fact["sequence"]
        if fact["type"] == ALERT_TYPE:
            del fact["at"]
        facts.append(fact)
    return facts


def _first_difference(
    expected: Sequence[dict[str, Any]], actual: Sequence[dict[str, Any]]
) -> tuple[str, str]:
    place = next(
        (n for n, facts in enumerate(zip(expected, actual, strict=False)) if facts[0] != facts[1]),
        min(len(expected), len(actual)),
    )
    return _fact_text(place, expected), _fact_text(place, actual)


def _fact_text(place: int, facts: Sequence[dict[str, Any]]) -> str:
    if place >= len(facts):
        return f"event {place + 1}: none"
    return f"event {place + 1}: {json.dumps(facts[place], ensure_ascii=False)}"


def _without_zeros(balances: Mapping[str, int]) -> dict[str, int]:
    return {account: amount_fen for account, amount_fen in balances.items() if amount_fen}


def _key_text(key: CommandKey) -> str:
    return " ".join(str(part) for part in key if part is not None) or "-"


def _outcome_text(outcome: Mapping[str, Any]) -> str:
    return " ".join(str(part) for part in outcome.values()) or "none"


def _value_text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(part) for part in value if part is not None)
    return "none" if value is None else str(value)
