"""Mutants: faults planted in the rules, each of which some test must notice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from models import ledger, money
from models.creators import StandingChange
from models.events.event import Event
from models.events.orders import OrderForfeited, QuoteRevised
from models.ledger import Posting
from models.lifecycle import EndReason, State
from models.orders import decide, decision, endings, evolve, offers, timeouts
from models.orders import payments as order_payments
from models.orders.decision import Decision, HandlerResult
from models.orders.order import Order
from models.policy import Policy
from models.reasons import UnappliedReason
from models.service.unit_of_work import UnitOfWork
from tests.property.test_order_histories import LIMITS, OrderHistoryMachine
from tests.support.stories import MICRO
from tests.unit import test_obligations
from tests.unit.ops.simulation import test_scenarios
from tests.unit.orders import (
    test_common_mistakes,
    test_decide,
    test_decide_every_request,
    test_payments,
    test_timeouts,
)

pytestmark = pytest.mark.slow


def checks() -> Iterator[Callable[[], object]]:
    """Give every table row and example that could notice, in the order of how many there are."""
    for row in test_decide.DECISIONS:
        yield partial(test_decide.test_a_decision_falls_as_the_table_says, row)
    for row in test_payments.SHARES:
        yield partial(test_payments.test_a_share_is_applied_or_goes_back_as_the_table_says, row)
    for situation in test_decide_every_request.SITUATIONS:
        yield partial(
            test_decide_every_request.test_everybody_is_answered_as_the_domain_says, situation
        )
    for module in (test_common_mistakes, test_obligations, test_timeouts):
        yield from examples(module)
    for name in test_scenarios.NAMES:
        yield partial(test_scenarios.test_a_worked_example_comes_out_as_it_must, name)


def examples(module: ModuleType) -> Iterator[Callable[[], object]]:
    """Give the tests of a module that want nothing, and the rows of those that have a table."""
    for name, test in vars(module).items():
        if not name.startswith("test_"):
            continue
        tables = [mark.args for mark in getattr(test, "pytestmark", [])]
        if not tables:
            yield test
        for names, rows in tables:
            has_several_names = not isinstance(names, str)
            yield from (
                partial(test, *row) if has_several_names else partial(test, row) for row in rows
            )


def examples_notice() -> bool:
    """Tell whether any example fails: by an assertion, or because the code caught itself."""
    test_decide_every_request.order_in.cache_clear()
    try:
        for check in checks():
            check()
    except Exception:  # noqa: BLE001 - however a fault shows, it shows
        return True
    finally:
        test_decide_every_request.order_in.cache_clear()
    return False


def histories_notice() -> bool:
    """Tell whether a few random histories break an invariant, or differ by a wake-up."""
    few_histories = settings(LIMITS, phases=[Phase.generate], report_multiple_bugs=False)
    try:
        run_state_machine_as_test(OrderHistoryMachine, settings=few_histories)
    except Exception:  # noqa: BLE001 - as above
        return True
    return False


Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


def patch_everywhere(patch: Patch, original: object, replacement: object) -> None:
    """Replace a function of the models in every module that imports it by name."""
    for module in [module for name, module in sys.modules.items() if name.startswith("models.")]:
        for name, value in list(vars(module).items()):
            if value is original:
                patch.setattr(module, name, replacement)


def rounds_to_even(patch: Patch) -> None:
    patch.setattr(money, "half_up", lambda numerator, denominator: round(numerator / denominator))


def rounds_the_deposit_up(patch: Patch) -> None:
    patch.setattr(money, "deposit", lambda total, bps: max(1, -(-total * bps // 10_000)))


def lets_the_quote_move_anywhere(patch: Patch) -> None:
    patch.setattr(offers, "_revision_refusal", lambda *_: None)


def hears_everybody_in_the_grace(patch: Patch) -> None:
    patch.setattr(decide, "accepts_only_payments", lambda *_: False)


def ends_a_wait_at_its_deadline(patch: Patch) -> None:
    def lapses_at(order: Order) -> datetime | None:
        due_at = order.due_at
        return due_at and due_at + order.policy.grace(order.state) - MICRO

    patch.setattr(Order, "lapses_at", property(lapses_at))


def forgets_the_grace(patch: Patch) -> None:
    patch.setattr(Policy, "grace", lambda *_: timedelta(0))


def notices_at_its_leisure(patch: Patch) -> None:
    """Let deadlines take effect when they are noticed, not when they passed."""
    real_elapse = decide.elapse

    def elapse(
        order: Order, until: datetime, standing_changes: tuple[StandingChange, ...] = ()
    ) -> Decision:
        decision = real_elapse(order, until, standing_changes)
        if not decision.events:
            return decision
        late_events = tuple(replace(event, at=until) for event in decision.events)
        evolved = order
        for event in late_events:
            evolved = evolve.evolve(evolved, event)
        return Decision(evolved, late_events)

    patch_everywhere(patch, real_elapse, elapse)


def buys_time_by_revising(patch: Patch) -> None:
    def revised(order: Order, event: Event, fact: QuoteRevised) -> dict[str, Any]:
        fields = {"amount_fen": fact.amount_fen, "revisions": order.revisions + 1}
        return fields | {"due_at": event.at + order.policy.balance_window}

    patch.setitem(evolve._EFFECTS, QuoteRevised, revised)  # noqa: SLF001


def keeps_the_last_payment(patch: Patch) -> None:
    real = decision.refund_all_held
    patch_everywhere(patch, real, lambda order: real(order)[:1])


def never_gives_back(patch: Patch) -> None:
    patch_everywhere(patch, decision.refund_all_held, lambda _: ())


def forfeits_to_the_client(patch: Patch) -> None:
    def rule(order_id: str, fact: OrderForfeited) -> tuple[Posting, ...]:
        return (
            Posting(f"escrow:{order_id}", f"refunds_payable:{fact.client_id}", fact.amount_fen),
        )

    patch.setitem(ledger._POSTING_RULES, OrderForfeited, rule)  # noqa: SLF001


def forfeits_too_much(patch: Patch) -> None:
    real = endings.forfeit_deposit

    def forfeit(order: Order, reason: EndReason) -> OrderForfeited:
        fact = real(order, reason)
        return replace(fact, amount_fen=fact.amount_fen + 1)

    patch_everywhere(patch, real, forfeit)


def forgets_a_posting(patch: Patch) -> None:
    patch.delitem(ledger._POSTING_RULES, OrderForfeited)  # noqa: SLF001


def times_payments_by_their_notice(patch: Patch) -> None:
    real = order_payments.find_unapplied_reason

    def unusable(
        order: Order, amount_fen: int, _: datetime, at: datetime
    ) -> UnappliedReason | None:
        return real(order, amount_fen, at, at)

    patch_everywhere(patch, real, unusable)


def reinstates_for_ever(patch: Patch) -> None:
    late = timedelta(days=365)
    real = order_payments.reinstates_order
    patch_everywhere(
        patch,
        real,
        lambda order, fen, paid, _: real(order, fen, paid, order.entered_at) and late > MICRO,
    )


def listens_to_strangers(patch: Patch) -> None:
    patch.setattr(decide, "is_authorized", lambda *_: True)


def calls_everybody_late(patch: Patch) -> None:
    real = evolve.enter_state

    def enter(order: Order, event: Event, state: State, **fields: object) -> dict[str, Any]:
        return real(order, event, state, **fields) | {"lapsed": (*order.lapsed, order.state)}

    patch_everywhere(patch, real, enter)


def nudges_without_end(patch: Patch) -> None:
    real = decide.HANDLERS["nudge_creator"]

    def nudge(order: Order, command: object, at: datetime) -> HandlerResult:
        return real(replace(order, nudges=0, nudged_at=None), command, at)

    patch.setitem(decide.HANDLERS, "nudge_creator", nudge)


def reminds_of_the_first_missed(patch: Patch) -> None:
    """Send the first reminder that was missed, so that the others follow when they are stale."""
    real = timeouts.remind
    patch_everywhere(
        patch, real, lambda order, due, _: real(order, due, order.remaining_reminder_leads()[0])
    )


def names_two_refunds_alike(patch: Patch) -> None:
    patch.setattr(UnitOfWork, "_refund_id", lambda _, fact, __: fact.refund_id)


MUTANTS: list[Mutant] = [
    rounds_to_even,
    rounds_the_deposit_up,
    lets_the_quote_move_anywhere,
    hears_everybody_in_the_grace,
    ends_a_wait_at_its_deadline,
    forgets_the_grace,
    notices_at_its_leisure,
    buys_time_by_revising,
    keeps_the_last_payment,
    never_gives_back,
    forfeits_to_the_client,
    forfeits_too_much,
    forgets_a_posting,
    times_payments_by_their_notice,
    reinstates_for_ever,
    listens_to_strangers,
    calls_everybody_late,
    nudges_without_end,
    reminds_of_the_first_missed,
    names_two_refunds_alike,
]

# Those that break an invariant of the ledger, or make an outcome hang on the scheduler.
INVARIANT_BREAKERS: list[Mutant] = [
    notices_at_its_leisure,
    keeps_the_last_payment,
    never_gives_back,
    forfeits_to_the_client,
    forfeits_too_much,
    forgets_a_posting,
    rounds_the_deposit_up,
]


def test_unmutated_rules_pass_every_check() -> None:
    assert not examples_notice()
    assert not histories_notice()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_an_example_notices_a_mutant(mutant: Mutant, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    assert examples_notice()


@pytest.mark.parametrize("mutant", INVARIANT_BREAKERS, ids=lambda mutant: mutant.__name__)
def test_random_histories_notice_a_mutant_that_breaks_an_invariant(
    mutant: Mutant, monkeypatch: Patch
) -> None:
    mutant(monkeypatch)
    assert histories_notice()
