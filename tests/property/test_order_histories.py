"""Order histories: whatever is asked and whenever, the books are right and time is fair.

Every history is played twice, with wake-ups sprinkled anywhere and with none: that a scheduler
was slow, doubled or dead may change no outcome and no ending. Nor may it matter whether orders
learn of a change of their creator at once or when they are next asked something.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from models.audit.order_checks import UNTOLD_FIELDS
from models.commands.operators import ON_BEHALF_KINDS
from models.fields import format_instant
from models.ids import make_reference, make_reference_stem
from models.lifecycle import (
    BEGIN_GRACE,
    END_PAUSE,
    ENFORCE_DEADLINE,
    OWED_STATUSES,
    SYSTEM_REQUESTS,
    TRANSITIONS,
    DebtStatus,
    State,
)
from models.orders.endings import cancellation_cost_at, cancellation_tier_at
from models.orders.evolve import replay
from models.orders.order import Order
from tests.support.command_fields import creator_command, fields_for
from tests.support.stories import (
    DEPOSIT,
    HISTORIES,
    MICRO,
    MOVES,
    POLICY,
    START,
    OrderStory,
    audit,
    sender,
    span,
    story_of,
)

FOREVER = timedelta(days=3650)
KINDS = sorted(kind for kind, _ in MOVES.values())

# No underscores, so that no two refunds spell the same: tests/unit/test_obligations.py has those.
ORDERS = [f"o{number}" for number in range(1, 7)]

QUOTES = [79_999, 80_000, 100_000, 120_000, 120_001]
FIELDLESS = ("nudge_creator", "restore_quote", "withdraw_order", "approve_script", "cancel_order")
EDGE = (-MICRO, timedelta(0), MICRO)

ONWARDS = frozenset(
    {
        *(State.OFFERED, State.AWAITING_BALANCE, State.BALANCE_OVERDUE, State.IN_FULFILMENT),
        *(State.SCRIPT_REVIEW, State.SCRIPT_REVISION, State.PRODUCING, State.CONTENT_REVIEW),
        *(State.READY_TO_PUBLISH, State.PUBLISHED, State.ACCEPTED_DELIVERY, State.COMPLETED),
    }
)

HALF, MOSTLY = 0.5, 0.8
states_reached: set[State] = set()
statuses_reached: set[tuple[DebtStatus, bool]] = set()


class OrderHistoryMachine(RuleBasedStateMachine):
    """One history, handled in two stories; only in `woken` does anybody wake orders in time."""

    woken: OrderStory
    left_alone: OrderStory
    first_order: Order

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.bodies: list[dict[str, Any]] = []

    @rule(seed=st.integers(0, 2**32 - 1))
    def something_happens(self, seed: int) -> None:
        """Do one thing; a seed, so that no kind of thing is drawn ten times as often as others."""
        # Mixed with what went before: Hypothesis likes to draw the same number again.
        rng = Random(f"{seed} {len(self.bodies)} {self.now}")  # noqa: S311 - secret to nobody
        likely = [self.a_listed_move_is_made] * 8 + [self.money_arrives, self.a_refund_leaves] * 2
        rare = [self.an_order_is_placed] * 2 + [self.anything_is_asked_by_anybody]
        rare += [self.something_is_sent_again, self.a_contract_changes, self.time_passes]
        rare += [self.something_happens_to_the_creator, self.an_operator_stands_in]
        rare += [self.something_comes_before_its_order] * 2
        rare += [self.an_operator_decides_on_a_payment] * 2
        wakes = [self.time_comes_to_an_edge, self.the_scheduler_wakes_something]
        payouts = [self.a_payout_leaves, self.a_payout_is_not_paid, self.a_payout_is_not_paid]
        rng.choice([*likely, *rare, *wakes, *payouts])(rng)

    # ------------------------------------------------------------------ time
    def time_passes(self, rng: Random) -> None:
        self.now += span(rng.choice(["1us", "1s", "5m", "3h", "26h"]))

    def time_comes_to_an_edge(self, rng: Random) -> None:
        """Go to the next instant at which anything could change, or to either side of it."""
        offset = rng.choice(EDGE)
        edges_ahead = sorted({edge + offset for edge in self.edges() if edge + offset >= self.now})
        if edges_ahead:
            self.now = rng.choice(edges_ahead[:3])

    def the_scheduler_wakes_something(self, rng: Random) -> None:
        """Wake an order, a creator or a debt, in the one story only, at any instant up to now."""
        uow = self.woken.uow
        debts = [f"refund:{refund_id}" for refund_id in uow.refunds]
        debts += [f"payout:{payout_id}" for payout_id in uow.payouts]
        waiting = [f"parked:{key}" for key in uow.parked]
        waiting += [f"suspense:{item.share_id}" for item in uow.suspended.values() if item.wake_at]
        subjects = [*sorted(uow.orders), *["creator:k1"] * 3, *debts[:3], *waiting[:6]]
        wake(self.woken, rng.choice(subjects), self.now - span(rng.choice(["0s", "1us", "1h"])))

    def a_wait_ends(self, order: Order, rng: Random) -> None:
        """Go past where time ends a wait, and let one of the stories notice, or not."""
        self.now = max(self.now, (order.next_timeout_at or self.now) + MICRO)
        if rng.random() < MOSTLY:
            self.woken.wake(order.order_id, self.now)

    def edges(self) -> set[datetime]:
        instants: set[datetime] = set()
        for order in self.woken.uow.orders.values():
            notices_end_at = order.entered_at + order.policy.late_notice_window
            instants |= {order.pay_by, order.accept_by, order.pay_by + POLICY.payment_notice_grace}
            instants |= {notices_end_at} | {
                instant for instant in (order.due_at, order.wake_at) if instant is not None
            }
        for ban in self.woken.uow.creators["k1"].bans:
            instants |= {ban.until} if ban.until else set()
        # The story that nobody wakes knows longest what waits.
        instants |= {waiting.answer_at for waiting in self.left_alone.uow.parked.values()}
        shares = self.left_alone.uow.suspended.values()
        return instants | {item.wake_at for item in shares if item.wake_at is not None}

    # --------------------------------------------------------------- commands
    def an_order_is_placed(self, rng: Random) -> None:
        """Place an order, sometimes one that exists or with a creator that does not."""
        task = rng.choice(["xigua", "xigua", "douyin_live"])
        fields: dict[str, object] = {"name": "n", "task_type": task, "industry": "i"}
        fields |= {"needs_script": task == "douyin_live" or rng.random() < HALF}
        if rng.random() < HALF:
            fields["expected_publish_at"] = format_instant(self.now + span("3d"))
        fresh = [order_id for order_id in ORDERS if order_id not in self.woken.uow.orders]
        fields |= {"brief": "b", "order_id": rng.choice(fresh[:1] * 9 + ORDERS)}
        fields |= {"creator_id": rng.choice(["k1"] * 9 + ["k9"])}
        fields |= {"amount_fen": rng.choice([100_000] * 4 + [1, 13])}
        fields |= {"prepay_deposit": rng.random() < MOSTLY}
        self.ask("place_order", rng.choice(["client:c1"] * 3 + ["client:c2"]), **fields)

    def a_listed_move_is_made(self, rng: Random) -> None:
        """Do what the table lists for an order as it is, by somebody who may."""
        orders = list(self.woken.uow.orders.values())
        order = rng.choice(
            [candidate for candidate in orders if not candidate.is_final] * 5 + orders
        )
        transitions = [transition for transition in TRANSITIONS if transition.source is order.state]
        # Otherwise most orders would end young, and few would be forfeited.
        transitions += [
            transition for transition in transitions if transition.targets & ONWARDS - {order.state}
        ] * 6
        transitions += [
            transition
            for transition in transitions
            if transition.targets == {State.SCRIPT_REVISION}
        ]
        move = rng.choice(transitions)
        if move.command in (ENFORCE_DEADLINE, END_PAUSE, BEGIN_GRACE):
            self.a_wait_ends(order, rng)
        elif move.command in SYSTEM_REQUESTS:
            self.something_happens_to_the_creator(rng)
        elif move.command == "confirm_payment":
            shares = {order.order_id: self.amount_due(order.order_id)}
            self.pay(shares, self.paid_at(rng, order.order_id))
        else:
            by = self.party_of(order, rng.choice(sorted(move.roles)))
            self.ask_about(order.order_id, move.command, by, rng)

    def anything_is_asked_by_anybody(self, rng: Random) -> None:
        by = rng.choice(
            ["client", "client:c2", "creator", "mcn", "mcn:m2", "operator", "provider:v1"]
        )
        self.ask_about(rng.choice(ORDERS), rng.choice(KINDS), by, rng)

    def something_comes_before_its_order(self, rng: Random) -> None:
        """Ask, or pay, for the order that is placed next, and mostly place it soon after."""
        fresh = [order_id for order_id in ORDERS if order_id not in self.woken.uow.orders]
        for order_id in fresh[:1]:
            kind, by = rng.choice(
                [("cancel_order", "client"), ("pause_clock", "operator"), ("accept_order", "mcn")]
            )
            reason = {"reason": "first"} if kind == "pause_clock" else {}
            self.ask(kind, by, order_id=order_id, **reason)
            if rng.random() < HALF:
                named = rng.choice([{}, {"client_id": "c1"}, {"client_id": "c2"}])
                self.pay({order_id: DEPOSIT}, self.now, **named)
            if rng.random() < HALF:
                self.now += span(rng.choice(["1s", "5s", "5s1us"]))
            if rng.random() < MOSTLY:
                self.an_order_is_placed(rng)

    def money_arrives(self, rng: Random) -> None:
        """Pay for several orders at once, sometimes strangely."""
        order_ids = rng.sample([*ORDERS, "o9"], rng.randint(1, 4))
        shares = {
            order_id: self.amount_due(order_id) + rng.choice([0] * 9 + [1])
            for order_id in order_ids
        }
        odd_fields: list[dict[str, object]] = [
            {},
            {},
            {},
            {"amount_fen": 7},
            {"payment_id": "p0"},
            {"shares": []},
            {"client_id": rng.choice(["c1", "c2"])},
            {"payment_id": rng.choice(sorted(self.woken.uow.payments) or ["p0"])},
        ]
        self.pay(shares, self.paid_at(rng, order_ids[0]), **rng.choice(odd_fields))

    def an_operator_decides_on_a_payment(self, rng: Random) -> None:
        """Void a payment, mostly one that no order uses, or take a share out of suspense."""
        uow = self.woken.uow
        unused = [payment.payment_id for payment in uow.payments.values() if not payment.applied_at]
        if rng.random() < HALF:
            payment_id = rng.choice(unused * 3 + sorted(uow.payments) + ["p0"])
            self.ask("void_payment", "operator", payment_id=payment_id, reason="yuan for fen")
        elif uow.suspended:
            item = rng.choice([*uow.suspended.values()])
            to: dict[str, object] = {"to": "refund"}
            if rng.random() < MOSTLY:
                to = {"to": "order", "target_order_id": rng.choice(ORDERS)}
            share = {"payment_id": item.payment_id, "order_id": item.order_id}
            self.ask("resolve_suspense", "operator", **share, **to, reason="typed wrongly")

    def a_refund_leaves(self, rng: Random) -> None:
        """Confirm a refund that is owed, or will be once somebody notices the time."""
        refund_ids = sorted(self.woken.uow.refunds) + [
            f"rf_{holding.payment_id}_{order.order_id}"
            for order in self.woken.uow.orders.values()
            for holding in order.held
        ]
        if refund_ids:
            name = self.name_of(rng.choice(refund_ids), rng)
            self.confirm_or_fail("refund", rng, refund_id=name)

    def confirm_or_fail(self, debt: str, rng: Random, **name: str) -> None:
        """Tell that a refund or payout has left, or that it has not, or has come back."""
        if rng.random() < HALF:
            self.ask(f"confirm_{debt}", "payments", **name)
        else:
            self.ask(f"fail_{debt}", "payments", reason="no such account", **name)

    def name_of(self, debt_id: str, rng: Random) -> str:
        """Name a refund or payout by its id, or by the reference of one of its first attempts."""
        attempt, order_id = rng.choice([None, None, 1, 2]), debt_id.rpartition("_")[2]
        if debt_id.startswith("po_"):
            order_id = debt_id.split("_")[1]
        if attempt is None or order_id not in ORDERS:
            return debt_id
        return make_reference(make_reference_stem(debt_id, f"order:{order_id}"), attempt)

    def something_is_sent_again(self, rng: Random) -> None:
        """Send an old command as it was, or another under its id."""
        body = rng.choice(self.bodies)
        answered_ids = {entry.command.id for entry in self.left_alone.judged.values()}
        others = [{"by": sender("operator")}] if body["id"] in answered_ids else []
        self.send(body | rng.choice([{}, {}, *others]))

    def a_contract_changes(self, rng: Random) -> None:
        mcn = rng.choice([None, "m1", "m2"])
        terms: dict[str, object] = {"contract": "mcn", "mcn_id": mcn} if mcn else {}
        terms |= {"mcn_share_bps": rng.choice([0, 3_333])} if mcn else {"contract": "direct"}
        self.ask("register_creator", "platform", creator_id="k1", name="K1", **terms)

    def something_happens_to_the_creator(self, rng: Random) -> None:
        """Report a violation, overturn one, or end the contract."""
        names = sorted(self.woken.uow.violations) or ["x"]
        action = rng.choice(["violation", "violation", "violation", "overturn", "leave"])
        argument = rng.choice(names) if action == "overturn" else ""
        kind, by, fields = creator_command(action, argument, len(self.bodies), self.now)
        self.ask(kind, by, **fields)

    def an_operator_stands_in(self, rng: Random) -> None:
        """Ask what the table lists for an order, for whoever may."""
        order = rng.choice(list(self.woken.uow.orders.values()))
        sides = {"client", "creator"}
        transitions = [
            transition
            for transition in TRANSITIONS
            if transition.source is order.state
            and sides & transition.roles
            and transition.command in ON_BEHALF_KINDS
        ]
        if transitions:
            kind = rng.choice(transitions).command
            inner_command = {"kind": kind, "order_id": order.order_id} | self.fields(
                order, kind, rng
            )
            self.ask("operator_act", "operator", command=inner_command, reason="by telephone")

    def a_payout_leaves(self, rng: Random) -> None:
        """Confirm or fail a payout that is owed, or will be once somebody notices the time.

        What has failed is often looked into before it is sent again.
        """
        self.confirm_or_fail("payout", rng, payout_id=self.a_payout_name(rng))
        failed_ids = [
            payout.payout_id
            for _, payout in sorted(self.woken.uow.payouts.items())
            if payout.status is DebtStatus.FAILED and payout.held_at is None
        ]
        if failed_ids and rng.random() < HALF:
            payout_id = rng.choice(failed_ids)
            self.ask("hold_payout", "operator", payout_id=payout_id, reason="who is to blame?")

    def a_payout_is_not_paid(self, rng: Random) -> None:
        """Hold a payout, let it go, or take it back: mostly what would be heard."""
        owed_payouts = [
            payout
            for _, payout in sorted(self.woken.uow.payouts.items())
            if payout.status in OWED_STATUSES
        ]
        kinds = ["hold_payout", "release_payout", "reverse_payout"]
        payout_id = self.a_payout_name(rng)
        if owed_payouts and rng.random() < MOSTLY:
            payout = rng.choice(owed_payouts)
            kinds, payout_id = kinds[:1] if payout.held_at is None else kinds[1:], payout.payout_id
        kind = rng.choice(kinds)
        to = {"to": rng.choice(["client", "platform"])} if kind == "reverse_payout" else {}
        self.ask(kind, "operator", payout_id=payout_id, reason="in doubt", **to)

    def a_payout_name(self, rng: Random) -> str:
        owed_payouts = sorted(self.woken.uow.payouts)
        payout_ids = [f"po_{order_id}_{side}" for order_id in ORDERS for side in ("creator", "mcn")]
        return self.name_of(rng.choice(owed_payouts * 6 + payout_ids), rng)

    # ------------------------------------------------------------- invariants
    @initialize(situation=st.sampled_from(sorted(HISTORIES)), seed=st.integers(0, 2**32 - 1))
    def a_history_begins_in_any_situation(self, situation: str, seed: int) -> None:
        self.woken, self.left_alone = story_of(situation), story_of(situation)
        self.left_alone.spreads = False
        self.now, self.first_order = self.woken.now, self.woken.order()
        self.an_order_is_placed(Random(seed))  # noqa: S311 - as above

    @invariant()
    def the_books_are_right(self) -> None:
        assert audit(self.woken) == []
        assert audit(self.left_alone) == []

    @invariant()
    def every_order_can_be_told_again_from_its_events(self) -> None:
        for story in (self.woken, self.left_alone):
            for order_id, order in story.uow.orders.items():
                if order is not self.first_order and entry_of(order) != entry_of(self.first_order):
                    states_reached.add(order.state)
                order_events = [event for event in story.events if event.order_id == order_id]
                replayed = replay(order_events, lambda _: POLICY)
                untold = {name: getattr(order, name) for name in UNTOLD_FIELDS}
                assert replayed.with_changes(untold) == order

    @invariant()
    def every_outcome_is_the_same_in_both_stories(self) -> None:
        """Compare what both have answered: only one of them is told when a wait is over."""
        numbers = self.woken.judged.keys() & self.left_alone.judged.keys()
        assert outcomes_of(self.woken, numbers) == outcomes_of(self.left_alone, numbers)

    def teardown(self) -> None:
        """Let everything that can lapse do so; the two stories must have ended alike."""
        for story in (self.woken, self.left_alone):
            subjects = [
                *story.uow.orders,
                *(f"creator:{creator_id}" for creator_id in story.uow.creators),
                *(f"parked:{key}" for key in story.uow.parked),
                *(f"suspense:{share_id}" for share_id in story.uow.suspended),
            ]
            # Whoever is told first, of the orders and their creators, makes no difference.
            for subject in subjects if story is self.woken else reversed(subjects):
                wake(story, subject, self.now + FOREVER)
            for kind, debts in (("refund", story.uow.refunds), ("payout", story.uow.payouts)):
                for debt_id in list(debts):
                    wake(story, f"{kind}:{debt_id}", self.now + FOREVER)
            statuses_reached.update((r.status, False) for r in story.uow.refunds.values())
            statuses_reached.update(
                (payout.status, payout.held_at is not None) for payout in story.uow.payouts.values()
            )
            assert audit(story) == []
        assert outcomes_of(self.woken, self.woken.judged) == outcomes_of(
            self.left_alone, self.left_alone.judged
        )
        assert final_state_of(self.woken) == final_state_of(self.left_alone)

    # ---------------------------------------------------------------- asking
    def send(self, body: dict[str, Any]) -> None:
        for story in (self.woken, self.left_alone):
            story.submit(body, self.now)

    def ask(self, kind: str, by: str, **fields: object) -> None:
        body = {"id": f"life_{len(self.bodies):05}", "kind": kind, "by": sender(by), **fields}
        self.bodies.append(body)
        self.send(body)

    def ask_about(self, order_id: str, kind: str, by: str, rng: Random) -> None:
        order = self.woken.uow.orders.get(order_id)
        fields = self.fields(order, kind, rng) if order else {}
        if order or kind in FIELDLESS:
            self.ask(kind, by, order_id=order_id, **fields)

    def fields(self, order: Order, kind: str, rng: Random) -> dict[str, Any]:
        if kind == "revise_quote":
            return {"amount_fen": rng.choice(QUOTES)}
        if kind == "accept_order":
            return {"revised_amount_fen": rng.choice([None, None, *QUOTES])}
        if kind == "cancel_order":
            cost = cancellation_cost_at(order, cancellation_tier_at(order, self.now)).cost_fen
            free = {"accept_forfeit": rng.random() < HALF}
            return free | {"accept_cost_fen": rng.choice([None, cost, cost])}
        argument = ""
        if kind in ("propose_schedule", "reschedule_order"):
            argument = rng.choice(["0", "1", "9", "30"])
        elif kind == "agree_schedule":
            argument = rng.choice(["", "", "", "1"])
        elif kind == "resolve_dispute":
            argument = rng.choice(["approve", "approve", "extend", "cancel=0", "cancel=3333"])
        elif kind == "release_forfeit":
            argument = rng.choice(["to=platform", "to=creator", "to=client"])
        return fields_for(kind, order, self.now, argument)

    def pay(self, shares: dict[str, int], paid_at: datetime, /, **overrides: object) -> None:
        fields: dict[str, object] = {
            "payment_id": f"p{len(self.bodies)}",
            "paid_at": format_instant(paid_at),
            "amount_fen": sum(shares.values()),
            "shares": [
                {"order_id": order_id, "amount_fen": fen} for order_id, fen in shares.items()
            ],
        }
        self.ask("confirm_payment", "payments", **(fields | overrides))

    def party_of(self, order: Order, role: str) -> str:
        agency_id = self.woken.uow.creators[order.creator_id].mcn_id
        party_ids = {
            "client": order.client_id,
            "creator": order.creator_id,
            "mcn": agency_id or "m2",
        }
        party_ids["provider"] = order.creator_provider or "v1"
        return f"{role}:{party_ids[role]}" if role in party_ids else role

    def amount_due(self, order_id: str) -> int:
        order = self.woken.uow.orders.get(order_id)
        if order is None:
            return DEPOSIT
        forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
        return order.balance_due_fen or order.total_fen - forfeited_fen or 1

    def paid_at(self, rng: Random, order_id: str) -> datetime:
        order = self.woken.uow.orders.get(order_id)
        last_at = order.pay_by if order else self.now
        return rng.choice([self.now] * 4 + [last_at + offset for offset in EDGE])


def wake(story: OrderStory, subject: str, at: datetime) -> None:
    """Tell anything what time it is; a parked command is answered by it."""
    kind, _, key = subject.partition(":")
    if kind == "parked":
        story.expire(key, at)
    else:
        story.wake(subject, at)


def outcomes_of(story: OrderStory, numbers: Iterable[int]) -> dict[int, tuple[object, ...]]:
    """Say what commands came to, by their numbers of receipt, and as of when."""
    judged = {number: story.judged[number] for number in numbers}
    return {
        number: (entry.outcome.outcome, entry.outcome.reason, entry.at)
        for number, entry in judged.items()
    }


def entry_of(order: Order) -> tuple[State, datetime]:
    return order.state, order.entered_at


def final_state_of(story: OrderStory) -> dict[str, object]:
    """Tell what became of everybody and every fen, but not when anybody noticed."""
    orders = {
        order.order_id: (
            order.state,
            order.reason,
            order.entered_at,
            order.held,
            order.amount_fen,
            order.lapsed,
            order.expected_publish_at,
        )
        for order in story.uow.orders.values()
    }
    refunds = {
        refund.refund_id: (
            refund.client_id,
            refund.amount_fen,
            refund.requested_at,
            refund.confirmed_at,
            (refund.status, refund.attempt, refund.waits_since),
        )
        for refund in story.uow.refunds.values()
    }
    payments = {
        payment.payment_id: (payment.client_id, payment.applied_at, payment.voided_at)
        for payment in story.uow.payments.values()
    }
    payouts = {
        payout.payout_id: (
            payout.party,
            payout.amount_fen,
            payout.requested_at,
            payout.confirmed_at,
            (payout.status, payout.attempt, payout.held_at, payout.waits_since),
        )
        for payout in story.uow.payouts.values()
    }
    standing_by_creator = {
        creator.creator_id: creator.standing for creator in story.uow.creators.values()
    }
    shares = {item.share_id: item.resolved_at for item in story.uow.suspended.values()}
    alerts = [event.published() for event in story.events_of("operator.alerted")]
    strays = sorted(
        (alert["alert"], str(alert["for_order_id"]), alert["at"])
        for alert in alerts
        if alert["alert"] in ALERTS_COMPARED
    )
    obligations = {"refunds": refunds, "payouts": payouts, "accounts": story.accounts()}
    obligations |= {"suspended": shares, "alerted": strays, "payments": payments}
    return {"orders": orders, "standing": standing_by_creator} | obligations


ALERTS_COMPARED = (
    *("unknown_order", "refund_failed", "payout_failed", "paid_while_held", "moved_after_end"),
    *("refund_overdue", "payout_overdue"),
)
"""What must be told in both stories, of the same instant, whoever was woken when."""


LIMITS = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_a_scheduler_that_is_slow_doubled_or_dead_changes_no_outcome_and_no_ending() -> None:
    states_reached.clear()
    statuses_reached.clear()
    owed = {(status, held) for status in OWED_STATUSES for held in (True, False)}
    ended = {(DebtStatus.CONFIRMED, False), (DebtStatus.REVERSED, True)}
    for _ in range(3):  # the histories of one run are much alike: it may miss a state
        if states_reached != set(State) or not statuses_reached >= owed | ended:
            run_state_machine_as_test(OrderHistoryMachine, settings=LIMITS)
    assert states_reached == set(State)
    assert statuses_reached >= owed | ended
