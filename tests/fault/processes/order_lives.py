"""Order lives: what becomes of orders under load, as client, creator and bank would act."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from models import money
from models.fields import MICROSECOND, format_instant
from models.ids import make_command_key
from models.policy import Policy
from workers.timestamps import SECOND_US, from_us, now_us

POLICY = Policy(
    deposit_window=timedelta(seconds=3),
    accept_window=timedelta(seconds=3),
    balance_window=timedelta(seconds=3),
    payment_notice_grace=timedelta(seconds=1),
    late_notice_window=timedelta(seconds=2),
    accept_reminders=(timedelta(seconds=1),),
    balance_reminders=(timedelta(seconds=1),),
    nudge_interval=timedelta(seconds=0.5),
    nudge_limit=2,
)
"""The usual rules with seconds for hours and days: deadlines fall while things break."""

REVERSED_SHARE = 0.5
"""How many of the orders that are sent in any order are sent last step first."""

DEADLINE_JITTER_US = 40_000
"""How near to its deadline somebody acts who acts at the last moment, in microseconds."""


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """Something to be sent, not before an instant; `text` never changes, however often sent.

    `key` names it for all senders, and `before` is sent with it, and handed in first.
    """

    key: str
    text: str
    not_before_us: int = 0
    before: tuple[PlannedCommand, ...] = ()


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What came of a planned command."""

    outcome: str
    received_us: int


LifeSteps = Generator[PlannedCommand, StepOutcome, None]


class OrderLifeFactory:
    """Writes orders' lives; the same seed writes the same ones."""

    def __init__(self, rng: Random, name: str, *, backwards: bool = False) -> None:
        self.rng, self.name, self.number, self.backwards = rng, name, 0, backwards

    def register_creator(self) -> LifeSteps:
        """Register the one creator of everybody."""
        yield self.command(
            "register_creator", "platform", creator_id="k1", name="K", contract="direct"
        )

    def next_life(self) -> LifeSteps:
        """Begin another order."""
        self.number += 1
        begin_life = in_any_order if self.backwards else self.rng.choice(ORDER_LIVES)
        return begin_life(OrderLife(self, f"{self.name}-{self.number}"))

    def command(
        self, kind: str, role: str, not_before_us: int = 0, /, **fields: object
    ) -> PlannedCommand:
        """Write a command under an id of its own.

        Each order has its own client: a crowd of one client would be over its limit.
        """
        subject_id = fields.get("order_id") or fields.get("payment_id") or "creator"
        party_id = {"client": f"c-{subject_id}", "creator": "k1"}.get(role, role)
        command_id = f"cmd-{kind}-{subject_id}"[:64]
        body = {"id": command_id, "kind": kind, "by": {"role": role, "id": party_id}, **fields}
        key = make_command_key(f"{role}:{party_id}", command_id)
        return PlannedCommand(key, json.dumps(body), not_before_us)


@dataclass(slots=True)
class OrderLife:
    """One order's life, step by step; each step is taken when the one before has its outcome."""

    factory: OrderLifeFactory
    order_id: str
    deposit: bool = True
    amount_fen: int = 100_000

    def place(self) -> PlannedCommand:
        return self.factory.command(
            "place_order",
            "client",
            order_id=self.order_id,
            creator_id="k1",
            name="新品",
            task_type="douyin_video",
            industry="美妆",
            brief="露出产品",
            amount_fen=self.amount_fen,
            prepay_deposit=self.deposit,
        )

    @property
    def first_payment_fen(self) -> int:
        total_fen = money.total(self.amount_fen, POLICY.service_fee_bps)
        return money.deposit(total_fen, POLICY.deposit_bps) if self.deposit else total_fen

    @property
    def balance_fen(self) -> int:
        return money.total(self.amount_fen, POLICY.service_fee_bps) - self.first_payment_fen

    def pay(self, prefix: str, amount_fen: int, not_before_us: int = 0) -> PlannedCommand:
        paid_at = format_instant(from_us(max(now_us(), not_before_us)))
        share = {"order_id": self.order_id, "amount_fen": amount_fen}
        return self.factory.command(
            "confirm_payment",
            "payments",
            not_before_us,
            payment_id=f"{prefix}-{self.order_id}",
            paid_at=paid_at,
            amount_fen=amount_fen,
            shares=[share],
        )

    def command(
        self, kind: str, role: str, not_before_us: int = 0, /, **fields: object
    ) -> PlannedCommand:
        return self.factory.command(kind, role, not_before_us, order_id=self.order_id, **fields)

    def soon(self) -> int:
        """Choose an instant within the next second."""
        return now_us() + round(self.factory.rng.random() * SECOND_US)

    def near_deadline(self, since: StepOutcome, window: timedelta) -> int:
        """Choose an instant about a deadline, just before or just after."""
        jitter = round(self.factory.rng.uniform(-DEADLINE_JITTER_US, DEADLINE_JITTER_US))
        return since.received_us + window // MICROSECOND + jitter


def offered(life: OrderLife) -> Generator[PlannedCommand, StepOutcome, StepOutcome]:
    yield life.place()
    return (yield life.pay("dep", life.first_payment_fen))


def unpaid(life: OrderLife) -> LifeSteps:
    yield life.place()


def unanswered(life: OrderLife) -> LifeSteps:
    yield from offered(life)


def declined(life: OrderLife) -> LifeSteps:
    yield from offered(life)
    yield life.command("decline_order", "creator", life.soon())


def cancelled(life: OrderLife) -> LifeSteps:
    yield from offered(life)
    yield life.command("nudge_creator", "client", life.soon())
    yield life.command("cancel_order", "client", life.soon())


def accepted_at_the_edge(life: OrderLife) -> LifeSteps:
    since = yield from offered(life)
    outcome = yield life.command(
        "accept_order", "creator", life.near_deadline(since, POLICY.accept_window)
    )
    if outcome.outcome == "applied":
        yield life.pay("bal", life.balance_fen, life.soon())


def funded(life: OrderLife) -> LifeSteps:
    yield from offered(life)
    yield life.command("accept_order", "creator", life.soon())
    yield life.pay("bal", life.balance_fen, life.soon())


def revised(life: OrderLife) -> LifeSteps:
    yield from offered(life)
    yield life.command("accept_order", "creator", life.soon(), revised_amount_fen=110_000)
    yield life.pay("old", life.balance_fen, life.soon())
    yield life.command("restore_quote", "client")
    yield life.pay("bal", life.balance_fen)


def forfeited(life: OrderLife) -> LifeSteps:
    yield from offered(life)
    yield life.command("accept_order", "creator", life.soon())


def paid_at_the_edge(life: OrderLife) -> LifeSteps:
    yield from offered(life)
    since = yield life.command("accept_order", "creator", life.soon())
    yield life.pay("bal", life.balance_fen, life.near_deadline(since, POLICY.balance_window))


def paid_in_full(life: OrderLife) -> LifeSteps:
    life.deposit = False
    yield from offered(life)
    yield life.command("accept_order", "creator", life.soon())


def in_any_order(life: OrderLife) -> LifeSteps:
    """Send everything at once and in any order, such as paying before accepting before placing."""
    commands = [
        life.place(),
        life.pay("dep", life.first_payment_fen),
        life.command("accept_order", "creator"),
        life.pay("bal", life.balance_fen),
    ]
    if life.factory.rng.random() < REVERSED_SHARE:
        commands.reverse()
    else:
        life.factory.rng.shuffle(commands)
    last = commands.pop()
    yield replace(last, before=tuple(commands))
    for command in commands:
        yield replace(command, before=())


ORDER_LIVES: tuple[Callable[[OrderLife], LifeSteps], ...] = (
    unpaid,
    unanswered,
    declined,
    cancelled,
    accepted_at_the_edge,
    funded,
    revised,
    forfeited,
    paid_at_the_edge,
    paid_in_full,
)
