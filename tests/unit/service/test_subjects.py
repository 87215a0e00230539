"""Subjects: what commands and wake-ups are about, which decides what waits for what."""

from __future__ import annotations

import json

import pytest

from models.commands import COMMAND_KINDS, AnyCommand
from models.commands.command import Dependencies
from models.commands.parsing import parse_command
from models.obligations import Payout, Refund
from models.service.dependencies import (
    add_debts,
    add_orders,
    add_parked,
    add_suspended,
    add_violations,
)
from models.service.subjects import subjects_concerned, subjects_of, wakeup_subjects
from ops.web.openapi import example
from tests.support import sample_commands
from tests.support.stories import (
    DEPOSIT,
    OrderStory,
    place,
    play_step,
    read_table,
    sender,
    story_of,
    story_with_parties,
)

# Of all that is about an order alone, one row: the rest is alike, which the next test holds.
SUBJECTS = read_table("""
    kind                changes                                      reads              observes
    accept_order        order:O                                      -                  -
    appoint_provider    order:O                                      provider:V         -
    place_order         order:O                                      client:C unpaid:C  creator:K
    confirm_payment     order:O payment:P refund:rf_P refund:rf_P_O  -                  -
    confirm_payout      order:O payout:po_O_creator                  -                  -
    fail_payout         order:O payout:po_O_creator                  -                  -
    hold_payout         order:O payout:po_O_creator                  -                  -
    release_payout      order:O payout:po_O_creator                  -                  -
    reverse_payout      order:O payout:po_O_creator                  -                  -
    void_payment        payment:P                                    -                  -
    register_mcn        mcn:M                                        -                  -
    register_client     client:C                                     -                  -
    register_provider   provider:V                                   -                  -
    register_creator    creator:K                                    mcn:M              -
    end_contract        creator:K                                    -                  -
    report_violation    creator:K violation:X                        -                  -
    overturn_violation  creator:* violation:X                        -                  -
""")
NAMES = {
    "ord_20260302_0001": "O",
    "pay_778899": "P",
    "cl_aurora": "C",
    "cr_lin": "K",
    "mcn_qingwu": "M",
    "sp_nova": "V",
    "vio_0007": "X",
}
NAMED_BY_PARTS = {"confirm_refund", "fail_refund", "resolve_suspense"}


def short(subjects: frozenset[str]) -> str:
    text = " ".join(sorted(subjects)) or "-"
    for long_name, name in NAMES.items():
        text = text.replace(long_name, name)
    return text


@pytest.mark.parametrize("kind", sorted(COMMAND_KINDS - NAMED_BY_PARTS))
def test_a_command_says_what_it_changes_reads_and_observes(kind: str) -> None:
    rows = {row["kind"]: row for row in SUBJECTS}
    row = rows.get(kind, rows["accept_order"])
    command = parse_command(json.dumps(example(kind)))
    changes, reads, observes = subjects_of(command)
    assert f"command:{command.key}" in changes
    assert short(changes - {f"command:{command.key}"}) == row["changes"]
    assert (short(reads), short(observes)) == (row["reads"], row["observes"])


def asked(kind: str, by: str, **fields: object) -> AnyCommand:
    return parse_command(json.dumps({"id": "asked_00", "kind": kind, "by": sender(by), **fields}))


def test_a_refunds_id_may_name_every_payment_and_order_that_its_parts_spell() -> None:
    changes = subjects_of(asked("confirm_refund", "payments", refund_id="rf_p_1_o_2~3")).changes
    assert {subject for subject in changes if not subject.startswith("command:")} == {
        *("payment:p", "payment:p_1", "payment:p_1_o", "payment:p_1_o_2"),
        *("order:1_o_2", "order:o_2", "order:2"),
        "refund:rf_p_1_o_2",
    }


@pytest.mark.parametrize("situation", ["declined", "completed_agency"])
def test_a_reference_is_about_all_that_its_refund_or_payout_is_about(situation: str) -> None:
    story = story_of(situation)
    debts: list[Refund | Payout] = [*story.uow.refunds.values(), *story.uow.payouts.values()]
    for debt in debts:
        kind, field = "refund", "refund_id"
        if debt.debt_id.startswith("po_"):
            kind, field = "payout", "payout_id"
        command = asked(f"confirm_{kind}", "payments", **{field: debt.reference})
        assert {"order:o1", "creator:k1"} <= subjects_concerned(story.uow, command)
        needs = Dependencies()
        command.add_dependencies(needs)
        add_debts(needs, debts)
        assert needs.orders == {"o1"}
        # Only this one's: no other debt is named by it.
        assert len(needs.refund_base_ids) + len(needs.payouts) == 1


def test_a_command_without_a_reference_leads_to_no_debt() -> None:
    story, needs = story_of("declined"), Dependencies()
    add_debts(needs, story.uow.refunds.values())
    assert needs == Dependencies()


def test_an_order_leads_to_its_creator_and_the_refunds_of_what_it_holds_or_held() -> None:
    for situation, shares in (("offered_paid", 2), ("awaiting_deposit", 0), ("forfeited_late", 1)):
        order, needs = story_of(situation).order(), Dependencies()
        add_orders(needs, [order])
        holdings = (*order.held, *order.forfeited)
        assert needs.creators == {"k1"}
        assert needs.refund_base_ids == {f"rf_{holding.payment_id}_o1" for holding in holdings}
        assert len(needs.refund_base_ids) == shares


def test_a_violation_leads_to_its_creator() -> None:
    story, needs = story_of("cancelled_banned"), Dependencies()
    reports = list(story.uow.violations.values())
    add_violations(needs, reports)
    assert needs.creators_changing == {"k1"}
    violation = {"violation_id": reports[0].violation_id, "reason": "mistaken"}
    overturning = asked("overturn_violation", "operator", **violation)
    assert subjects_concerned(story.uow, overturning) == {"creator:k1"}


def story_of_shares() -> OrderStory:
    """Pay p1 for two orders that nobody knows, and p2 for another."""
    story = story_with_parties()
    story.pay("p1", {"o7": DEPOSIT, "o8": DEPOSIT})
    story.pay("p2", {"o9": DEPOSIT})
    return story


def test_a_placement_is_about_the_payments_that_wait_for_its_order_and_their_other_orders() -> None:
    story = story_of_shares()
    placement = parse_command(json.dumps(sample_commands.place("o7")))
    assert subjects_concerned(story.uow, placement) == {"payment:p1", "order:o7", "order:o8"}
    other_placement = parse_command(json.dumps(sample_commands.place("o1")))
    assert subjects_concerned(story.uow, other_placement) == frozenset()


def test_a_share_that_waits_no_longer_concerns_nobody() -> None:
    story = story_of_shares()
    for order_id in ("o7", "o8"):
        fields = {"payment_id": "p1", "order_id": order_id, "to": "refund", "reason": "typo"}
        assert story.ask("resolve_suspense", "operator", **fields).reason is None
    placement = parse_command(json.dumps(sample_commands.place("o7")))
    assert subjects_concerned(story.uow, placement) == frozenset()


def test_shares_in_suspense_lead_to_their_payments_and_their_refunds() -> None:
    needs = Dependencies()
    add_suspended(needs, story_of_shares().uow.suspended.values())
    assert needs.payments == {"p1", "p2"}
    assert needs.refund_base_ids == {"rf_p1_o7", "rf_p1_o8", "rf_p2_o9"}


def test_a_void_is_about_every_order_that_the_payment_goes_back_from() -> None:
    story = story_of("declined")
    place(story, "o2", "client", creator_id="k2")
    story.pay("p9", {"o1": 5, "o2": 6})
    voiding = asked("void_payment", "operator", payment_id="p9", reason="yuan for fen")
    assert subjects_concerned(story.uow, voiding) == {
        *("order:o1", "order:o2", "creator:k1", "creator:k2", "payment:p9"),
    }


def test_a_parked_command_and_its_placement_are_about_the_same() -> None:
    story = story_with_parties()
    provider = {"order_id": "o1", "provider_id": "v1"}
    waiting = {"id": "waiting1", "kind": "appoint_provider", "by": sender("client"), **provider}
    assert story.submit(waiting, story.now) == []
    (parked,) = story.uow.parked.values()
    placement = parse_command(json.dumps(sample_commands.place("o1")))
    assert {"provider:v1", "order:o1"} <= subjects_concerned(story.uow, placement)
    # A repeat under its id may name another order.
    repeat = asked("accept_order", "client", order_id="o2").model_copy(update={"id": "waiting1"})
    assert "order:o1" in subjects_concerned(story.uow, repeat)
    stranger = asked("accept_order", "client", order_id="o2")
    assert subjects_concerned(story.uow, stranger) == frozenset()
    needs = Dependencies()
    add_parked(needs, [parked])
    assert (needs.orders, needs.providers) == ({"o1"}, {"v1"})


def test_a_wake_up_is_about_what_commands_about_the_same_are_about() -> None:
    story = story_of("completed_agency")
    story.pay("p9", {"o9": DEPOSIT})
    waiting = {"id": "waiting1", "kind": "accept_order", "by": sender("creator")}
    story.submit({**waiting, "order_id": "o5"}, story.now)
    (parked_key,) = story.uow.parked
    subjects = {
        "o1": ("order:o1", "creator:k1"),
        "order:o1": ("order:o1", "creator:k1"),
        "order:o6": ("order:o6",),
        "payout:po_o1_mcn": ("payout:po_o1_mcn", "order:o1"),
        "payout:po_o6_mcn": ("payout:po_o6_mcn",),
        "refund:rf_p_o6~2": ("refund:rf_p_o6",),
        "suspense:p9:o9": ("order:o9", "payment:p9"),
        "suspense:p9:o6": (),
        f"parked:{parked_key}": ("order:o5", "command:creator:k1:waiting1"),
        "parked:666": (),
        "creator:k1": ("creator:k1",),
        "calendar:cn": ("calendar:cn",),
    }
    assert {subject: wakeup_subjects(story.uow, subject) for subject in subjects} == subjects


def test_the_wake_up_of_a_refund_is_about_its_order_or_its_payment() -> None:
    story = story_of("declined")
    (refund_id,) = story.uow.refunds
    subject = f"refund:{refund_id}"
    assert wakeup_subjects(story.uow, subject) == (subject, "order:o1")
    story = story_of("awaiting_deposit")
    story.pay("p1", {"o1": DEPOSIT}, amount_fen=1)
    assert wakeup_subjects(story.uow, "refund:rf_p1") == ("refund:rf_p1", "payment:p1")


def test_a_placement_at_the_limit_is_about_all_unpaid_orders_of_the_client() -> None:
    story = story_of("awaiting_deposit")
    place(story, "o2", "client:c2", creator_id="k2")
    play_step(story, "nudge")
    placement = parse_command(json.dumps(sample_commands.place("o7")))
    assert subjects_concerned(story.uow, placement) == frozenset()
    story.uow.policy = story.uow.policy.model_copy(update={"unpaid_orders_limit": 1})
    assert subjects_concerned(story.uow, placement) == {"order:o1", "creator:k1"}
