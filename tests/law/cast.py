"""Cast: a few parties with their orders, whose commands meet within milliseconds.

A cast shares no subject with any other. What it asks is written step by step, in exchanges: the
commands of one exchange are about the same subject, want different things, and travel at the same
moment in different messages. Nobody waits for an outcome, and many commands come at a wrong moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any

from models import money
from models.ids import make_reference, make_reference_stem
from models.policy import Policy

CommandBody = dict[str, Any]
"""A command. An instant in it is a `timedelta`, to be added to the moment of sending."""

Exchange = tuple[CommandBody, ...]

STEP = timedelta(seconds=1)
"""From one step of a cast to the next: windows last a few, so deadlines fall between opponents."""

POLICY = Policy(
    deposit_window=2 * STEP,
    accept_window=3 * STEP,
    balance_window=3 * STEP,
    payment_notice_grace=STEP,
    late_notice_window=3 * STEP,
    accept_reminders=(STEP,),
    balance_reminders=(STEP,),
    nudge_interval=STEP / 2,
    nudge_limit=2,
    first_work_window=4 * STEP,
    review_window=3 * STEP,
    revision_window=4 * STEP,
    production_window=3 * STEP,
    production_grace=STEP,
    publication_window=4 * STEP,
    acceptance_window=3 * STEP,
    settlement_delay=2 * STEP,
    work_reminders=(STEP,),
    review_reminders=(STEP,),
    longest_extension=6 * STEP,
    longest_pause=2 * STEP,
    proposal_window=2 * STEP,
    unpaid_orders_limit=8,
)
"""The usual rules with steps for hours and days."""

ORDER_GROUPS = 8
BEGINNINGS = (0, 1, 1, 1, 2, 2, 3, 4)
"""Steps at which orders begin: seldom while the parties are still being registered."""

SHARE_PREPAID, SHARE_SCRIPTED, SHARE_MERGED = 0.8, 0.25, 0.25
GOES_ON_ALONE, GOES_ON_OPPOSED = 0.97, 0.85
"""How often a story goes on: an exchange has often ended the order."""


@dataclass(slots=True)
class Cast:
    """Two clients, four creators, an agency and a provider, and what they ask, by step."""

    name: str
    rng: Random
    steps: dict[int, list[Exchange]] = field(default_factory=lambda: defaultdict(list))
    command_count: int = 0
    violations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def clients(self) -> tuple[str, str]:
        return f"{self.name}a", f"{self.name}b"

    @property
    def creators(self) -> tuple[str, ...]:
        return tuple(f"{self.name}{letter}" for letter in "hijk")

    @property
    def agency(self) -> str:
        return f"{self.name}m"

    @property
    def provider(self) -> str:
        return f"{self.name}p"

    def command(self, kind: str, role: str, party_id: str, /, **fields: object) -> CommandBody:
        """Write a command under an id of its own."""
        self.command_count += 1
        command_id = f"{self.name}-{self.command_count:05}"
        return {"id": command_id, "kind": kind, "by": {"role": role, "id": party_id}, **fields}

    def add(self, step: int, *exchanges: Exchange) -> None:
        """Plan exchanges for a step; one of nobody is a silence."""
        self.steps[step] += [exchange for exchange in exchanges if exchange]

    def register_creator(self, creator_id: str, share_bps: int | None = None) -> CommandBody:
        """Register a creator, with the agency where a share is given."""
        contract: CommandBody = {"contract": "direct"}
        if share_bps is not None:
            contract = {"contract": "mcn", "mcn_id": self.agency, "mcn_share_bps": share_bps}
        return self.command(
            "register_creator", "platform", "p", creator_id=creator_id, name="K", **contract
        )

    def end_contract(self, creator_id: str) -> CommandBody:
        return self.command("end_contract", "creator", creator_id, creator_id=creator_id)

    def report(self, creator_id: str) -> CommandBody:
        """Report another violation."""
        violation_id = f"{creator_id}v{len(self.violations[creator_id])}"
        self.violations[creator_id].append(violation_id)
        return self.command(
            "report_violation",
            "platform",
            "p",
            violation_id=violation_id,
            creator_id=creator_id,
            url="https://example.com/x",
            seen_at=timedelta(seconds=-1),
            evidence="seen",
        )

    def overturn(self, creator_id: str) -> CommandBody:
        """Overturn a violation that was reported, or one that never was."""
        violation_id = self.rng.choice([*self.violations[creator_id][-2:], f"{creator_id}v0"])
        return self.command(
            "overturn_violation", "operator", "op", violation_id=violation_id, reason="no proof"
        )

    def choose(self, choices: Sequence[tuple[int, Any]]) -> Any:  # noqa: ANN401 - what the table has
        """Choose from a table of weights and whatever they are for."""
        weights, values = zip(*choices, strict=True)
        return self.rng.choices(values, weights)[0]


SOON = {"expected_publish_at": 5 * STEP}
"""When a publication is put off to: deadlines that hang on it become later."""


@dataclass(frozen=True, slots=True)
class CastOrder:
    """One order of a cast, and everything that can be asked about it."""

    cast: Cast
    order_id: str
    client_id: str
    creator_id: str
    amount_fen: int
    prepay_deposit: bool
    needs_script: bool

    def ask(self, kind: str, role: str, party_id: str, /, **fields: object) -> CommandBody:
        return self.cast.command(kind, role, party_id, order_id=self.order_id, **fields)

    def by_client(self, kind: str, **fields: object) -> CommandBody:
        return self.ask(kind, "client", self.client_id, **fields)

    def by_creator(self, kind: str, **fields: object) -> CommandBody:
        return self.ask(kind, "creator", self.creator_id, **fields)

    def by_agency(self, kind: str, **fields: object) -> CommandBody:
        return self.ask(kind, "mcn", self.cast.agency, **fields)

    def by_provider(self, kind: str, **fields: object) -> CommandBody:
        return self.ask(kind, "provider", self.cast.provider, **fields)

    def by_operator(self, kind: str, **fields: object) -> CommandBody:
        return self.ask(kind, "operator", "op", reason="asked to", **fields)

    @property
    def other_client_id(self) -> str:
        return next(client for client in self.cast.clients if client != self.client_id)

    @property
    def total_fen(self) -> int:
        return money.total(self.amount_fen, POLICY.service_fee_bps)

    @property
    def first_fen(self) -> int:
        """Return what is paid first: the deposit, or everything."""
        if not self.prepay_deposit:
            return self.total_fen
        return money.deposit(self.total_fen, POLICY.deposit_bps)

    @property
    def balance_fen(self) -> int:
        return self.total_fen - self.first_fen or self.total_fen

    def place(self, client_id: str | None = None) -> CommandBody:
        return self.ask(
            "place_order",
            "client",
            client_id or self.client_id,
            creator_id=self.creator_id,
            name="新品",
            task_type="douyin_video",
            industry="美妆",
            brief="露出产品",
            amount_fen=self.amount_fen,
            prepay_deposit=self.prepay_deposit,
            needs_script=self.needs_script,
        )

    def pay_first(self) -> CommandBody:
        return pay("d", (self, self.first_fen))

    def pay_balance(self) -> CommandBody:
        return pay("b", (self, self.balance_fen))

    def confirm_refund(self, prefix: str) -> CommandBody:
        return self._about_refund("confirm_refund", prefix)

    def fail_refund(self, prefix: str) -> CommandBody:
        return self._about_refund("fail_refund", prefix, reason="card closed")

    def _about_refund(self, kind: str, prefix: str, **fields: object) -> CommandBody:
        refund_id = self._named(f"rf_{prefix}{self.order_id}_{self.order_id}")
        return self.cast.command(kind, "payments", "psp", refund_id=refund_id, **fields)

    def confirm_payout(self) -> CommandBody:
        return self._about_payout("confirm_payout", "payments")

    def fail_payout(self) -> CommandBody:
        return self._about_payout("fail_payout", "payments", reason="wrong account")

    def hold_payout(self) -> CommandBody:
        return self._about_payout("hold_payout", "operator", reason="views were bought")

    def release_payout(self) -> CommandBody:
        return self._about_payout("release_payout", "operator", reason="they were not")

    def reverse_payout(self) -> CommandBody:
        to = self.cast.rng.choice(["client", "platform"])
        return self._about_payout("reverse_payout", "operator", to=to, reason="they were")

    def _about_payout(self, kind: str, role: str, **fields: object) -> CommandBody:
        payout_id = self._named(f"po_{self.order_id}_creator")
        party_id = "psp" if role == "payments" else "op"
        return self.cast.command(kind, role, party_id, payout_id=payout_id, **fields)

    def _named(self, debt_id: str) -> str:
        """Name a refund or payout of the order by its id, or by the reference of an attempt."""
        attempt = self.cast.rng.choice([None, None, 1, 2])
        if attempt is None:
            return debt_id
        return make_reference(make_reference_stem(debt_id, f"order:{self.order_id}"), attempt)

    def resolve_suspense(self, prefix: str) -> CommandBody:
        return self._resolve(prefix, self.order_id, to="refund")

    def give(self, prefix: str) -> CommandBody:
        """Give the order the money that was paid for its mistyped number."""
        target = {"to": "order", "target_order_id": self.order_id}
        return self._resolve(prefix, self.mistyped.order_id, **target)

    def _resolve(self, prefix: str, share_order_id: str, **to: str) -> CommandBody:
        return self.cast.command(
            "resolve_suspense",
            "operator",
            "op",
            payment_id=f"{prefix}{share_order_id}",
            order_id=share_order_id,
            reason="typed wrongly",
            **to,
        )

    @property
    def mistyped(self) -> CastOrder:
        """Return the order as it is called by mistake: nobody places such a one."""
        return replace(self, order_id=f"{self.order_id}x")

    def void(self, prefix: str) -> CommandBody:
        return self.cast.command(
            "void_payment",
            "operator",
            "op",
            payment_id=f"{prefix}{self.order_id}",
            reason="yuan for fen",
        )

    def cancel(self) -> CommandBody:
        """Let the client leave, with or without the words that it may cost something."""
        fields: CommandBody = {"accept_forfeit": self.cast.rng.random() < 0.3}
        if self.cast.rng.random() < 0.7:
            # What it costs after the first script; at any other time it is wrong.
            fields["accept_cost_fen"] = money.half_up(self.total_fen, 10)
        return self.by_client("cancel_order", **fields)

    def submit(self) -> CommandBody:
        kind = "submit_script" if self.needs_script else "submit_content"
        return self.by_creator(kind, links=["https://example.com/work"])

    def publish(self) -> CommandBody:
        url = "https://example.com/published"
        return self.by_creator("publish_work", url=url, published_at=timedelta(seconds=-1))

    def propose(self) -> CommandBody:
        return self.by_creator("propose_schedule", **SOON)

    def agree(self, publish_in: timedelta = 5 * STEP) -> CommandBody:
        return self.by_client("agree_schedule", expected_publish_at=publish_in)

    def act(self, kind: str, side: str | None = None, **fields: object) -> CommandBody:
        """Let an operator stand in for a side."""
        inner_command = {"kind": kind, "order_id": self.order_id, **fields}
        return self.cast.command(
            "operator_act", "operator", "op", command=inner_command, side=side, reason="by phone"
        )

    def report(self) -> CommandBody:
        return self.cast.report(self.creator_id)

    def end_contract(self) -> CommandBody:
        return self.cast.end_contract(self.creator_id)

    def change_contract(self) -> CommandBody:
        share_bps = self.cast.rng.choice([None, 1_000, 3_000])
        return self.cast.register_creator(self.creator_id, share_bps)


def pay(prefix: str, *shares: tuple[CastOrder, int], due: str | None = None) -> CommandBody:
    """Pay for orders, all in one; the first one's id names the payment. `due` is what for."""
    order, purpose = shares[0][0], {} if due is None else {"due": due}
    return order.cast.command(
        "confirm_payment",
        "payments",
        "psp",
        payment_id=f"{prefix}{order.order_id}",
        paid_at=timedelta(0),
        amount_fen=sum(amount_fen for _, amount_fen in shares),
        shares=[{"order_id": share.order_id, "amount_fen": fen} | purpose for share, fen in shares],
    )


def twice(body: CommandBody) -> Exchange:
    """Send the same command again."""
    return body, body


def from_another(body: CommandBody, role: str, party_id: str) -> Exchange:
    """Let somebody else send another command under the same id."""
    return body, body | {"by": {"role": role, "id": party_id}}


def reused(body: CommandBody, **fields: object) -> Exchange:
    """Send something else under the same id."""
    return body, body | fields


def malformed(body: CommandBody) -> CommandBody:
    """Send what is no command, under an id of its own."""
    return body | {"id": f"{body['id']}-bad", "malformed": True}


def silence(_: CastOrder) -> Exchange:
    """Let whoever is waited for say nothing."""
    return ()


StageTable = tuple[tuple[int, Callable[[CastOrder], Exchange]], ...]
"""Weights, and what is asked at one stage of an order's story."""

OPENING: StageTable = (
    (12, lambda o: (o.place(),)),
    (2, lambda o: (o.by_creator("accept_order"), o.place())),
    (2, lambda o: (o.place(), o.pay_first(), o.by_creator("accept_order"))),
    (2, lambda o: (o.pay_first(), o.place())),
    (1, lambda o: (o.pay_first() | {"client_id": o.client_id}, o.place())),
    (1, lambda o: (o.pay_first() | {"client_id": o.other_client_id}, o.place())),
    (1, lambda o: (pay("d", (o.mistyped, o.first_fen)), o.place(), o.give("d"))),
    (1, lambda o: (o.pay_first(), o.void("d"), o.place())),
    (1, lambda o: (o.pay_first(), o.place(), o.resolve_suspense("d"))),
    (1, lambda o: (o.place(), o.place(o.other_client_id))),
    (1, lambda o: (o.place(), o.report())),
    (1, lambda o: (o.place(), o.end_contract())),
    (1, lambda o: (o.place(), o.change_contract())),
    (1, lambda o: twice(o.place())),
    (1, lambda o: (o.cancel(), o.place())),
)

FIRST_PAYMENT: StageTable = (
    (8, lambda o: (o.pay_first(),)),
    (2, lambda o: (o.pay_first(), o.cancel(), o.confirm_refund("d"))),
    (2, lambda o: (o.pay_first(), o.by_creator("accept_order"))),
    (1, lambda o: (o.pay_first(), o.report())),
    (1, lambda o: (pay("d", (o, 1)), o.pay_first())),
    (1, lambda o: twice(o.pay_first())),
    (2, lambda o: (pay("d", (o, 1)), o.void("d"), o.pay_first())),
    (1, lambda o: (pay("d", (o, 1)), o.void("d"), o.confirm_refund("d"))),
    (1, lambda o: (pay("h", (o.mistyped, o.first_fen)), o.give("h"), o.cancel())),
    (1, lambda o: (o.pay_first(), pay("i", (o, o.first_fen), due="deposit"))),
    (1, lambda o: (o.pay_first(), pay("e", (o, o.first_fen)), o.confirm_refund("e"))),
    (1, lambda o: (o.pay_first(), o.by_operator("pause_clock"))),
    (1, silence),
)

ANSWER: StageTable = (
    (6, lambda o: (o.by_creator("accept_order"),)),
    (3, lambda o: (o.cancel(), o.by_creator("accept_order"))),
    (2, lambda o: (o.by_creator("accept_order"), o.cancel(), o.confirm_refund("d"))),
    (1, lambda o: (o.cancel(), o.fail_refund("d"), o.confirm_refund("d"))),
    (1, lambda o: (o.by_creator("accept_order"), o.by_creator("decline_order"))),
    (1, lambda o: (o.report(), o.by_creator("accept_order"))),
    (1, lambda o: (o.end_contract(), o.by_creator("accept_order"))),
    (1, lambda o: (o.change_contract(), o.by_creator("accept_order"))),
    (1, lambda o: (o.change_contract(), o.by_agency("accept_order"))),
    (1, lambda o: (o.cast.overturn(o.creator_id), o.by_creator("accept_order"))),
    (2, lambda o: (o.by_client("nudge_creator"), o.by_creator("accept_order"))),
    (1, lambda o: twice(o.by_client("nudge_creator"))),
    (2, lambda o: twice(o.by_creator("accept_order"))),
    (1, lambda o: from_another(o.by_creator("accept_order"), "client", o.client_id)),
    (1, lambda o: from_another(o.cancel(), "client", o.other_client_id)),
    (2, lambda o: reused(o.by_creator("accept_order"), revised_amount_fen=o.amount_fen + 1)),
    (1, lambda o: (malformed(o.cancel()), o.by_creator("accept_order"))),
    (1, lambda o: (o.act("accept_order"), o.cancel())),
    (1, lambda o: (o.by_operator("extend_deadline", until=4 * STEP), o.cancel())),
    (2, lambda o: (o.by_creator("accept_order", revised_amount_fen=o.amount_fen + 9), o.cancel())),
    (1, silence),
)

BALANCE: StageTable = (
    (6, lambda o: (o.pay_balance(),)),
    (2, lambda o: (o.cancel(), o.pay_balance(), o.confirm_refund("b"))),
    (1, lambda o: (o.by_creator("withdraw_order"), o.pay_balance())),
    (2, lambda o: (o.by_creator("revise_quote", amount_fen=o.amount_fen + 7), o.pay_balance())),
    (2, lambda o: (o.pay_balance(), pay("f", (o, o.balance_fen)), o.confirm_refund("f"))),
    (1, lambda o: (o.by_client("restore_quote"), o.pay_balance())),
    (1, lambda o: (o.report(), o.pay_balance())),
    (2, lambda o: (o.by_client("appoint_provider", provider_id=o.cast.provider), o.pay_balance())),
)

UNPAID: StageTable = (
    (2, lambda o: (o.pay_balance(),)),
    (2, lambda o: (o.ask("confirm_unpaid", "payments", "psp"), o.pay_balance())),
    (1, lambda o: (o.cancel(), o.pay_balance())),
    (3, silence),
)
"""What is asked about when the balance is overdue."""

FORFEITED: StageTable = (
    (2, lambda o: (o.by_operator("reinstate_order", until=3 * STEP), o.pay_balance())),
    (1, lambda o: (pay("g", (o, o.balance_fen)), _release(o))),
    (1, silence),
)

RELEASE: StageTable = (
    (2, lambda o: (_release(o), o.by_operator("reinstate_order", until=3 * STEP))),
    (1, lambda o: (_release(o), _release(o))),
)

WORK: StageTable = (
    (6, lambda o: (o.submit(),)),
    (2, lambda o: (o.propose(), o.agree(), o.submit())),
    (1, lambda o: (o.propose(), o.agree(2 * STEP), o.by_operator("reschedule_order", **SOON))),
    (1, lambda o: (o.act("appoint_provider", "creator", provider_id=None), o.submit())),
    (2, lambda o: (o.cancel(), o.submit())),
    (1, lambda o: (o.by_creator("withdraw_order"), o.submit(), o.confirm_refund("d"))),
    (1, lambda o: (o.by_creator("withdraw_order"), o.confirm_refund("d"), o.fail_refund("d"))),
    (3, lambda o: (o.submit(), o.submit())),
    (2, lambda o: (o.by_client("appoint_provider", provider_id=o.cast.provider), o.submit())),
)

REVIEW: StageTable = (
    (5, lambda o: (_approve(o),)),
    (3, lambda o: (_approve(o), _send_back(o))),
    (2, lambda o: (_approve(o), o.cancel())),
    (1, lambda o: (_approve(o), o.by_creator("withdraw_order"))),
    (1, lambda o: (_approve(o), o.by_creator("dispute_order", reason="no"))),
    (2, lambda o: (o.by_provider("approve_content"), _approve(o))),
    (2, lambda o: twice(_approve(o))),
)

PUBLICATION: StageTable = (
    (5, lambda o: (o.publish(),)),
    (2, lambda o: (o.propose(), o.agree(), o.publish())),
    (1, lambda o: (o.by_operator("reschedule_order", **SOON), o.publish())),
    (4, lambda o: (o.publish(), o.by_creator("withdraw_order"))),
    (2, lambda o: (o.cancel(), o.publish())),
    (1, lambda o: (o.by_client("dispute_order", reason="no"), o.publish())),
    (1, lambda o: (o.report(), o.publish())),
    (1, lambda o: (o.by_operator("pause_clock"), o.publish())),
)

ACCEPTANCE: StageTable = (
    (4, lambda o: (o.by_client("confirm_delivery"),)),
    (3, lambda o: (o.by_client("confirm_delivery"), o.by_client("dispute_order", reason="no"))),
    (1, lambda o: (o.by_creator("dispute_order", reason="no"), _decide(o))),
    (2, silence),
)

SETTLEMENT: StageTable = (
    (3, lambda o: (o.confirm_payout(), o.by_client("rate_order", rating=5))),
    (1, lambda o: (_decide(o), o.cancel())),
    (1, lambda o: (o.confirm_payout(), o.by_client("dispute_order", reason="no"))),
    (1, lambda o: twice(o.confirm_payout())),
    (2, lambda o: (o.confirm_payout(), o.hold_payout(), o.fail_payout())),
    (2, lambda o: (o.hold_payout(), o.reverse_payout(), o.confirm_payout())),
    (2, lambda o: (o.fail_payout(), o.confirm_payout(), o.fail_payout())),
    (1, lambda o: (o.hold_payout(), o.release_payout(), o.reverse_payout())),
    (1, lambda o: (o.confirm_refund("d"), o.confirm_refund("d"))),
    (2, silence),
)


def _approve(order: CastOrder) -> CommandBody:
    return order.by_client("approve_script" if order.needs_script else "approve_content")


def _send_back(order: CastOrder) -> CommandBody:
    kind = "reject_script" if order.needs_script else "reject_content"
    return order.by_client(kind, comment="again")


def _decide(order: CastOrder) -> CommandBody:
    outcome = order.cast.rng.choice(["approve", "cancel"])
    terms = {"creator_bps": 4_000} if outcome == "cancel" else {}
    return order.by_operator("resolve_dispute", outcome=outcome, **terms)


def _release(order: CastOrder) -> CommandBody:
    return order.by_operator(
        "release_forfeit", parts=[{"to": "platform", "amount_fen": order.first_fen}]
    )


Stages = tuple[tuple[int, StageTable], ...]
"""Stages of a story: steps since the one before, and what is asked."""

FUNDED: Stages = ((1, ANSWER), (1, BALANCE))
NEVER_FUNDED: Stages = ((1, ANSWER), (3, UNPAID), (1, FORFEITED), (4, RELEASE))
WORKED: Stages = ((1, WORK), (1, REVIEW))
DELIVERED: Stages = ((1, PUBLICATION), (1, ACCEPTANCE), (3, SETTLEMENT))
SHARE_UNFUNDED = 0.15


def write_cast(seed: int, number: int) -> list[list[Exchange]]:
    """Write what one cast asks, step by step; the same seed and number write the same."""
    rng = Random(f"{seed} {number}")  # noqa: S311
    cast = Cast(f"c{number}", rng)
    _register_parties(cast)
    for group_number in range(ORDER_GROUPS):
        size = rng.choice((2, 3)) if rng.random() < SHARE_MERGED else 1
        client_id, beginning = rng.choice(cast.clients), rng.choice(BEGINNINGS)
        orders = [
            CastOrder(
                cast,
                f"{cast.name}o{group_number}{place}",
                client_id,
                rng.choice(cast.creators),
                rng.randrange(20, 2_000) * 50,
                rng.random() < SHARE_PREPAID,
                rng.random() < SHARE_SCRIPTED,
            )
            for place in range(size)
        ]
        _tell_stories(cast, orders, beginning)
    _hoard(cast)
    _let_creators_come_back(cast)
    return [cast.steps[step] for step in range(max(cast.steps) + 1)]


HOARDING_STEPS, HOARDED_AT_ONCE = range(1, 7), 3


def _hoard(cast: Cast) -> None:
    """Let a client place more than it pays for: its orders reach their limit, and make room."""
    for step in HOARDING_STEPS:
        orders = [
            CastOrder(
                cast,
                f"{cast.name}q{step}{place}",
                f"{cast.name}c",
                cast.creators[0],
                10_000,
                prepay_deposit=True,
                needs_script=False,
            )
            for place in range(HOARDED_AT_ONCE)
        ]
        first, *others = orders
        cast.add(step, tuple(order.place() for order in orders))
        cast.add(step + 1, (first.pay_first(), others[-1].cancel()))


def _register_parties(cast: Cast) -> None:
    *direct, managed = cast.creators
    cast.add(
        0,
        (cast.command("register_mcn", "platform", "p", mcn_id=cast.agency, name="M"),),
        (cast.command("register_provider", "platform", "p", provider_id=cast.provider, name="P"),),
        *((cast.register_creator(creator_id),) for creator_id in direct),
        (cast.register_creator(managed), cast.register_creator(managed, 2_000)),
    )


def _tell_stories(cast: Cast, orders: Sequence[CastOrder], beginning: int) -> None:
    for order in orders:
        cast.add(beginning, cast.choose(OPENING)(order))
    if len(orders) == 1:
        cast.add(beginning + 1, cast.choose(FIRST_PAYMENT)(orders[0]))
    else:
        first_payment = pay("d", *((order, order.first_fen) for order in orders))
        cast.add(beginning + 1, _meet(cast, first_payment, orders))
    for order in orders:
        _tell_story(cast, order, beginning + 1)


def _meet(cast: Cast, payment: CommandBody, orders: Sequence[CastOrder]) -> Exchange:
    """Let a payment for several orders meet what ends one of them, and another's refund."""
    cancellation, refund = orders[-1].cancel(), orders[0].confirm_refund("d")
    exchange: Exchange = cast.choose(
        (
            (3, (payment,)),
            (3, (payment, cancellation)),
            (3, (cancellation, payment)),
            (1, (payment, cancellation, refund)),
        )
    )
    return exchange


def _tell_story(cast: Cast, order: CastOrder, step: int) -> None:
    for pause, table, teller in _stages(cast, order):
        step += pause
        exchange = cast.choose(table)(teller)
        cast.add(step, exchange)
        if cast.rng.random() > (GOES_ON_OPPOSED if len(exchange) > 1 else GOES_ON_ALONE):
            return


def _stages(cast: Cast, order: CastOrder) -> Iterator[tuple[int, StageTable, CastOrder]]:
    """Give an order's stages; its script is the first work, where one is wanted."""
    if cast.rng.random() < SHARE_UNFUNDED:
        yield from ((*stage, order) for stage in NEVER_FUNDED)
        return
    content = replace(order, needs_script=False)
    works = (order, content) if order.needs_script else (content,)
    yield from ((*stage, order) for stage in FUNDED)
    for work in works:
        yield from ((*stage, work) for stage in WORKED)
    yield from ((*stage, content) for stage in DELIVERED)


def _let_creators_come_back(cast: Cast) -> None:
    """Let the banned be free and the departed return, mostly: else nobody would work for long."""
    for step, exchanges in sorted(cast.steps.items()):
        for body in [body for exchange in exchanges for body in exchange]:
            creator_id = str(body.get("creator_id"))
            if body["kind"] == "report_violation" and cast.rng.random() < 0.8:
                cast.add(step + 1, (cast.overturn(creator_id),))
            elif body["kind"] == "end_contract":
                share_bps = cast.rng.choice([None, 500])
                cast.add(step + 1, (cast.register_creator(creator_id, share_bps),))
