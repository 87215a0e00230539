"""Late judging: a command judged after later changes of its creator ends as if judged in time.

A history is played in the order of its stamps, every change spread at once. Then the same commands
are judged anew, those of each order up to a day late, while changes of the creator wait for nobody
and reach orders when somebody wakes one of them, never past what is still to be judged.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.creators import HISTORY_KEPT
from models.events.event import Event
from models.lifecycle import SYSTEM_REQUESTS, TRANSITIONS, Role
from models.orders.order import Order
from tests.support.command_fields import creator_command, fields_for
from tests.support.stories import MICRO, START, OrderStory, audit, place, span

FOREVER = timedelta(days=3650)
ORDERS = [f"o{number}" for number in range(1, 7)]
GAPS = ("1us", "1m", "40m", "3h", "26h", "3d", "7d")
ROLES = {Role.CLIENT: "client", Role.CREATOR: "creator", Role.MCN: "mcn", Role.OPERATOR: "operator"}
MANY = 0.7


@dataclass(frozen=True)
class ReceivedCommand:
    """A command as received; `subject` is the order or the creator that it is about."""

    at: datetime
    subject: str
    body: dict[str, Any]


@dataclass
class RecordingStory(OrderStory):
    """A story that remembers its commands, and what was answered."""

    received: list[ReceivedCommand] = field(default_factory=list)
    answers: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def handle(self, body: dict[str, Any], at: datetime) -> Any:  # noqa: ANN401 - an outcome
        outcome = super().handle(body, at)
        shares = body.get("shares", [])
        order_id = shares[0]["order_id"] if shares else body.get("order_id")
        subject = f"order:{order_id}" if order_id else "creator:k1"
        self.received.append(ReceivedCommand(at, subject, body))
        self.answers[body["id"]] = (outcome.outcome, outcome.reason)
        return outcome


def history(rng: Random, length: int) -> RecordingStory:
    """Play commands in the order of their receipt, each at an instant of its own."""
    story = RecordingStory(now=START)
    for command in story_with_parties_commands():
        story.handle(command, story.now)
    for _ in range(length):
        story.now += span(rng.choice(GAPS)) if rng.random() < MANY else MICRO
        if rng.random() > MANY:
            change_creator(story, rng)
        else:
            move_order(story, rng)
    return story


def story_with_parties_commands() -> list[dict[str, Any]]:
    recorder = RecordingStory()
    for mcn_id in ("m1", "m2"):
        recorder.ask("register_mcn", "platform", mcn_id=mcn_id, name=mcn_id)
    signed = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m1"}
    recorder.ask("register_creator", "platform", **signed)
    return [command.body | {"id": f"party_{command.body['id']}"} for command in recorder.received]


def change_creator(story: RecordingStory, rng: Random) -> None:
    names = sorted(story.uow.violations) or ["x"]
    action = rng.choice(["violation"] * 3 + ["overturn", "leave", "contract", "contract"])
    argument = {"overturn": rng.choice(names), "contract": rng.choice(["0", "3333"])}
    kind, by, fields = creator_command(
        action, argument.get(action, ""), story.command_count, story.now
    )
    story.ask(kind, by, **fields)


def move_order(story: RecordingStory, rng: Random) -> None:
    """Place an order, pay what is due, or ask what the table lists for one as it is."""
    order_id = rng.choice(ORDERS)
    order = story.uow.orders.get(order_id)
    if order is None:
        place(story, order_id, prepay_deposit=rng.random() < MANY)
    elif order.balance_due_fen and rng.random() < MANY:
        story.pay(f"p{story.command_count}", {order_id: order.balance_due_fen})
    else:
        ask_listed(story, order, rng)


def ask_listed(story: RecordingStory, order: Order, rng: Random) -> None:
    moves = [
        (transition.command, role)
        for transition in TRANSITIONS
        if transition.source is order.state
        and transition.command not in (*SYSTEM_REQUESTS, "confirm_payment", "appoint_provider")
        for role in transition.roles & ROLES.keys()
    ]
    if moves:
        kind, role = rng.choice(sorted(moves))
        fields = fields_for(kind, order, story.now, "")
        story.ask(kind, ROLES[role], order_id=order.order_id, **fields)


@dataclass
class LateJudge:
    """Judges the commands of a history, those of each order with a delay of its own."""

    pending: list[ReceivedCommand]
    delays: dict[str, timedelta]
    rng: Random
    story: OrderStory = field(default_factory=OrderStory)
    answers: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    now: datetime = START

    def judge_all(self) -> None:
        self.story.spreads = False
        self.pending.sort(key=lambda command: (self.judged_at(command), command.at))
        while self.pending:
            command = self.pending[0]
            self.now = max(self.now, self.judged_at(command))
            if command.subject == "creator:k1":
                self.mark_what_orders_lack()
            outcome = self.story.handle(command.body, command.at)
            self.answers[command.body["id"]] = (outcome.outcome, outcome.reason)
            del self.pending[0]
            self.wake_something()

    def mark_what_orders_lack(self) -> None:
        """Do what a loader does for whoever changes a creator."""
        uow = self.story.uow
        known = [order.creator_sequence for order in uow.orders.values() if not order.is_final]
        if known:
            uow.creators["k1"] = uow.creators["k1"].known_up_to(min(known))

    def judged_at(self, command: ReceivedCommand) -> datetime:
        return command.at + self.delays.get(command.subject, timedelta(0))

    def horizon(self, subject: str) -> datetime:
        """Return up to when everything about a subject is judged."""
        waiting = (command.at for command in self.pending if command.subject == subject)
        return min(waiting, default=self.now)

    def wake_something(self) -> None:
        uow = self.story.uow
        subject = self.rng.choice(["", "creator:k1", *(f"order:{name}" for name in uow.orders)])
        if subject == "creator:k1":
            self.story.events += uow.wake(subject, self.horizon)
        elif subject:
            # No reminders: what is sent depends on when somebody looks.
            until = min(self.horizon(subject), self.horizon("creator:k1"))
            order = uow.orders[subject.removeprefix("order:")]
            self.story.events += uow.record_decision(uow.elapse_order(order, until))


def end(story: OrderStory, at: datetime) -> dict[str, list[Event]]:
    """Let all time pass; return what was recorded, by subject."""
    story.events += story.uow.wake("creator:k1", lambda _: at)
    for order in list(story.uow.orders.values()):
        story.events += story.uow.record_decision(story.uow.elapse_order(order, at))
    assert audit(story) == []
    assert story.uow.creators["k1"].spread_from is None
    events: dict[str, list[Event]] = defaultdict(list)
    for event in story.events:
        events[event.subject].append(event)
    return events


LIMITS = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@LIMITS
@given(
    seed=st.integers(0, 2**32 - 1),
    delays=st.lists(
        st.integers(0, HISTORY_KEPT // MICRO - 1), min_size=len(ORDERS), max_size=len(ORDERS)
    ),
)
def test_an_order_judged_late_ends_as_if_it_had_been_judged_in_time(
    seed: int, delays: list[int]
) -> None:
    rng = Random(seed)  # noqa: S311 - secret to nobody
    in_time = history(rng, 60)
    delay_by_subject = {
        f"order:{name}": delay * MICRO for name, delay in zip(ORDERS, delays, strict=True)
    }
    judge = LateJudge(list(in_time.received), delay_by_subject, rng)
    judge.judge_all()
    over = in_time.now + FOREVER
    assert judge.answers == in_time.answers
    assert end(judge.story, over) == end(in_time, over)
