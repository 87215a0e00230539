"""Decide: judge one command against one order, time first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from models import court, hands, heed, judges
from models.command import OrderCommand
from models.commands import OperatorAct
from models.creator import FREE, Creator, Standing, Turn
from models.errors import BrokenInvariant
from models.events import Event, Fact
from models.evolve import evolve
from models.judges import Judgement, Refusal
from models.lifecycle import (
    END_PAUSE,
    ENFORCE_DEADLINE,
    REVIEWS,
    ROLES,
    Role,
    State,
    find,
)
from models.notices import OperatorAlerted
from models.order import Order
from models.reasons import Alert, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows: the order as it is now, the events that led there, and a refusal or None.

    `cost_fen` is what the command would have cost, where that is why it was refused.
    """

    order: Order
    events: tuple[Event, ...] = ()
    reason: Reason | None = None
    cost_fen: int | None = None

    def then(self, facts: Iterable[Fact], at: datetime, caused_by: str) -> Verdict:
        """Let facts happen to the order, in turn."""
        order, events = self.order, list(self.events)
        for fact in facts:
            subject = f"order:{order.order_id}"
            event = Event(subject, order.sequence + 1, at, caused_by, fact)
            order = evolve(order, event)
            events.append(event)
        return Verdict(order, tuple(events))

    def refuse(self, reason: Reason, cost_fen: int | None = None) -> Verdict:
        """Refuse, keeping what time alone has done."""
        return Verdict(self.order, self.events, reason, cost_fen)


def decide(
    order: Order,
    command: OrderCommand | OperatorAct,
    at: datetime,
    creator: Creator | None,
    unknown: Reason | None = None,
) -> Verdict:
    """Judge one command received at `at`; `creator` is as known then, `unknown` whom it lacks.

    Time is enforced before anyone is heard, so a slow, doubled or dead scheduler changes nobody's
    rights: it only changes how soon the order learns of its fate.
    """
    elapsed = elapse(order, at, creator.turns(at) if creator else ())
    order = elapsed.order
    if not is_party(command, order, creator.agency if creator else None):
        return elapsed.refuse(Reason.NOT_ALLOWED)
    asked = hands.lent(command, order) if isinstance(command, OperatorAct) else command
    if unknown is not None:
        return elapsed.refuse(unknown)
    if not _is_heard(order, asked, at) or (asked is not command and order.is_final):
        return elapsed.refuse(late_or_wrong_state(order, asked, at))
    judged = court.JUDGES[asked.kind](order, asked, at)
    why = f"command:{command.id}"
    after = conclude(elapsed, asked.kind, hands.signed(judged, command, creator), at, why)
    if after.reason is not None:
        return after
    after = after.then(hands.trail(command, order, after.order), at, why)
    return heeding(after, creator.at(at) if creator else FREE, at)


def _is_heard(order: Order, command: OrderCommand, at: datetime) -> bool:
    """Tell whether the table lists the command here, and time is not up for all but payments."""
    if hears_only_payments(order, at) and command.kind not in ALWAYS_HEARD:
        return False
    transition = find(order.state, command.kind)
    return transition is not None and command.by.role in transition.roles


ALWAYS_HEARD = frozenset({"confirm_unpaid", "appoint_provider"})
"""Besides payments, what is heard while only they can change an order's fate."""


def elapse(order: Order, until: datetime, turns: Iterable[Turn] = ()) -> Verdict:
    """Let every deadline before `until` take effect, each at its own instant.

    On time means at or before a deadline, so a state ends only when `until` is later. `turns` are
    the changes in its creator's standing before `until`, which take effect in between.
    """
    verdict = Verdict(order)
    for turn in turns:
        verdict = _lapse(verdict, turn.at)
        if verdict.order.learns_at(turn.at):
            verdict = heeding(verdict, turn.standing, turn.at, begins=True)
    return _lapse(verdict, until)


def _lapse(verdict: Verdict, until: datetime) -> Verdict:
    while (lapses_at := verdict.order.lapses_at) is not None and until > lapses_at:
        state, paused = verdict.order.state, verdict.order.stoppers
        facts = court.enforce(verdict.order, lapses_at)
        kind = END_PAUSE if paused else ENFORCE_DEADLINE
        verdict = conclude(verdict, kind, facts, lapses_at, f"deadline:{state}")
    return verdict


def heeding(verdict: Verdict, standing: Standing, at: datetime, *, begins: bool = False) -> Verdict:
    """Let an order learn what its creator's standing means for it, if it has not yet."""
    kind, facts = heed.effect(verdict.order, standing, at, begins=begins)
    if not facts:
        return verdict
    why = standing.why if standing.violation_id else f"contract:{verdict.order.creator_id}"
    return conclude(verdict, kind, facts, at, why)


def wake(order: Order, now: datetime, turns: Iterable[Turn] = ()) -> Verdict:
    """Tell an order that time has passed: end what has lapsed, else remind who is waited for.

    Of several reminders missed only the latest is sent, and none after the deadline.
    """
    verdict = elapse(order, now, turns)
    order = verdict.order
    due_at = order.due_at
    if order.state is State.IN_ARBITRATION:
        return _ask_for_a_decision(verdict, now)
    if due_at is None or now > due_at:
        return verdict
    missed = [lead for lead in order.leads_left() if due_at - lead <= now]
    if not missed:
        return verdict
    return verdict.then([judges.remind(order, due_at, missed[-1])], now, f"reminder:{order.state}")


def _ask_for_a_decision(verdict: Verdict, now: datetime) -> Verdict:
    """Tell an operator that nobody has decided, and then at every interval."""
    order = verdict.order
    first, interval = order.alert_at, order.policy.arbitration_interval
    if first is None or now < first:
        return verdict
    due_at = first + (now - first) // interval * interval
    fact = _worry(order, Alert.ARBITRATION_OVERDUE, due_at)
    return verdict.then([fact], now, f"reminder:{order.state}")


def _worry(order: Order, alert: Alert, due_at: datetime | None = None) -> OperatorAlerted:
    """Tell an operator of an order that waits, and of the money that waits with it."""
    last = order.held[-1]
    return OperatorAlerted(
        alert=alert, payment_id=last.payment_id, amount_fen=order.held_fen, due_at=due_at
    )


def conclude(so_far: Verdict, kind: str, judged: Judgement, at: datetime, why: str) -> Verdict:
    """Fold a judgement, and hold it against the table: the code may not contradict its own map."""
    if isinstance(judged, Refusal):
        return so_far.refuse(judged.reason, judged.cost_fen)
    if isinstance(judged, Reason):
        return so_far.refuse(judged)
    transition = find(so_far.order.state, kind)
    after = so_far.then(judged, at, why)
    if transition is None or after.order.state not in transition.targets:
        message = f"{kind} took {so_far.order.state} to {after.order.state}: not in the table"
        raise BrokenInvariant(message)
    if after.order.is_final and after.order.held:
        message = f"order {after.order.order_id} ended {after.order.state} with money still held"
        raise BrokenInvariant(message)
    if after.order.counted == "unknown_year" and after.order.state is not so_far.order.state:
        # The deadline is counted as it elapses; an operator who knows better may extend it.
        return after.then([_worry(after.order, Alert.CALENDAR_UNKNOWN)], at, why)
    return after


def is_party(command: OrderCommand | OperatorAct, order: Order, agency: str | None) -> bool:
    """Tell whether the asker may speak about this order at all; `agency` is the creator's now."""
    role, who = command.by.role, command.by.id
    if isinstance(command, OperatorAct):
        return role == Role.OPERATOR.value
    if role not in ROLES[command.kind]:
        return False
    served = order.client_provider if command.kind in REVIEWS else order.creator_provider
    mine = {Role.CLIENT: order.client_id, Role.CREATOR: order.creator_id}
    return who == (mine | {Role.MCN: agency, Role.PROVIDER: served}).get(Role(role), who)


def hears_only_payments(order: Order, at: datetime) -> bool:
    """Tell whether the order's time is up but for notices of payments made in time."""
    if order.state is State.AWAITING_DEPOSIT and order.due_at is not None:
        return at > order.due_at
    return order.state is State.BALANCE_OVERDUE


def late_or_wrong_state(order: Order, command: OrderCommand, at: datetime) -> Reason:
    """Tell a latecomer from somebody who asks the wrong thing: only time makes late."""
    rows = (find(state, command.kind) for state in order.lapsed)
    missed = any(row is not None and command.by.role in row.roles for row in rows)
    return Reason.LATE if missed or hears_only_payments(order, at) else Reason.WRONG_STATE
