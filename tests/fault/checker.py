"""Checker: holds what three parties say happened against each other and against what must be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.fault.evidence import Delivery, Evidence, Happening
from workers.clock import SECOND_US

Kind = Literal["lost", "twice", "early", "wrong"]

GRACE_US = 30 * SECOND_US
"""How long after its deadline an order may still not know of it: the promised recovery."""

ONCE = frozenset(
    {
        *("order.placed", "order.offered", "order.accepted", "order.declined", "order.expired"),
        *("order.cancelled", "order.funded", "order.reinstated", "quote.revised"),
    }
)
"""What happens to an order at most once in its life, whatever is asked."""

UNCLAIMED = frozenset({"malformed", "id_reused"})
"""Answers that leave the command's id unclaimed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that must not be: of what kind, which law, where, and what was seen."""

    kind: Kind
    law: str
    where: str
    detail: str = ""


def check(evidence: Evidence) -> list[Fault]:
    """Name everything that is wrong."""
    return [fault for law in LAWS for fault in law(evidence)]


def _answered(evidence: Evidence) -> Iterator[Fault]:
    """Hold that everything acknowledged has its own answer, and its id an outcome."""
    known = {one.command_id for one in evidence.outcomes}
    answers = {
        (one.subject, one.sequence): one.body["reason"]
        for one in evidence.happenings
        if one.type == "command.settled"
    }
    last_wipe = max(evidence.wiped_us, default=0)
    for one in evidence.sent:
        if one.stamp is None:
            continue
        name = f"command:{one.command_id or '-'}"
        if evidence.answers and (name, one.stamp) not in answers and one.stamp > last_wipe:
            yield Fault("lost", "answered", name, f"submitted at {one.stamp}")
        unclaimed = answers.get((name, one.stamp)) in UNCLAIMED
        if one.command_id and one.command_id not in known and not unclaimed:
            yield Fault("lost", "receipted", name, f"acknowledged at {one.stamp}, no outcome")
    for aside in evidence.set_aside:
        yield Fault("lost", "set_aside", aside)


def _judged_once(evidence: Evidence) -> Iterator[Fault]:
    """Hold that a command id has one outcome, and that the answers say the same."""
    for name, times in Counter(one.command_id for one in evidence.outcomes).items():
        if times > 1:
            yield Fault("twice", "judged_once", name, f"{times} outcomes")
    kept = {one.command_id: (one.outcome, one.reason) for one in evidence.outcomes}
    first: Counter[str] = Counter()
    for one in evidence.happenings:
        if one.type != "command.settled":
            continue
        said = (one.body["outcome"], one.body["reason"])
        if said[0] == "duplicate" or said[1] in UNCLAIMED:
            continue
        name = str(one.body["command_id"])
        first[name] += 1
        if kept.get(name) != said:
            yield Fault("wrong", "same_answer", one.subject, f"told {said}, kept {kept.get(name)}")
    for name, times in first.items():
        if times > 1:
            yield Fault("twice", "judged_once", name, f"answered as new {times} times")


def _nothing_invented(evidence: Evidence) -> Iterator[Fault]:
    """Hold that every outcome belongs to something that was sent."""
    sent = {one.command_id for one in evidence.sent}
    for one in evidence.outcomes:
        if one.command_id not in sent:
            yield Fault("wrong", "invented", one.command_id, "nobody sent it")


def _contiguous(evidence: Evidence) -> Iterator[Fault]:
    """Hold that events number 1, 2, 3 … and end where the order says."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in evidence.happenings:
        if not one.subject.startswith("command:"):
            numbers[one.subject].append(one.sequence)
    for subject, found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield Fault("lost", "contiguous", subject, f"{sorted(found)}")
    for order in evidence.standings:
        last = max(numbers.get(f"order:{order.order_id}", [0]))
        if last != order.sequence:
            yield Fault("lost", "contiguous", order.order_id, f"{last}, not {order.sequence}")


def _happened_once(evidence: Evidence) -> Iterator[Fault]:
    """Hold that no deadline and no command took effect a second time."""
    effects: Counter[tuple[str, str, str]] = Counter()
    moments: dict[str, set[int]] = defaultdict(set)
    for one in evidence.happenings:
        if one.type == "command.settled":
            continue
        if one.type in ONCE or (one.caused_by.startswith("deadline:") and _ends(one)):
            cause = one.caused_by if one.caused_by.startswith("deadline:") else "any"
            effects[one.subject, one.type, cause] += 1
        if one.caused_by.startswith("command:"):
            moments[one.caused_by].add(one.at_us)
    for (subject, what, cause), times in effects.items():
        if times > 1:
            law = "deadline_once" if cause.startswith("deadline:") else "effect_once"
            yield Fault("twice", law, subject, f"{what} {times} times")
    for why, found in moments.items():
        if len(found) > 1:
            yield Fault("twice", "effect_once", why, f"took effect at {sorted(found)}")


def _ends(one: Happening) -> bool:
    return one.type.startswith("order.")


def _effects_have_causes(evidence: Evidence) -> Iterator[Fault]:
    """Hold that only what was applied had effects, money and orders alike."""
    kept = {one.command_id: one.outcome for one in evidence.outcomes}
    for one in evidence.happenings:
        why, _, name = one.caused_by.partition(":")
        if why != "command" or one.type in {"command.settled", "operator.alerted"}:
            continue
        if kept.get(name) != "applied":
            detail = f"caused by {name}, which was {kept.get(name)}"
            yield Fault("wrong", "caused", one.event_id, detail)


def _never_early(evidence: Evidence) -> Iterator[Fault]:
    """Hold that no deadline took effect before it had passed, by any clock that saw it."""
    read = _first_read(evidence)
    for one in evidence.happenings:
        if not one.caused_by.startswith("deadline:"):
            continue
        seen = read.get(one.event_id)
        if one.recorded_us < one.at_us:
            yield Fault("early", "not_early", one.event_id, f"{one.at_us - one.recorded_us} µs")
        elif seen is not None and (seen.read_ms + 1) * 1000 < one.at_us:
            yield Fault("early", "not_early", one.event_id, "read before it was due")


def _delivered(evidence: Evidence) -> Iterator[Fault]:
    """Hold that consumers read what was committed, all of it, and nothing else, in order."""
    committed = {one.event_id: one for one in evidence.happenings}
    read = _first_read(evidence)
    for name in committed.keys() - read.keys():
        yield Fault("lost", "delivered", name, committed[name].type)
    last: dict[str, int] = defaultdict(int)
    for name, delivery in read.items():
        if name not in committed:
            yield Fault("wrong", "phantom", name, "delivered, never committed")
        elif delivery.event != committed[name].sent_as:
            yield Fault("wrong", "altered", name, "delivered otherwise than committed")
        subject, _, number = name.rpartition("/")
        if not subject.startswith("command:"):
            if int(number) < last[subject]:
                yield Fault("wrong", "ordered", name, f"read after {last[subject]}")
            last[subject] = int(number)


def _first_read(evidence: Evidence) -> dict[str, Delivery]:
    found: dict[str, Delivery] = {}
    for one in evidence.delivered:
        found.setdefault(one.event_id, one)
    return found


def _balanced(evidence: Evidence) -> Iterator[Fault]:
    """Hold that what one account gained another lost, and that escrow is what orders hold."""
    sums: Counter[str] = Counter()
    escrow: Counter[str] = Counter()
    known = {one.event_id for one in evidence.happenings}
    for side in evidence.sides:
        sums[side.event_id] += side.amount_fen
        family, _, owner = side.account.partition(":")
        if family == "escrow":
            escrow[owner] += side.amount_fen
    for event_id, total in sums.items():
        if total or event_id not in known:
            yield Fault("wrong", "balanced", event_id, f"{total} fen, of an event on record or not")
    held = Counter({one.order_id: one.held_fen for one in evidence.standings})
    for order_id in held.keys() | escrow.keys():
        if escrow[order_id] != held[order_id]:
            detail = f"{escrow[order_id]} fen, and the order holds {held[order_id]}"
            yield Fault("wrong", "escrow", order_id, detail)


def _nobody_waits_for_ever(evidence: Evidence) -> Iterator[Fault]:
    """Hold that every order in wait is armed, and none is past its deadline and the grace."""
    for one in evidence.standings:
        if (one.lapses_us is None) != (one.wake_us is None):
            yield Fault("lost", "armed", one.order_id, f"{one.state}, woken at {one.wake_us}")
        if one.lapses_us is not None and one.lapses_us + GRACE_US < evidence.until_us:
            late = (evidence.until_us - one.lapses_us) / SECOND_US
            yield Fault("lost", "stuck", one.order_id, f"{one.state}, {late:.1f} s late")


LAWS: tuple[Callable[[Evidence], Iterator[Fault]], ...] = (
    _answered,
    _judged_once,
    _nothing_invented,
    _contiguous,
    _happened_once,
    _effects_have_causes,
    _never_early,
    _delivered,
    _balanced,
    _nobody_waits_for_ever,
)


def lateness_s(evidence: Evidence) -> float:
    """Return how late, at worst, a deadline was on record, in seconds."""
    late = (
        one.recorded_us - one.at_us
        for one in evidence.happenings
        if one.caused_by.startswith("deadline:") and _ends(one)
    )
    return max(late, default=0) / SECOND_US


def recovery_s(evidence: Evidence, blow_us: int) -> float:
    """Return how long after the last blow all that was due before it was on record, in seconds.

    Due are the outcomes of what had been acknowledged, and the deadlines that had passed.
    """
    asked = {
        one.command_id: one.stamp
        for one in reversed(evidence.sent)
        if one.stamp is not None and one.command_id
    }
    since = {name: at for name, at in asked.items() if at <= blow_us}
    done = {
        str(event.body["command_id"]): event.recorded_us
        for event in sorted(evidence.happenings, key=lambda one: -one.recorded_us)
        if event.type == "command.settled"
    }
    ends = [done[name] for name in since.keys() & done.keys()]
    ends += [
        one.recorded_us
        for one in evidence.happenings
        if one.caused_by.startswith("deadline:") and one.at_us <= blow_us
    ]
    return max(0, max(ends, default=0) - blow_us) / SECOND_US
