"""Checker: holds what three parties say happened against each other and against what must be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.fault.checks.collected import CollectedRun, ReadEvent, RecordedEvent
from workers.timestamps import SECOND_US

FindingKind = Literal["lost", "twice", "early", "wrong"]

GRACE_US = 30 * SECOND_US
"""How long after its deadline an order may still not know of it: the promised recovery."""

EVENTS_AT_MOST_ONCE = frozenset(
    {
        *("order.placed", "order.offered", "order.accepted", "order.declined", "order.expired"),
        *("order.cancelled", "order.funded", "order.reinstated", "quote.revised"),
    }
)
"""What happens to an order at most once in its life, whatever is commanded."""

REASONS_WITHOUT_CLAIM = frozenset({"malformed", "id_reused"})
"""Answers that leave the command's id unclaimed."""


@dataclass(frozen=True, slots=True)
class CheckerFinding:
    """One thing that must not be: of what kind, which law, where, and what was seen."""

    kind: FindingKind
    law: str
    where: str
    detail: str = ""


def check(evidence: CollectedRun) -> list[CheckerFinding]:
    """Name everything that is wrong."""
    return [fault for law in CHECKS for fault in law(evidence)]


def _check_answers(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that everything acknowledged has its own answer, and its id an outcome."""
    outcome_keys = {outcome.key for outcome in evidence.outcomes}
    answers = {
        (event.subject, event.sequence): event.body["reason"]
        for event in evidence.events
        if event.type == "command.settled"
    }
    last_wipe = max(evidence.wiped_us, default=0)
    for submission in evidence.sent:
        if submission.stamp is None:
            continue
        name = f"command:{submission.key}"
        if (
            evidence.answers_every_submission
            and (name, submission.stamp) not in answers
            and submission.stamp > last_wipe
        ):
            yield CheckerFinding("lost", "answered", name, f"submitted at {submission.stamp}")
        unclaimed = answers.get((name, submission.stamp)) in REASONS_WITHOUT_CLAIM
        if submission.key not in outcome_keys and not unclaimed:
            yield CheckerFinding(
                "lost", "receipted", name, f"acknowledged at {submission.stamp}, no outcome"
            )
    for entry in evidence.failed_messages:
        yield CheckerFinding("lost", "set_aside", entry)


def _check_single_outcome(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that a command id has one outcome, and that the answers say the same."""
    for key, times in Counter(outcome.key for outcome in evidence.outcomes).items():
        if times > 1:
            yield CheckerFinding("twice", "judged_once", key, f"{times} outcomes")
    receipts = {outcome.key: (outcome.outcome, outcome.reason) for outcome in evidence.outcomes}
    first_answers: Counter[str] = Counter()
    for event in evidence.events:
        if event.type != "command.settled":
            continue
        answer = (event.body["outcome"], event.body["reason"])
        if answer[0] == "duplicate" or answer[1] in REASONS_WITHOUT_CLAIM:
            continue
        key = event.subject.removeprefix("command:")
        first_answers[key] += 1
        if receipts.get(key) != answer:
            yield CheckerFinding(
                "wrong",
                "same_answer",
                event.subject,
                f"told {answer}, kept {receipts.get(key)}",
            )
    for key, times in first_answers.items():
        if times > 1:
            yield CheckerFinding("twice", "judged_once", key, f"answered as new {times} times")


def _check_senders(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that every outcome belongs to something that was sent."""
    sent_keys = {submission.key for submission in evidence.sent}
    for outcome in evidence.outcomes:
        if outcome.key not in sent_keys:
            yield CheckerFinding("wrong", "invented", outcome.key, "nobody sent it")


def _check_sequences(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that events number 1, 2, 3 … and end where the order says."""
    sequences_by_subject: dict[str, list[int]] = defaultdict(list)
    for event in evidence.events:
        if not event.subject.startswith("command:"):
            sequences_by_subject[event.subject].append(event.sequence)
    for subject, sequences in sequences_by_subject.items():
        if sorted(sequences) != list(range(1, len(sequences) + 1)):
            yield CheckerFinding("lost", "contiguous", subject, f"{sorted(sequences)}")
    for order in evidence.final_orders:
        last_sequence = max(sequences_by_subject.get(f"order:{order.order_id}", [0]))
        if last_sequence != order.sequence:
            yield CheckerFinding(
                "lost", "contiguous", order.order_id, f"{last_sequence}, not {order.sequence}"
            )


def _check_single_effect(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that no deadline and no command took effect a second time."""
    effects: Counter[tuple[str, str, str]] = Counter()
    instants_by_cause: dict[str, set[int]] = defaultdict(set)
    for event in evidence.events:
        if event.type == "command.settled":
            continue
        if event.type in EVENTS_AT_MOST_ONCE or (
            event.caused_by.startswith("deadline:") and _is_order_event(event)
        ):
            cause = event.caused_by if event.caused_by.startswith("deadline:") else "any"
            effects[event.subject, event.type, cause] += 1
        if event.caused_by.startswith("command:"):
            instants_by_cause[event.caused_by].add(event.at_us)
    for (subject, event_type, cause), times in effects.items():
        if times > 1:
            law = "deadline_once" if cause.startswith("deadline:") else "effect_once"
            yield CheckerFinding("twice", law, subject, f"{event_type} {times} times")
    for caused_by, instants_us in instants_by_cause.items():
        if len(instants_us) > 1:
            yield CheckerFinding(
                "twice", "effect_once", caused_by, f"took effect at {sorted(instants_us)}"
            )


def _is_order_event(event: RecordedEvent) -> bool:
    return event.type.startswith("order.")


def _check_causes(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that only what was applied had effects, money and orders alike."""
    outcomes = {outcome.key: outcome.outcome for outcome in evidence.outcomes}
    for event in evidence.events:
        cause_kind, _, key = event.caused_by.partition(":")
        if cause_kind != "command" or event.type in {"command.settled", "operator.alerted"}:
            continue
        if outcomes.get(key) != "applied":
            detail = f"caused by {key}, which was {outcomes.get(key)}"
            yield CheckerFinding("wrong", "caused", event.event_id, detail)


def _check_not_early(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that no deadline took effect before it had passed, by any clock that saw it."""
    first_deliveries = _first_deliveries(evidence)
    for event in evidence.events:
        if not event.caused_by.startswith("deadline:"):
            continue
        first_delivery = first_deliveries.get(event.event_id)
        if event.recorded_us < event.at_us:
            yield CheckerFinding(
                "early", "not_early", event.event_id, f"{event.at_us - event.recorded_us} µs"
            )
        elif first_delivery is not None and (first_delivery.read_ms + 1) * 1000 < event.at_us:
            yield CheckerFinding("early", "not_early", event.event_id, "read before it was due")


def _check_delivery(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that consumers read what was committed, all of it, and nothing else, in order."""
    committed = {event.event_id: event for event in evidence.events}
    first_deliveries = _first_deliveries(evidence)
    for event_id in committed.keys() - first_deliveries.keys():
        yield CheckerFinding("lost", "delivered", event_id, committed[event_id].type)
    last_sequence: dict[str, int] = defaultdict(int)
    for event_id, delivery in first_deliveries.items():
        if event_id not in committed:
            yield CheckerFinding("wrong", "phantom", event_id, "delivered, never committed")
        elif delivery.event != committed[event_id].sent_as:
            yield CheckerFinding("wrong", "altered", event_id, "delivered otherwise than committed")
        subject, _, sequence = event_id.rpartition("/")
        if not subject.startswith("command:"):
            if int(sequence) < last_sequence[subject]:
                yield CheckerFinding(
                    "wrong", "ordered", event_id, f"read after {last_sequence[subject]}"
                )
            last_sequence[subject] = int(sequence)


def _first_deliveries(evidence: CollectedRun) -> dict[str, ReadEvent]:
    first_deliveries: dict[str, ReadEvent] = {}
    for delivery in evidence.delivered:
        first_deliveries.setdefault(delivery.event_id, delivery)
    return first_deliveries


def _check_postings(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that what one account gained another lost, and that escrow is what orders hold."""
    totals_fen: Counter[str] = Counter()
    escrow_fen: Counter[str] = Counter()
    event_ids = {event.event_id for event in evidence.events}
    for side in evidence.posting_sides:
        totals_fen[side.event_id] += side.amount_fen
        family, _, owner = side.account.partition(":")
        if family == "escrow":
            escrow_fen[owner] += side.amount_fen
    for event_id, total_fen in totals_fen.items():
        if total_fen or event_id not in event_ids:
            yield CheckerFinding(
                "wrong", "balanced", event_id, f"{total_fen} fen, of an event on record or not"
            )
    held_fen = Counter({order.order_id: order.held_fen for order in evidence.final_orders})
    for order_id in held_fen.keys() | escrow_fen.keys():
        if escrow_fen[order_id] != held_fen[order_id]:
            detail = f"{escrow_fen[order_id]} fen, and the order holds {held_fen[order_id]}"
            yield CheckerFinding("wrong", "escrow", order_id, detail)


def _check_no_order_is_stuck(evidence: CollectedRun) -> Iterator[CheckerFinding]:
    """Hold that every waiting order is armed, and none is past its deadline and the grace."""
    for order in evidence.final_orders:
        if (order.lapses_us is None) != (order.wake_us is None):
            yield CheckerFinding(
                "lost", "armed", order.order_id, f"{order.state}, woken at {order.wake_us}"
            )
        if order.lapses_us is not None and order.lapses_us + GRACE_US < evidence.until_us:
            late_s = (evidence.until_us - order.lapses_us) / SECOND_US
            yield CheckerFinding(
                "lost", "stuck", order.order_id, f"{order.state}, {late_s:.1f} s late"
            )


CHECKS: tuple[Callable[[CollectedRun], Iterator[CheckerFinding]], ...] = (
    _check_answers,
    _check_single_outcome,
    _check_senders,
    _check_sequences,
    _check_single_effect,
    _check_causes,
    _check_not_early,
    _check_delivery,
    _check_postings,
    _check_no_order_is_stuck,
)


def lateness_s(evidence: CollectedRun) -> float:
    """Return how late, at worst, a deadline was on record, in seconds."""
    lateness_us = (
        event.recorded_us - event.at_us
        for event in evidence.events
        if event.caused_by.startswith("deadline:") and _is_order_event(event)
    )
    return max(lateness_us, default=0) / SECOND_US


def recovery_s(evidence: CollectedRun, last_fault_us: int) -> float:
    """Return how long after the last fault all that was due before it was on record, in seconds.

    Due are the outcomes of what had been acknowledged, and the deadlines that had passed.
    """
    stamps = {
        submission.key: submission.stamp
        for submission in reversed(evidence.sent)
        if submission.stamp is not None
    }
    due_keys = {key for key, stamp in stamps.items() if stamp <= last_fault_us}
    settled_us = {
        event.subject.removeprefix("command:"): event.recorded_us
        for event in sorted(evidence.events, key=lambda event: -event.recorded_us)
        if event.type == "command.settled"
    }
    recorded_us = [settled_us[key] for key in due_keys & settled_us.keys()]
    recorded_us += [
        event.recorded_us
        for event in evidence.events
        if event.caused_by.startswith("deadline:") and event.at_us <= last_fault_us
    ]
    return max(0, max(recorded_us, default=0) - last_fault_us) / SECOND_US
