"""Common mistakes: what a build that has not thought about it gets wrong, one by one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.commands.parsing import MalformedCommand, parse_command
from models.fields import format_instant
from models.lifecycle import State
from models.reasons import RejectionReason, UnappliedReason
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    MICRO,
    OrderStory,
    audit,
    place,
    span,
    story_of,
    story_with_parties,
)


def paid_after(story: OrderStory, text: str) -> dict[str, object]:
    """Return how a payment made some time after the deadline says so."""
    due_at = story.order().due_at
    assert due_at is not None
    return {"paid_at": format_instant(due_at + span(text))}


def story_on_offer(amount_fen: int, deposit_fen: int) -> OrderStory:
    story = story_with_parties()
    place(story, amount_fen=amount_fen)
    assert (story.order().deposit_fen, story.order().balance_due_fen) == (deposit_fen, deposit_fen)
    story.pay("d1", {"o1": deposit_fen})
    return story


def accept_after(story: OrderStory, text: str, by: str = "creator") -> str | None:
    """Accept some time after the deadline; return the reason if refused."""
    due_at = story.order().due_at
    assert due_at is not None
    return story.ask("accept_order", by, due_at + span(text), order_id="o1").reason


def test_an_acceptance_received_a_moment_before_the_deadline_beats_a_tick_that_waits_for_it() -> (
    None
):
    story = story_of("offered")
    due_at = story.order().accept_by
    # The tick may not see past what was received and not yet handled.
    assert story.wake("o1", due_at - span("100000us"))[0].fact.type == "creator.reminded"
    assert accept_after(story, "-100000us") is None
    assert story.wake("o1", due_at + MICRO) == ()
    assert story.order().state is State.AWAITING_BALANCE


def test_an_acceptance_at_the_deadline_is_in_time() -> None:
    assert accept_after(story_of("offered"), "0s") is None


def test_an_acceptance_a_microsecond_later_is_late_and_the_deposit_goes_back_once() -> None:
    story = story_of("offered")
    assert accept_after(story, "1us") == RejectionReason.LATE
    assert [refund.amount_fen for refund in story.uow.refunds.values()] == [DEPOSIT]
    assert story.accounts() == {"psp": -DEPOSIT, "refunds_payable:c1": DEPOSIT}


def test_an_acceptance_three_hours_late_expires_the_order_there_and_then() -> None:
    story = story_of("offered")
    due_at = story.order().due_at
    assert accept_after(story, "3h") == RejectionReason.LATE
    (expired,) = story.events_of("order.expired")
    assert (expired.at, expired.caused_by) == (due_at, "deadline:offered")
    assert story.order().state is State.EXPIRED


def test_an_order_woken_three_times_expires_once() -> None:
    story = story_of("offered")
    for _ in range(3):
        story.wake("o1", story.order().accept_by + span("1s"))
    assert [len(story.events_of(kind)) for kind in ("order.expired", "refund.requested")] == [1, 1]


def test_of_the_creator_and_its_agency_in_one_millisecond_one_accepts() -> None:
    story = story_of("offered")
    assert accept_after(story, "-1h") is None
    later_at = story.now + timedelta(milliseconds=1)
    outcome = story.ask("accept_order", "mcn", later_at, order_id="o1")
    assert (outcome.reason, len(story.events_of("order.accepted"))) == (
        RejectionReason.WRONG_STATE,
        1,
    )
    assert [receipt.outcome for receipt in story.uow.receipts.values()][-2:] == [
        "applied",
        "rejected",
    ]


def test_a_former_agency_may_not_accept() -> None:
    story = story_of("offered")
    fields = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m2"}
    story.ask("register_creator", "platform", **fields)
    assert accept_after(story, "-2h", "mcn:m1") == RejectionReason.NOT_ALLOWED
    assert accept_after(story, "-1h", "mcn:m2") is None


@pytest.mark.parametrize(
    ("original", "deposit", "quote", "reason"),
    [
        (999, 105, 799, RejectionReason.OUT_OF_RANGE),
        (999, 105, 800, None),
        (999, 105, 1198, None),
        (999, 105, 1199, RejectionReason.OUT_OF_RANGE),
        (4, 1, 3, RejectionReason.OUT_OF_RANGE),
        (4, 1, 4, None),
        (4, 1, 5, RejectionReason.OUT_OF_RANGE),
    ],
)
def test_a_quote_stays_within_a_fifth_of_the_original(
    original: int, deposit: int, quote: int, reason: RejectionReason | None
) -> None:
    story = story_on_offer(original, deposit)
    outcome = story.ask("accept_order", "creator", order_id="o1", revised_amount_fen=quote)
    assert outcome.reason == reason


def test_the_swing_does_not_grow_step_by_step() -> None:
    story = story_on_offer(1000, 105)
    story.ask("accept_order", "creator", order_id="o1", revised_amount_fen=1200)
    again = story.ask("revise_quote", "creator", order_id="o1", amount_fen=1440)
    assert again.reason == RejectionReason.ALREADY_REVISED


def test_the_swing_is_measured_from_the_original_even_where_two_revisions_are_allowed() -> None:
    story = story_with_parties(
        story_with_parties().policy.model_copy(update={"quote_revisions": 2})
    )
    place(story, amount_fen=1000)
    story.pay("d1", {"o1": 105})
    story.ask("accept_order", "creator", order_id="o1", revised_amount_fen=1200)
    again = {"order_id": "o1", "amount_fen": 1440}
    assert story.ask("revise_quote", "creator", **again).reason == RejectionReason.OUT_OF_RANGE


def test_half_a_fen_of_deposit_is_rounded_up() -> None:
    assert story_on_offer(100, 11).order().total_fen == 105


def test_less_than_half_a_fen_of_deposit_is_rounded_down() -> None:
    assert story_on_offer(13, 1).order().total_fen == 14


def test_the_deposit_is_rounded_on_the_total_and_not_by_parts() -> None:
    assert story_on_offer(95, 10).order().total_fen == 100


def test_revised_and_restored_is_as_if_never_revised() -> None:
    plain, restored = story_of("awaiting_balance").order(), story_of("restored").order()
    assert restored.balance_due_fen == plain.balance_due_fen == BALANCE
    assert (restored.total_fen, restored.due_at) == (plain.total_fen, plain.due_at)


def test_the_old_balance_after_a_revision_goes_back_and_the_order_still_waits() -> None:
    story = story_of("revised")
    story.pay("p1", {"o1": BALANCE})
    assert story.unapplied_reasons() == [UnappliedReason.AMOUNT_MISMATCH]
    assert story.order().state is State.AWAITING_BALANCE
    assert story.order().balance_due_fen == 126_000 - DEPOSIT


def test_of_a_merged_payment_the_forfeited_share_alone_goes_back() -> None:
    story = story_with_parties()
    for order_id in ("o1", "o2", "o3"):
        place(story, order_id)
        story.pay(f"d_{order_id}", {order_id: DEPOSIT})
    began_at = story.now
    for order_id, hours in (("o1", 1), ("o2", 9), ("o3", 9)):
        at = began_at + timedelta(hours=hours)
        story.ask("accept_order", "creator", at, order_id=order_id)
    shares = dict.fromkeys(("o1", "o2", "o3"), BALANCE)
    assert story.pay("p1", shares, began_at + span("7d8h")).outcome == "applied"
    states = [story.order(order_id).state for order_id in shares]
    assert states == [State.FORFEITED, State.IN_FULFILMENT, State.IN_FULFILMENT]
    assert story.accounts()["refunds_payable:c1"] == BALANCE
    assert audit(story) == []


def test_money_paid_a_second_before_the_deadline_counts_five_minutes_after_it() -> None:
    story = story_of("awaiting_balance")
    paid, at = paid_after(story, "-1s"), story.order().entered_at + span("7d5m")
    story.pay("p1", {"o1": BALANCE}, at, **paid)
    assert story.order().state is State.IN_FULFILMENT


def test_money_paid_a_second_after_the_deadline_goes_back_and_the_deposit_is_lost() -> None:
    story = story_of("awaiting_balance")
    paid, at = paid_after(story, "1s"), story.order().entered_at + span("7d5m")
    story.pay("p1", {"o1": BALANCE}, at, **paid)
    assert story.unapplied_reasons() == [UnappliedReason.LATE]
    story.wake("o1", story.now + span("1h"))
    assert story.accounts() == {
        "psp": -BALANCE - DEPOSIT,
        "refunds_payable:c1": BALANCE,
        "forfeited_deposits": DEPOSIT,
    }


def test_of_two_payments_the_second_goes_back() -> None:
    story = story_of("awaiting_balance")
    for payment_id in ("p1", "p2"):
        assert story.pay(payment_id, {"o1": BALANCE}).outcome == "applied"
    assert story.unapplied_reasons() == [UnappliedReason.NOTHING_DUE]
    assert list(story.uow.refunds) == ["rf_p2_o1"]


def test_a_payment_reported_ten_times_and_again_after_eight_days_has_one_effect() -> None:
    story = story_of("awaiting_balance")
    fields = {"paid_at": format_instant(story.now)}
    outcomes = [story.pay("p1", {"o1": BALANCE}, **fields) for _ in range(10)]
    outcomes.append(story.pay("p1", {"o1": BALANCE}, story.now + span("8d"), **fields))
    assert [outcome.outcome for outcome in outcomes] == ["applied"] + ["duplicate"] * 10
    assert sum(len(outcome.events) for outcome in outcomes) == len(outcomes[0].events)
    assert story.accounts() == {"psp": -DEPOSIT - BALANCE, "escrow:o1": DEPOSIT + BALANCE}


def test_a_command_repeated_under_its_id_comes_back_with_its_first_outcome() -> None:
    story = story_of("offered")
    body: dict[str, object] = {"id": "cmd_same", "kind": "nudge_creator", "order_id": "o1"}
    body |= {"by": {"role": "client", "id": "c1"}}
    outcomes = [story.handle(body, story.now + timedelta(days=n)) for n in range(9)]
    assert [outcome.outcome for outcome in outcomes] == ["applied"] + ["duplicate"] * 8
    late_body = body | {"id": "cmd_late"}
    outcomes = [story.handle(late_body, story.now) for _ in range(2)]
    assert [(outcome.outcome, outcome.reason) for outcome in outcomes] == [
        ("rejected", "late"),
        ("duplicate", "late"),
    ]
    assert outcomes[1].events == ()
    reused_id = story.handle(body | {"kind": "restore_quote"}, story.now)
    assert (reused_id.outcome, reused_id.reason) == ("rejected", RejectionReason.ID_REUSED)
    assert story.handle(body, story.now).outcome == "duplicate"


def test_an_acceptance_for_an_order_that_never_came_is_about_nothing_known() -> None:
    story = story_with_parties()
    assert (
        story.ask("accept_order", "creator", order_id="o1").reason == RejectionReason.UNKNOWN_ORDER
    )


def test_after_acceptance_a_nudge_is_refused_and_a_queued_reminder_is_not_sent() -> None:
    story = story_of("awaiting_balance")
    at = story.now + span("12h")
    assert (
        story.ask("nudge_creator", "client", at, order_id="o1").reason
        == RejectionReason.WRONG_STATE
    )
    assert story.wake("o1", at) == ()
    assert story.events_of("creator.reminded") == []


@pytest.mark.parametrize("amount", ['"100"', "100.0", "true", "1e3", "-1", "0", str(2**53), "null"])
def test_an_amount_that_is_not_a_whole_number_of_fen_is_malformed(amount: str) -> None:
    text = (
        '{"id": "cmd_money", "kind": "revise_quote", "order_id": "o1", "by": '
        f'{{"role": "creator", "id": "k1"}}, "amount_fen": {amount}}}'
    )
    with pytest.raises(MalformedCommand, match="amount_fen") as exc_info:
        parse_command(text)
    assert exc_info.value.command_id == "cmd_money"


def test_a_text_that_would_choke_us_is_refused_and_its_neighbours_are_served() -> None:
    story = story_with_parties()
    for brief in ("x" * 1_000_000, "nul \0", "half \ud800", "[" * 100_000):
        with pytest.raises(MalformedCommand):
            place(story, brief=brief)
    with pytest.raises(MalformedCommand):
        parse_command('{"id": "cmd_deep", "brief": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert place(story).outcome == "applied"
    assert list(story.uow.orders) == ["o1"]
