"""Stories: fixed instants, parties and orders in every state, made by commands alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from models.audit import MoneyTotals, audit_creator, audit_order, audit_payment, audit_totals
from models.audit.order_checks import Finding
from models.commands.parsing import parse_command
from models.creators import CREATOR_ADAPTER, Creator
from models.events.event import Event
from models.fields import format_instant
from models.ledger import balances
from models.orders.order import Order
from models.policy import Policy
from models.service.handlers import expire_parked, handle
from models.service.outcome import JudgedCommand, Outcome, recorded_events
from models.service.unit_of_work import UnitOfWork, up_to
from ops.simulation.simulate import spread
from tests.support.command_fields import ABOUT_THE_CREATOR, PLACEMENTS, creator_command, fields_for

START = datetime(2026, 3, 2, 2, tzinfo=UTC)
"""When every story begins: 10 in the morning, in Shanghai."""

POLICY = Policy()
MICRO = timedelta(microseconds=1)

# Whom orders are about, and others of the same kind who have no say in them.
ORDER_PARTIES = {
    "client": "c1",
    "creator": "k1",
    "mcn": "m1",
    "operator": "op",
    "payments": "psp",
    "platform": "plat",
}

OTHER_PARTIES = {"client": "c2", "creator": "k2", "mcn": "m2"}
AMOUNT, TOTAL, DEPOSIT, BALANCE = 100_000, 105_000, 10_500, 94_500
_UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "us": 1}


def span(text: str) -> timedelta:
    """Read a length of time as tables write it: `24h`, `7d10m`, `30m+1us`, `24h-1us`."""
    total, sign = 0, 1
    for operator, number, unit in re.findall(r"([+-]?)(\d+)(us|[dhms])", text):
        sign = {"-": -1, "+": 1}.get(operator, sign)
        total += sign * int(number) * _UNITS[unit]
    return timedelta(microseconds=total)


def read_table(text: str) -> list[dict[str, str]]:
    """Read rows under a heading; columns are two spaces or more apart."""
    head, *rows = [re.split(r"\s{2,}", line.strip()) for line in text.strip().splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


@dataclass(slots=True)
class OrderStory:
    """A unit of work without a database, and the events and outcomes of its commands, in order.

    `judged` has them by their numbers of receipt; `now` is the instant of the latest command. While
    `spreads`, orders learn at once of what commands change about their creator, otherwise when
    somebody wakes it.
    """

    policy: Policy = POLICY
    uow: UnitOfWork = field(init=False)
    events: list[Event] = field(default_factory=list)
    outcomes: list[tuple[str, str | None]] = field(default_factory=list)
    judged: dict[int, JudgedCommand] = field(default_factory=dict)
    now: datetime = START
    command_count: int = 0
    handled_count: int = 0
    spreads: bool = True

    def __post_init__(self) -> None:
        self.uow = UnitOfWork(policy=self.policy)

    def handle(self, body: dict[str, Any], at: datetime) -> Outcome:
        """Handle a command, given as its JSON body; raise `MalformedCommand` if it is none.

        One about an unknown order is answered at once: this story places none for it.
        """
        number = self.next_number(at)
        judged = self.submit(body, at, number) or self.expire(str(number), at + span("3650d"))
        return next(entry.outcome for entry in judged if entry.number == number)

    def next_number(self, at: datetime) -> int:
        """Return the number of receipt of a command that is received at an instant."""
        del at
        return self.handled_count + 1

    def submit(
        self, body: dict[str, Any], at: datetime, number: int | None = None
    ) -> list[JudgedCommand]:
        """Handle a command that may have to wait for its order; return all that was judged."""
        number = number or self.next_number(at)
        self.handled_count, self.now = self.handled_count + 1, at
        command = parse_command(json.dumps(body))
        return self._note(handle(self.uow, command, at, number))

    def expire(self, key: str, at: datetime) -> list[JudgedCommand]:
        """Tell a parked command what time it is; return all that was judged."""
        return self._note(expire_parked(self.uow, key, at))

    def _note(self, judged: list[JudgedCommand]) -> list[JudgedCommand]:
        events = recorded_events(judged)
        self.events.extend(events)
        if self.spreads:
            self.events.extend(spread(self.uow, events, self.now))
        self.judged |= {entry.number: entry for entry in judged}
        self.outcomes += [(entry.outcome.outcome, entry.outcome.reason) for entry in judged]
        return judged

    def ask(self, kind: str, by: str, at: datetime | None = None, /, **fields: object) -> Outcome:
        """Ask something under a fresh id; `by` is a role, or a role and a name."""
        self.command_count += 1
        body = {"id": f"cmd_{self.command_count:05}", "kind": kind, "by": sender(by), **fields}
        return self.handle(body, at or self.now)

    def pay(
        self,
        payment_id: str,
        shares: dict[str, int],
        at: datetime | None = None,
        /,
        **overrides: object,
    ) -> Outcome:
        """Report a payment; it was made when it is reported, unless `paid_at` says otherwise."""
        fields = {
            "payment_id": payment_id,
            "paid_at": format_instant(at or self.now),
            "amount_fen": sum(shares.values()),
            "shares": [
                {"order_id": order_id, "amount_fen": amount_fen}
                for order_id, amount_fen in shares.items()
            ],
        }
        return self.ask("confirm_payment", "payments", at, **(fields | overrides))

    def wake(self, order_id: str, at: datetime) -> tuple[Event, ...]:
        """Tell an order, a creator or a debt what time it is; return the events of that."""
        events = self.uow.wake(order_id, up_to(at))
        self.events.extend(events)
        return events

    def order(self, order_id: str = "o1") -> Order:
        return self.uow.orders[order_id]

    def events_of(self, kind: str) -> list[Event]:
        """Return the events of one kind."""
        return [event for event in self.events if event.fact.type == kind]

    def unapplied_reasons(self) -> list[str]:
        """Return why money could not be used, share by share."""
        return [event.published()["reason"] for event in self.events_of("payment.unapplied")]

    def accounts(self) -> dict[str, int]:
        """Return every account that holds, or is owed, anything."""
        fen_by_account = balances(posting for _, posting in self.uow.postings)
        return {account: fen for account, fen in fen_by_account.items() if fen}


def sender(by: str) -> dict[str, str]:
    """Read who asks: `client` is the order's own one, `client:c2` another."""
    role, _, party_id = by.partition(":")
    return {"role": role, "id": party_id or ORDER_PARTIES[role]}


def story_with_parties(policy: Policy = POLICY) -> OrderStory:
    """Begin a story with two agencies, a signed creator and a direct one."""
    story = OrderStory(policy)
    register_parties(story)
    return story


def register_parties(story: OrderStory) -> None:
    """Register two agencies, a creator signed with the first, and a direct creator."""
    for mcn_id in ("m1", "m2"):
        story.ask("register_mcn", "platform", mcn_id=mcn_id, name=mcn_id)
    signed = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m1"}
    story.ask("register_creator", "platform", **signed)
    story.ask("register_creator", "platform", creator_id="k2", name="K2", contract="direct")


def place(
    story: OrderStory, order_id: str = "o1", by: str = "client", /, **fields: object
) -> Outcome:
    """Place an order of 1 000 yuan with a deposit, unless told otherwise."""
    defaults = {
        "order_id": order_id,
        "creator_id": "k1",
        "name": "春季新品推广",
        "task_type": "douyin_video",
        "industry": "美妆",
        "brief": "15秒以上,露出产品",
        "amount_fen": AMOUNT,
        "prepay_deposit": True,
    }
    return story.ask("place_order", by, **(defaults | fields))


def play_step(story: OrderStory, step: str) -> Outcome | None:
    """Play one step of a history about order `o1`: see `HISTORIES`."""
    action, _, argument = step.partition(":")
    payment_id = f"{action}_{story.command_count}"
    action, argument = ("contract", "3000") if action == "agency" else (action, argument)
    if action in ABOUT_THE_CREATOR:
        kind, by, fields = creator_command(action, argument, story.command_count, story.now)
        return story.ask(kind, by, **fields)
    if action == "time":
        lapses_at = story.order().lapses_at
        assert lapses_at is not None, "time ends no such state"
        story.now = lapses_at + MICRO
        story.wake("o1", story.now)
        return None
    if action == "place":
        return place(story, **PLACEMENTS[argument])
    if action == "pay":
        return story.pay(payment_id, {"o1": story.order().balance_due_fen})
    if action == "record":
        for _ in range(3):
            play_step(story, "violation")
        story.now += span("120d")
        return None
    kind, by = MOVES[action]
    order_fields = fields_for(kind, story.order(), story.now, argument)
    return story.ask(
        kind, argument if argument in ORDER_PARTIES else by, order_id="o1", **order_fields
    )


MOVES = {
    "accept": ("accept_order", "creator"),
    "decline": ("decline_order", "creator"),
    "revise": ("revise_quote", "creator"),
    "restore": ("restore_quote", "client"),
    "cancel": ("cancel_order", "client"),
    "withdraw": ("withdraw_order", "creator"),
    "nudge": ("nudge_creator", "client"),
    "unpaid": ("confirm_unpaid", "payments"),
    "script": ("submit_script", "creator"),
    "content": ("submit_content", "creator"),
    "agree": ("approve_script", "client"),
    "return": ("reject_script", "client"),
    "approve": ("approve_content", "client"),
    "reject": ("reject_content", "client"),
    "publish": ("publish_work", "creator"),
    "deliver": ("confirm_delivery", "client"),
    "dispute": ("dispute_order", "client"),
    "resolve": ("resolve_dispute", "operator"),
    "rate": ("rate_order", "client"),
    "extend": ("extend_deadline", "operator"),
    "pause": ("pause_clock", "operator"),
    "resume": ("resume_clock", "operator"),
    "reinstate": ("reinstate_order", "operator"),
    "release": ("release_forfeit", "operator"),
    "appoint": ("appoint_provider", "client"),
    "propose": ("propose_schedule", "creator"),
    "settle": ("agree_schedule", "client"),
    "move": ("reschedule_order", "operator"),
}

HISTORIES = {
    row["situation"]: row["history"].split()
    for row in read_table("""
        situation              history
        awaiting_deposit       place
        awaiting_total         place:full
        offered                place pay
        offered_paid           place pay pay
        offered_full           place:full pay
        offered_nudged         place pay nudge
        awaiting_balance       place pay accept
        revised                place pay accept:120000
        restored               place pay accept:120000 restore
        balance_overdue        place pay accept time
        in_fulfilment          place pay accept pay
        full_at_work           place:full pay accept
        expired_unpaid         place time
        expired_offer          place pay time
        declined               place pay decline
        cancelled_unpaid       place cancel
        cancelled_offered      place pay cancel
        cancelled_by_operator  place pay accept cancel:operator
        cancelled_at_work      place pay accept pay cancel
        withdrawn              place pay accept withdraw
        forfeited_late         place pay accept time time
        forfeited_unpaid       place pay accept time unpaid
        forfeited_asked        place pay accept cancel:forfeit
        offered_paused         place pay pause
        balance_paused         place pay accept pause
        balance_banned         place pay accept violation violation
        balance_banned_paused  place pay accept pause violation violation
        at_work_noscript     place:unscripted pay accept pay
        at_work_live           place:live pay accept pay
        at_work_agency         contract:3000 place pay accept pay
        script_review          place pay accept pay script
        script_revision        place pay accept pay script return
        scripts_exhausted      place pay accept pay script return script return script return script
        producing              place pay accept pay script agree
        producing_silent       place pay accept pay script time
        content_review         place pay accept pay script agree content
        content_unscripted     place:unscripted pay accept pay content
        producing_again        place pay accept pay script agree content reject
        rejected_twice         place pay accept pay script agree content reject content reject
        rejected_enough        place:unscripted pay accept pay content reject content reject content
        ready_to_publish       place pay accept pay script agree content approve
        ready_live             place:live pay accept pay script agree
        published              place pay accept pay script agree content approve publish
        published_live         place:live pay accept pay script agree publish
        accepted_delivery      place pay accept pay script agree content approve publish deliver
        completed              place:unscripted pay accept pay content approve publish deliver time
        completed_agency       agency place:live pay accept pay script agree publish time time
        rated                  place:live pay accept pay script agree publish time time rate
        disputed_script        place pay accept pay script dispute
        disputed_content       place pay accept pay script agree content dispute:creator
        disputed_work          place pay accept pay script agree content approve publish dispute
        script_overdue         place pay accept pay script return time
        content_overdue        place pay accept pay script agree time
        not_published          place:live pay accept pay script agree time
        banned_for_good        record place pay accept pay script violation
        cancelled_banned_good  record place pay accept violation
        cancelled_at_a_cost    place pay accept pay script cancel:10500
        cancelled_agency       contract:3333 place pay accept pay script cancel:10500
        cancelled_no_work      place pay accept pay time
        cancelled_arbitrated   place pay accept pay script dispute resolve:cancel=2500
        cancelled_banned       place violation violation
        cancelled_by_a_ban     record place pay accept pay violation
        cancelled_left         place leave
        declined_banned        place pay violation violation
        declined_left          place pay leave
        proposed               place pay accept pay script agree propose:20
        rescheduled            place pay accept pay script agree propose:20 settle
        moved_live             place:live pay accept pay script agree move:30
        released               place pay accept cancel:forfeit release:to=creator
    """)
}
"""How an order comes to every situation that the rules tell apart."""


def story_of(situation: str, policy: Policy = POLICY) -> OrderStory:
    """Play the history that leads to a situation."""
    story = story_with_parties(policy)
    for step in HISTORIES[situation]:
        outcome = play_step(story, step)
        assert outcome is None or outcome.outcome == "applied", (step, outcome)
    return story


def as_stored_before(creator: Creator) -> str:
    """Write a creator as versions did that knew no history."""
    document = CREATOR_ADAPTER.dump_python(creator, mode="json")
    return json.dumps({k: v for k, v in document.items() if k not in ("history", "spread_from")})


def audit(story: OrderStory) -> list[Finding]:
    """Audit a whole story, order by order and payment by payment, and its totals."""
    uow, sums, findings = story.uow, MoneyTotals(), []
    by_subject: dict[str, list[Event]] = {}
    for event in story.events:
        by_subject.setdefault(event.subject, []).append(event)
    postings_by_subject: dict[str, list[Any]] = {}
    for event, posting in uow.postings:
        postings_by_subject.setdefault(event.subject, []).append((event.id, posting))
    for order in uow.orders.values():
        sums.count_order(order)
        subject = f"order:{order.order_id}"
        refunds = [refund for refund in uow.refunds.values() if refund.order_id == order.order_id]
        payouts = [payout for payout in uow.payouts.values() if payout.order_id == order.order_id]
        findings += audit_order(
            order, by_subject[subject], postings_by_subject.get(subject, []), refunds, payouts
        )
    for payment in uow.payments.values():
        sums.count_payment(payment)
        subject = f"payment:{payment.payment_id}"
        whole_refunds = [refund for refund in uow.refunds.values() if refund.order_id is None]
        payment_refunds = [
            refund for refund in whole_refunds if refund.payment_id == payment.payment_id
        ]
        findings += audit_payment(
            payment,
            by_subject.get(subject, []),
            postings_by_subject.get(subject, []),
            payment_refunds,
        )
    for creator in uow.creators.values():
        findings += audit_creator(creator, by_subject[f"creator:{creator.creator_id}"])
    for refund in uow.refunds.values():
        sums.count_refund(refund)
    for payout in uow.payouts.values():
        sums.count_payout(payout)
    for share in uow.suspended.values():
        sums.count_suspended(share)
    return findings + audit_totals(balances(posting for _, posting in uow.postings).items(), sums)
