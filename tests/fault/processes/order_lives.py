"""Order lives: what becomes of orders under load, as client, creator and bank would act."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from models import money
from models.fields import instant_text
from models.policy import Policy
from workers.timestamps import MICROSECOND, SECOND_US, from_us, now_us

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


EDGE_US = 40_000
"""How near to its deadline somebody acts who acts at the last moment, in microseconds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Something to be sent, not before an instant; `text` never changes, however often sent.

    `before` is sent with it, and handed in first.
    """

    command_id: str
    text: str
    not_before_us: int = 0
    before: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    outcome: str
    received_us: int


Plot = Generator[Ask, Answer, None]


class Author:
    """Writes orders' lives; the same seed writes the same ones."""

    def __init__(self, rng: Random, name: str, *, backwards: bool = False) -> None:
        self.chance, self.name, self.number, self.backwards = rng, name, 0, backwards

    def admit(self) -> Plot:
        """Admit the one creator of everybody."""
        yield self.ask("register_creator", "platform", creator_id="k1", name="K", contract="direct")

    def next(self) -> Plot:
        """Begin another order."""
        self.number += 1
        plot = muddled if self.backwards else self.chance.choice(PLOTS)
        return plot(Life(self, f"{self.name}-{self.number}"))

    def ask(self, kind: str, role: str, not_before_us: int = 0, /, **fields: object) -> Ask:
        """Write a command under an id of its own."""
        party_id = {"client": "c1", "creator": "k1"}.get(role, role)
        subject_id = fields.get("order_id") or fields.get("payment_id") or "creator"
        command_id = f"cmd-{kind}-{subject_id}"[:64]
        body = {"id": command_id, "kind": kind, "by": {"role": role, "id": party_id}, **fields}
        return Ask(command_id, json.dumps(body), not_before_us)


@dataclass(slots=True)
class Life:
    """One order's life, step by step; each step is taken when the one before has its outcome."""

    author: Author
    order_id: str
    deposit: bool = True
    amount_fen: int = 100_000

    def place(self) -> Ask:
        return self.author.ask(
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
    def first_fen(self) -> int:
        total = money.total(self.amount_fen, POLICY.service_fee_bps)
        return money.deposit(total, POLICY.deposit_bps) if self.deposit else total

    @property
    def rest_fen(self) -> int:
        return money.total(self.amount_fen, POLICY.service_fee_bps) - self.first_fen

    def pay(self, prefix: str, amount_fen: int, not_before_us: int = 0) -> Ask:
        paid_at = instant_text(from_us(max(now_us(), not_before_us)))
        share = {"order_id": self.order_id, "amount_fen": amount_fen}
        return self.author.ask(
            "confirm_payment",
            "payments",
            not_before_us,
            payment_id=f"{prefix}-{self.order_id}",
            paid_at=paid_at,
            amount_fen=amount_fen,
            shares=[share],
        )

    def do(self, kind: str, role: str, not_before_us: int = 0, /, **fields: object) -> Ask:
        return self.author.ask(kind, role, not_before_us, order_id=self.order_id, **fields)

    def soon(self) -> int:
        """Choose an instant within the next second."""
        return now_us() + round(self.author.chance.random() * SECOND_US)

    def edge(self, since: Answer, window: timedelta) -> int:
        """Choose an instant about a deadline, just before or just after."""
        jitter = round(self.author.chance.uniform(-EDGE_US, EDGE_US))
        return since.received_us + window // MICROSECOND + jitter


def offered(life: Life) -> Generator[Ask, Answer, Answer]:
    yield life.place()
    return (yield life.pay("dep", life.first_fen))


def unpaid(life: Life) -> Plot:
    yield life.place()


def unanswered(life: Life) -> Plot:
    yield from offered(life)


def declined(life: Life) -> Plot:
    yield from offered(life)
    yield life.do("decline_order", "creator", life.soon())


def cancelled(life: Life) -> Plot:
    yield from offered(life)
    yield life.do("nudge_creator", "client", life.soon())
    yield life.do("cancel_order", "client", life.soon())


def accepted_at_the_edge(life: Life) -> Plot:
    since = yield from offered(life)
    answer = yield life.do("accept_order", "creator", life.edge(since, POLICY.accept_window))
    if answer.outcome == "applied":
        yield life.pay("bal", life.rest_fen, life.soon())


def funded(life: Life) -> Plot:
    yield from offered(life)
    yield life.do("accept_order", "creator", life.soon())
    yield life.pay("bal", life.rest_fen, life.soon())


def revised(life: Life) -> Plot:
    yield from offered(life)
    yield life.do("accept_order", "creator", life.soon(), revised_amount_fen=110_000)
    yield life.pay("old", life.rest_fen, life.soon())
    yield life.do("restore_quote", "client")
    yield life.pay("bal", life.rest_fen)


def forfeited(life: Life) -> Plot:
    yield from offered(life)
    yield life.do("accept_order", "creator", life.soon())


def paid_at_the_edge(life: Life) -> Plot:
    yield from offered(life)
    since = yield life.do("accept_order", "creator", life.soon())
    yield life.pay("bal", life.rest_fen, life.edge(since, POLICY.balance_window))


def paid_in_full(life: Life) -> Plot:
    life.deposit = False
    yield from offered(life)
    yield life.do("accept_order", "creator", life.soon())


def muddled(life: Life) -> Plot:
    """Tell everything at once and in any order, such as paying before accepting before placing."""
    asks = [
        life.place(),
        life.pay("dep", life.first_fen),
        life.do("accept_order", "creator"),
        life.pay("bal", life.rest_fen),
    ]
    if life.author.chance.random() < BACKWARDS:
        asks.reverse()
    else:
        life.author.chance.shuffle(asks)
    last = asks.pop()
    yield replace(last, before=tuple(asks))
    for ask in asks:
        yield replace(ask, before=())


BACKWARDS = 0.5


PLOTS: tuple[Callable[[Life], Plot], ...] = (
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
