"""Arrival order: commands about the same are judged in the order of their stamps.

Whoever else has an earlier one, and whatever it will say: of two about the same subject the one
received first is judged first, and whoever shares no subject with them waits for neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from models.errors import BrokenInvariant
from models.fields import format_instant
from models.ids import make_reference, make_reference_stem
from models.policy import Policy
from tests.support import sample_commands
from tests.support.sample_commands import SampleCommand, accept, command, pay, place
from tests.support.store_harness import StoreHarness, recorded_commits
from tests.support.stories import BALANCE, DEPOSIT, MICRO, START, span, story_with_parties
from workers.database.engine import open_database, reading, writing
from workers.processing import failures
from workers.queries import audit
from workers.queue.messages import Received

FIRST, SECOND, THIRD, FOURTH = (START + timedelta(milliseconds=n) for n in range(1, 5))
"""Instants of receipt, one after the other; the harness begins at the start."""


@pytest.fixture
def order_harness(harness: StoreHarness) -> StoreHarness:
    """Give a harness with two orders that wait for their deposits, and who may be concerned."""
    harness.admit()
    harness.settle_alone(place("o1"), START)
    harness.settle_alone(place("o2", creator_id="k2"), START)
    harness.clock.present = START + span("10s")
    return harness


def make_offers(harness: StoreHarness) -> StoreHarness:
    """Put an order of each of two creators on offer, and warn the first of them."""
    harness.admit()
    harness.settle_alone(place("o1"), START)
    harness.settle_alone(place("o2", creator_id="k2"), START)
    harness.settle_alone(pay("deposits", {"o1": DEPOSIT, "o2": DEPOSIT}), START)
    harness.settle_alone(sample_commands.report_violation("x1"), START)
    harness.clock.present = START + span("10s")
    return harness


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a harness with two orders on offer, of a creator who was warned and one who was not."""
    return make_offers(harness)


@pytest.fixture
def sqlite_offered(sqlite_engine: Engine) -> StoreHarness:
    """Give the same on SQLite: what a command is about the rules say, whatever keeps it."""
    return make_offers(StoreHarness(engine=sqlite_engine))


@pytest.fixture
def postgresql_offered(migrated_postgresql_url: str) -> Iterator[StoreHarness]:
    """Give the same on PostgreSQL, where rows can be locked."""
    engine = open_database(migrated_postgresql_url)
    yield make_offers(StoreHarness(engine=engine))
    engine.dispose()


def overturn(violation_id: str) -> SampleCommand:
    return command("overturn_violation", "operator", violation_id=violation_id, reason="an error")


def register(kind: str, party_id: str, **fields: object) -> SampleCommand:
    named = {f"{kind}_id": party_id, "name": party_id}
    return command(f"register_{kind}", "platform", **named, **fields)


def under(command_id: str, sample: SampleCommand) -> SampleCommand:
    return sample | {"id": command_id}


def reasons(harness: StoreHarness, *submissions: Received) -> list[str | None]:
    """Return what became of commands: why they were refused, or None."""
    return [harness.outcome_of(submission)[1] for submission in submissions]


# --- One order for every subject


def test_an_acceptance_waits_for_the_deposit_that_another_worker_has(
    order_harness: StoreHarness,
) -> None:
    deposit = order_harness.elsewhere(pay("p1", {"o1": DEPOSIT}), FIRST)
    acceptance = order_harness.receive(accept(), SECOND)
    before = [order_harness.rows(name) for name in ("receipts", "orders", "events")]
    assert order_harness.settle(acceptance) == [acceptance]
    assert [order_harness.rows(name) for name in ("receipts", "orders", "events")] == before
    order_harness.settle_elsewhere(deposit)
    assert order_harness.settle(acceptance) == []
    assert reasons(order_harness, deposit, acceptance) == [None, None]


def test_a_refusal_stands_once_every_earlier_command_is_settled(
    order_harness: StoreHarness,
) -> None:
    nudge = order_harness.elsewhere(command("nudge_creator", "client", "o1"), FIRST)
    acceptance = order_harness.receive(accept(), SECOND)
    assert order_harness.settle(acceptance) == [acceptance]
    order_harness.settle_elsewhere(nudge)
    assert order_harness.settle(acceptance) == []
    assert reasons(order_harness, nudge, acceptance) == ["wrong_state", "wrong_state"]


def test_a_command_that_could_be_applied_waits_like_any_other(order_harness: StoreHarness) -> None:
    cancellation = order_harness.elsewhere(command("cancel_order", "client", "o1"), FIRST)
    deposit = order_harness.receive(pay("p1", {"o1": DEPOSIT}), SECOND)
    assert order_harness.settle(deposit) == [deposit]
    assert order_harness.rows("payments") == []
    order_harness.settle_elsewhere(cancellation)
    assert order_harness.settle(deposit) == []
    assert order_harness.published("payment.unapplied")[0]["reason"] == "order_closed"


def test_nobody_waits_for_what_was_received_later(order_harness: StoreHarness) -> None:
    order_harness.elsewhere(pay("p1", {"o1": DEPOSIT}), SECOND)
    acceptance = order_harness.receive(accept(), FIRST)
    assert order_harness.settle(acceptance) == []
    assert reasons(order_harness, acceptance) == ["wrong_state"]


def test_of_two_received_at_the_same_instant_the_number_of_receipt_decides(
    order_harness: StoreHarness,
) -> None:
    deposit = order_harness.receive(pay("p1", {"o1": DEPOSIT}), FIRST)
    acceptance = order_harness.receive(accept(), FIRST)
    assert (acceptance.at, acceptance.stamp) == (deposit.at, deposit.stamp + 1)
    assert order_harness.settle(acceptance, deposit) == []
    assert reasons(order_harness, deposit, acceptance) == [None, None]


def test_a_batch_is_judged_by_stamps_however_it_was_put_together(
    order_harness: StoreHarness,
) -> None:
    deposit = order_harness.receive(pay("p1", {"o1": DEPOSIT}), FIRST)
    acceptance = order_harness.receive(accept(), SECOND)
    balance = order_harness.receive(pay("p2", {"o1": BALANCE}), THIRD)
    assert order_harness.settle(balance, acceptance, deposit) == []
    assert reasons(order_harness, deposit, acceptance, balance) == [None, None, None]
    held_fen = {row.order_id: row.held_fen for row in order_harness.rows("orders")}
    assert held_fen == {"o1": DEPOSIT + BALANCE, "o2": 0}


def cancel(order_id: str) -> SampleCommand:
    return command("cancel_order", "client", order_id)


K2_LEAVES = {"creator_id": "k2", "reason": "moves on"}


def reference_of(debt_id: str, home: str = "order:o7") -> str:
    """Return what a refund or payout is sent under at its first attempt."""
    return make_reference(make_reference_stem(debt_id, home), 1)


SAME_SUBJECT: dict[str, tuple[SampleCommand, SampleCommand]] = {
    "an order": (cancel("o1"), accept("o1")),
    "an order, by an operator": (
        command("pause_clock", "operator", "o1", reason="ill"),
        accept("o1"),
    ),
    "an order, and money for it": (cancel("o1"), pay("q", {"o1": 1})),
    "money for an order": (pay("q", {"o1": 1}), cancel("o1")),
    "a merged payment, and one of its orders": (pay("q", {"o1": 1, "o2": 1}), cancel("o2")),
    "an order, and a merged payment": (cancel("o2"), pay("q", {"o1": 1, "o2": 1})),
    "a payment": (pay("q", {"o1": 1}), pay("q", {"o2": 1})),
    "an order that is placed": (place("o9"), cancel("o9")),
    "an order id": (place("o9"), place("o9", "client:c2")),
    "a refund": (
        command("confirm_refund", "payments", refund_id="rf_q_o1"),
        command("confirm_refund", "payments", refund_id="rf_q_o1~2"),
    ),
    "an order, and a refund of it": (
        cancel("o1"),
        command("confirm_refund", "payments", refund_id="rf_deposits_o1"),
    ),
    "a payment, and its refund": (
        pay("q", {"o1": 1}) | {"amount_fen": 2},
        command("confirm_refund", "payments", refund_id="rf_q"),
    ),
    "an order, and a reference of its refund": (
        cancel("o1"),
        command("confirm_refund", "payments", refund_id=reference_of("rf_deposits_o1", "order:o1")),
    ),
    "a reference of a refund, and its order": (
        command("confirm_refund", "payments", refund_id=reference_of("rf_deposits_o1", "order:o1")),
        cancel("o1"),
    ),
    "a reference, and the id that it stands for": (
        command("fail_payout", "payments", payout_id=reference_of("po_o7_creator"), reason="x"),
        command("confirm_payout", "payments", payout_id="po_o7_creator"),
    ),
    "an id, and a reference that stands for it": (
        command("hold_payout", "operator", payout_id="po_o7_creator", reason="x"),
        command("confirm_payout", "payments", payout_id=reference_of("po_o7_creator")),
    ),
    "a payment, and a reference of its refund": (
        pay("q", {"o1": 1}) | {"amount_fen": 2},
        command("confirm_refund", "payments", refund_id=reference_of("rf_q", "payment:q")),
    ),
    "a payout": (
        command("confirm_payout", "payments", payout_id="po_o7_creator"),
        command("confirm_payout", "payments", payout_id="po_o7_creator"),
    ),
    "a violation": (sample_commands.report_violation("x7", "k2"), overturn("x7")),
    "a violation's id": (
        sample_commands.report_violation("x7", "k1"),
        sample_commands.report_violation("x7", "k2"),
    ),
    "a creator": (
        sample_commands.report_violation("x7", "k2"),
        command("end_contract", "creator:k2", **K2_LEAVES),
    ),
    "a creator, and an order for it": (
        command("end_contract", "creator:k2", **K2_LEAVES),
        place("o9", creator_id="k2"),
    ),
    "a creator, and an order that it has": (
        command("end_contract", "creator:k2", **K2_LEAVES),
        accept("o2", "creator:k2"),
    ),
    "a creator, and money for an order that it has": (
        command("end_contract", "creator:k2", **K2_LEAVES),
        pay("q", {"o2": 1}),
    ),
    "an overturn, and an order of whomever it acquits": (overturn("x1"), accept("o1")),
    "an overturn, and another violation": (
        overturn("x1"),
        sample_commands.report_violation("x7", "k1"),
    ),
    "a violation, and an overturn that acquits of another": (
        sample_commands.report_violation("x7", "k1"),
        overturn("x1"),
    ),
    "an agency that is registered, and a creator in it": (
        register("mcn", "m7"),
        register("creator", "k7", contract="mcn", mcn_id="m7"),
    ),
    "a creator in an agency, and the agency": (
        register("creator", "k7", contract="mcn", mcn_id="m7"),
        register("mcn", "m7"),
    ),
    "a client, and its order": (register("client", "c1"), place("o9")),
    "an order, and its client": (place("o9"), register("client", "c1")),
    "a provider, and who appoints it": (
        register("provider", "s7"),
        command("appoint_provider", "client", "o1", provider_id="s7"),
    ),
    "a sender's command id": (under("twice_0001", cancel("o1")), under("twice_0001", cancel("o2"))),
}
"""What is received first, and what is about the same: it has to wait."""


OTHER_SUBJECTS: dict[str, tuple[SampleCommand, SampleCommand]] = {
    "another order": (cancel("o2"), accept("o1")),
    "another order of the same creator": (
        place("o9"),
        accept("o1"),
    ),
    "another order of the same client": (place("o9"), place("o8")),
    "money for another order": (pay("q", {"o2": 1}), cancel("o1")),
    "a reference of another order's payout": (
        command("fail_payout", "payments", payout_id=reference_of("po_o7_creator"), reason="x"),
        cancel("o1"),
    ),
    "another creator's violation": (sample_commands.report_violation("x7", "k2"), accept("o1")),
    "another creator's violation, and a ban": (
        sample_commands.report_violation("x7", "k2"),
        sample_commands.report_violation("x8", "k1"),
    ),
    "another creator's violation, and an overturn": (
        sample_commands.report_violation("x7", "k2"),
        overturn("x1"),
    ),
    "a command about an order, and a change of its creator": (
        accept("o2", "creator:k2"),
        command("end_contract", "creator:k2", **K2_LEAVES),
    ),
    "a placement, and a change of its creator": (
        place("o9", creator_id="k2"),
        sample_commands.report_violation("x7", "k2"),
    ),
    "an agency's registration": (register("mcn", "m7"), accept("o1")),
    "another client": (register("client", "c2"), place("o9")),
    "two creators of one agency": (
        register("creator", "k7", contract="mcn", mcn_id="m1"),
        register("creator", "k8", contract="mcn", mcn_id="m1"),
    ),
    "another sender's command id": (
        under("twice_0001", cancel("o1")),
        under("twice_0001", accept("o2", "creator:k2")),
    ),
    "no command at all": ({"id": "malformed_1", "order_id": "o1"}, accept("o1")),
}
"""What is received first, and what has nothing to do with it: nobody waits."""


@pytest.mark.parametrize("subject", SAME_SUBJECT)
def test_a_command_waits_for_an_earlier_one_about_the_same(
    sqlite_offered: StoreHarness, subject: str
) -> None:
    earlier_text, later_text = SAME_SUBJECT[subject]
    earlier = sqlite_offered.elsewhere(earlier_text, FIRST)
    later = sqlite_offered.receive(later_text, SECOND)
    (held,) = sqlite_offered.processor.settle([later])
    assert held.received == later
    assert held.blocker is not None
    assert (held.blocker.message_id, held.blocker.stamp) == (earlier.message_id, earlier.stamp)
    sqlite_offered.settle_elsewhere(earlier)
    assert sqlite_offered.settle(later) == []


@pytest.mark.parametrize("subject", OTHER_SUBJECTS)
def test_a_command_does_not_wait_for_an_earlier_one_about_something_else(
    sqlite_offered: StoreHarness, subject: str
) -> None:
    earlier_text, later_text = OTHER_SUBJECTS[subject]
    earlier = sqlite_offered.elsewhere(earlier_text, FIRST)
    assert sqlite_offered.settle(sqlite_offered.receive(later_text, SECOND)) == []
    sqlite_offered.settle_elsewhere(earlier)
    assert sqlite_offered.reader.audit().findings == []


def test_money_in_suspense_and_the_placement_that_it_waits_for_share_a_subject(
    order_harness: StoreHarness,
) -> None:
    order_harness.settle_alone(pay("p9", {"o9": DEPOSIT}), START)
    resolve = command(
        "resolve_suspense", "operator", payment_id="p9", order_id="o9", to="refund", reason="asked"
    )
    resolution = order_harness.elsewhere(resolve, SECOND)
    placement = order_harness.receive(place("o9"), THIRD)
    assert order_harness.settle(placement) == [placement]
    order_harness.settle_elsewhere(resolution)
    assert order_harness.settle(placement) == []
    assert reasons(order_harness, resolution, placement) == [None, None]
    assert {row.order_id: row.state for row in order_harness.rows("orders")}[
        "o9"
    ] == "awaiting_deposit"


def test_a_resolution_waits_for_the_placement_that_takes_the_money(
    order_harness: StoreHarness,
) -> None:
    order_harness.settle_alone(pay("p9", {"o9": DEPOSIT}), START)
    placement = order_harness.elsewhere(place("o9"), FIRST)
    resolve = command(
        "resolve_suspense", "operator", payment_id="p9", order_id="o9", to="refund", reason="asked"
    )
    resolution = order_harness.receive(resolve, SECOND)
    assert order_harness.settle(resolution) == [resolution]
    order_harness.settle_elsewhere(placement)
    assert order_harness.settle(resolution) == []
    assert reasons(order_harness, placement, resolution) == [None, "unknown_suspense"]
    assert {row.order_id: row.state for row in order_harness.rows("orders")}["o9"] == "offered"


# --- What is held back


def test_what_is_held_back_holds_back_what_is_later_and_about_the_same(
    order_harness: StoreHarness,
) -> None:
    deposit = order_harness.elsewhere(pay("p1", {"o1": DEPOSIT}), FIRST)
    acceptance = order_harness.receive(accept(), SECOND)
    cancellation = order_harness.receive(cancel("o1"), THIRD)
    other_deposit = order_harness.receive(pay("p2", {"o2": DEPOSIT}), THIRD)
    assert order_harness.settle(cancellation, other_deposit, acceptance) == [
        acceptance,
        cancellation,
    ]
    order_harness.settle_elsewhere(deposit)
    assert order_harness.settle(cancellation, acceptance) == []
    assert reasons(order_harness, acceptance, cancellation) == [None, "would_forfeit"]


def test_a_merged_payment_that_waits_for_one_order_holds_back_both(
    order_harness: StoreHarness,
) -> None:
    cancellation = order_harness.elsewhere(cancel("o1"), FIRST)
    merged = order_harness.receive(pay("p1", {"o1": DEPOSIT, "o2": DEPOSIT}), SECOND)
    acceptance = order_harness.receive(accept("o2", "creator:k2"), THIRD)
    assert order_harness.settle(merged, acceptance) == [merged, acceptance]
    order_harness.settle_elsewhere(cancellation)
    assert order_harness.settle(merged, acceptance) == []
    assert reasons(order_harness, cancellation, merged, acceptance) == [None, None, None]


def test_a_chain_of_commands_waits_though_its_ends_share_no_subject(
    order_harness: StoreHarness,
) -> None:
    order_harness.settle_alone(place("o3"), START)
    cancellation = order_harness.elsewhere(cancel("o1"), FIRST)
    first_merged = order_harness.receive(pay("p1", {"o1": DEPOSIT, "o2": DEPOSIT}), SECOND)
    second_merged = order_harness.receive(pay("p2", {"o2": 1, "o3": DEPOSIT}), THIRD)
    acceptance = order_harness.receive(accept("o3"), FOURTH)
    chain = [first_merged, second_merged, acceptance]
    assert order_harness.settle(*chain) == chain
    order_harness.settle_elsewhere(cancellation)
    assert order_harness.settle(*chain) == []
    assert reasons(order_harness, *chain) == [None, None, None]


def test_a_deferred_command_does_not_defer_its_neighbours_and_is_settled_without_them(
    order_harness: StoreHarness,
) -> None:
    deposit = order_harness.elsewhere(pay("p1", {"o1": DEPOSIT}), FIRST)
    acceptance = order_harness.receive(accept(), SECOND, message_id="shared")
    placement = order_harness.receive(place("o5"), THIRD, message_id="shared")
    acknowledged: list[Received] = []
    held = order_harness.processor.settle(
        [acceptance, placement], {"shared": b""}, acknowledged.extend
    )
    assert [item.received for item in held] == [acceptance]
    assert acknowledged == [placement]
    order_harness.settle_elsewhere(deposit)
    assert order_harness.processor.settle([acceptance], {"shared": b""}, acknowledged.extend) == []
    assert acknowledged == [placement, acceptance]
    ids = [event["command_id"] for event in order_harness.published("command.settled")]
    assert len(ids) == len(set(ids)), "the neighbour was settled again"


def test_more_commands_than_one_commit_holds_wait_across_commits(
    order_harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.processing.processor.MAX_COMMIT", 2)
    deposit = order_harness.elsewhere(pay("p1", {"o1": DEPOSIT}), FIRST)
    submissions = [
        order_harness.receive(text, SECOND)
        for text in (accept(), place("o5"), place("o6"), place("o7"), cancel("o1"))
    ]
    assert order_harness.settle(*submissions) == [submissions[0], submissions[-1]]
    order_harness.settle_elsewhere(deposit)
    assert order_harness.settle(submissions[-1], submissions[0]) == []
    assert reasons(order_harness, *submissions) == [None, None, None, None, "would_forfeit"]


def test_commands_behind_a_dead_letter_do_not_wait_for_it(order_harness: StoreHarness) -> None:
    with writing(order_harness.engine) as connection:
        connection.execute(text("UPDATE orders SET document = '{}' WHERE order_id = 'o1'"))
    bad = order_harness.receive(pay("p1", {"o1": DEPOSIT, "o2": DEPOSIT}), FIRST)
    cancellation = order_harness.receive(cancel("o2"), SECOND)
    assert order_harness.settle(bad, cancellation) == []
    assert [row.stamp for row in order_harness.rows("dead_letters")] == [bad.stamp]
    assert reasons(order_harness, cancellation) == [None]


def test_a_command_judged_after_a_later_one_says_so_and_the_audit_names_it(
    offered: StoreHarness,
) -> None:
    acceptance = offered.receive(accept("o1"), SECOND)
    assert offered.settle(acceptance) == []
    # As if its message had been lost from sight for a while: nothing announces it.
    cancellation = offered.receive(cancel("o1"), FIRST)
    assert offered.settle(cancellation) == []
    assert judged_after(offered) == {cancellation.stamp: format_instant(SECOND)}
    (finding,) = offered.reader.audit().findings
    assert (finding.law, finding.where) == ("judged_in_order", "order:o1")
    other_submissions = offered.receive(cancel("o2"), FIRST)
    assert offered.settle(other_submissions) == []
    assert other_submissions.stamp not in judged_after(offered), "nothing later was about its order"


def test_a_report_judged_after_a_later_one_says_so(offered: StoreHarness) -> None:
    assert offered.settle(offered.receive(sample_commands.report_violation("x3"), SECOND)) == []
    report = offered.receive(sample_commands.report_violation("x2"), FIRST)
    assert offered.settle(report) == []
    assert judged_after(offered) == {report.stamp: format_instant(SECOND)}


def test_a_replayed_dead_letter_says_what_was_judged_before_it_and_is_no_finding(
    order_harness: StoreHarness,
) -> None:
    letter = order_harness.receive(cancel("o1"), FIRST)
    failures.add_dead_letter(order_harness.engine, letter, BrokenInvariant("as it was then"))
    assert order_harness.settle(order_harness.receive(pay("p1", {"o1": DEPOSIT}), SECOND)) == []
    assert order_harness.settle(letter) == []
    assert judged_after(order_harness) == {letter.stamp: format_instant(SECOND)}
    assert order_harness.reader.audit().findings == []


def judged_after(harness: StoreHarness) -> dict[int, str]:
    """Say of each outcome that came after a later one when that was received."""
    outcomes = harness.published("command.settled")
    return {event["sequence"]: event["judged_after"] for event in outcomes if event["judged_after"]}


# --- A creator with all its orders


def test_a_ban_in_flight_holds_back_that_creators_orders_and_nobody_elses(
    offered: StoreHarness,
) -> None:
    ban = offered.elsewhere(sample_commands.report_violation("x2"), FIRST)
    acceptance = offered.receive(accept("o1"), SECOND)
    placement = offered.receive(place("o5"), SECOND)
    other_submissions = [
        offered.receive(accept("o2", "creator:k2"), SECOND),
        offered.receive(place("o6", creator_id="k2"), SECOND),
        offered.receive(register("mcn", "m7"), SECOND),
    ]
    assert offered.settle(acceptance, placement, *other_submissions) == [acceptance, placement]
    assert reasons(offered, *other_submissions) == [None, None, None]
    offered.settle_elsewhere(ban)
    assert offered.settle(acceptance, placement) == []
    assert reasons(offered, acceptance, placement) == ["wrong_state", "creator_banned"]


def test_a_ban_does_not_wait_for_commands_of_its_creators_orders(offered: StoreHarness) -> None:
    acceptance = offered.elsewhere(accept("o1"), FIRST)
    placement = offered.elsewhere(place("o5"), FIRST)
    ban = offered.receive(sample_commands.report_violation("x2"), SECOND)
    assert offered.settle(ban) == []
    offered.settle_elsewhere(acceptance)
    offered.settle_elsewhere(placement)
    assert reasons(offered, acceptance, placement, ban) == [None, None, None]
    offered.spread(FOURTH)
    orders = {order.order_id: order for order in offered.reader.orders()}
    # The first was accepted in time, and its clock stands still; the other was never paid.
    assert orders["o1"].state == "awaiting_balance"
    assert "ban" in orders["o1"].stoppers
    assert offered.reader.timeline("o5")[-1].at == SECOND
    assert orders["o5"].state == "cancelled"
    assert offered.reader.audit().findings == []


def test_changes_of_a_creator_are_judged_in_their_order(offered: StoreHarness) -> None:
    acquittal = offered.elsewhere(overturn("x1"), FIRST)
    report = offered.receive(sample_commands.report_violation("x2"), SECOND)
    acceptance = offered.receive(accept("o1"), THIRD)
    assert offered.settle(report, acceptance) == [report, acceptance]
    offered.settle_elsewhere(acquittal)
    assert offered.settle(report, acceptance) == []
    # Acquitted of the first, it is only warned of the second.
    assert offered.published("creator.banned") == []
    assert reasons(offered, report, acceptance) == [None, None]


def test_an_overturn_waits_for_the_report_that_it_undoes(offered: StoreHarness) -> None:
    report = offered.elsewhere(sample_commands.report_violation("x2"), FIRST)
    acquittal = offered.receive(overturn("x2"), SECOND)
    acceptance = offered.receive(accept("o1"), THIRD)
    assert offered.settle(acquittal, acceptance) == [acquittal, acceptance]
    offered.settle_elsewhere(report)
    assert offered.settle(acquittal, acceptance) == []
    assert reasons(offered, report, acquittal, acceptance) == [None, None, "wrong_state"]


# --- Somebody else's locks


@contextmanager
def locked(harness: StoreHarness, query: str) -> Iterator[None]:
    """Lock rows, as somebody who is about to change them."""
    with writing(harness.engine) as connection:
        assert connection.execute(text(query)).first() is not None
        yield


@pytest.mark.postgres
def test_a_row_that_somebody_else_has_locked_holds_back_only_what_is_about_it(
    postgresql_offered: StoreHarness,
) -> None:
    harness = postgresql_offered
    acceptance, cancellation = harness.receive(accept("o1")), harness.receive(cancel("o1"))
    other = harness.receive(accept("o2", "creator:k2"))
    with locked(harness, "SELECT 1 FROM orders WHERE order_id = 'o1' FOR UPDATE"):
        held = harness.processor.settle([acceptance, cancellation, other])
        assert [(item.received, item.blocker) for item in held][:1] == [(acceptance, None)]
        assert [item.received for item in held] == [acceptance, cancellation]
    assert harness.settle(acceptance, cancellation) == []
    assert reasons(harness, acceptance, cancellation, other) == [None, "would_forfeit", None]


LOCKS: dict[str, tuple[str, SampleCommand]] = {
    "a creator": ("SELECT 1 FROM creators WHERE creator_id = 'k1' FOR UPDATE", place("o5")),
    "a creator that changes": (
        "SELECT 1 FROM creators WHERE creator_id = 'k1' FOR SHARE",
        sample_commands.report_violation("x2"),
    ),
    "a payment": (
        "SELECT 1 FROM payments WHERE payment_id = 'deposits' FOR UPDATE",
        pay("deposits", {"o9": 1}),
    ),
    "a violation": (
        "SELECT 1 FROM violations WHERE violation_id = 'x1' FOR UPDATE",
        overturn("x1"),
    ),
    "money in suspense": (
        "SELECT 1 FROM suspended WHERE order_id = 'o9' FOR UPDATE",
        place("o9"),
    ),
    "a parked command": ("SELECT 1 FROM parked WHERE order_id = 'o9' FOR UPDATE", place("o9")),
    "a parked command's repeat": (
        "SELECT 1 FROM parked WHERE order_id = 'o9' FOR UPDATE",
        under("parked_0001", cancel("o9")),
    ),
}


@pytest.mark.postgres
@pytest.mark.parametrize("name", LOCKS)
def test_what_a_command_needs_and_somebody_else_has_locked_is_not_taken_for_absent(
    postgresql_offered: StoreHarness, name: str
) -> None:
    harness, (lock, later_text) = postgresql_offered, LOCKS[name]
    harness.settle_alone(pay("p9", {"o9": DEPOSIT}), START)
    assert harness.settle(harness.receive(under("parked_0001", cancel("o9")), START)) == []
    submission = harness.receive(later_text, FIRST)
    with locked(harness, lock):
        (held,) = harness.processor.settle([submission])
        assert (held.received, held.blocker) == (submission, None)
    assert harness.settle(submission) == []
    assert harness.reader.audit().findings == []


CONTENTION = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
END $$;
CREATE TRIGGER contention BEFORE UPDATE ON orders FOR EACH ROW
    WHEN (OLD.order_id = 'o1') EXECUTE FUNCTION lose();
"""


@pytest.mark.postgres
def test_a_command_that_others_always_come_before_waits_by_itself_and_never_dies(
    postgresql_offered: StoreHarness,
) -> None:
    harness = postgresql_offered
    with writing(harness.engine) as connection:
        connection.execute(text(CONTENTION))
    acceptance, cancellation = harness.receive(accept("o1")), harness.receive(cancel("o1"))
    other_submissions = [harness.receive(accept("o2", "creator:k2"))]
    assert harness.settle(acceptance, cancellation, *other_submissions) == [
        acceptance,
        cancellation,
    ]
    for number in range(10):
        other_submissions += [harness.receive(place(f"n{number}{letter}")) for letter in "abc"]
        with recorded_commits(harness.engine) as commits:
            waiting = harness.settle(acceptance, cancellation, *other_submissions[-3:])
        assert waiting == [acceptance, cancellation]
        assert len(commits) == 1, "the others are settled together, as if nothing were"
    assert reasons(harness, *other_submissions) == [None] * len(other_submissions)
    assert harness.rows("dead_letters") == []
    with writing(harness.engine) as connection:
        connection.execute(text("DROP TRIGGER contention ON orders"))
    assert harness.settle(acceptance, cancellation) == []
    assert reasons(harness, acceptance, cancellation) == [None, "would_forfeit"]


@pytest.mark.postgres
def test_ten_rows_that_somebody_else_has_locked_hold_back_only_what_is_about_them(
    postgresql_offered: StoreHarness,
) -> None:
    harness, names = postgresql_offered, [f"n{number}" for number in range(20)]
    assert harness.settle(*(harness.receive(place(name), START) for name in names)) == []
    cancellations = [harness.receive(cancel(name)) for name in names]
    other_submissions = [harness.receive(place(f"m{number}")) for number in range(20)]
    query = "SELECT 1 FROM orders WHERE order_id IN ({}) FOR UPDATE"
    locked_names = ", ".join(f"'{name}'" for name in names[:10])
    with locked(harness, query.format(locked_names)):
        assert harness.settle(*cancellations, *other_submissions) == cancellations[:10]
    assert harness.settle(*cancellations[:10]) == []
    assert set(reasons(harness, *cancellations, *other_submissions)) == {None}


# --- Orders that do not exist yet


def parked_commands(harness: StoreHarness) -> list[int]:
    return sorted(row.stamp for row in harness.rows("parked"))


def test_a_command_before_its_order_is_parked_and_holds_nobody_up(
    order_harness: StoreHarness,
) -> None:
    acknowledged: list[Received] = []
    acceptance = order_harness.receive(accept("o9"), FIRST)
    assert order_harness.processor.settle([acceptance], {}, acknowledged.extend) == []
    assert acknowledged == [acceptance]
    assert parked_commands(order_harness) == [acceptance.stamp]
    assert not order_harness.is_answered(acceptance)


def test_what_waits_for_an_order_is_judged_after_its_placement_by_its_own_stamps(
    order_harness: StoreHarness,
) -> None:
    deposit = order_harness.receive(pay("p9", {"o9": DEPOSIT}), FIRST)
    cancellation = order_harness.receive(cancel("o9"), THIRD)
    acceptance = order_harness.receive(accept("o9"), SECOND)
    for submission in (deposit, acceptance, cancellation):
        assert order_harness.settle(submission) == []
    placement = order_harness.receive(place("o9"), FOURTH)
    assert order_harness.settle(placement) == []
    assert reasons(order_harness, deposit, acceptance, cancellation, placement) == [
        *(None, None, "would_forfeit", None),
    ]
    assert parked_commands(order_harness) == []
    assert {event.at for event in order_harness.reader.timeline("o9")} == {FOURTH}
    assert order_harness.reader.audit().findings == []


def test_a_command_waits_for_its_placement_where_another_worker_has_that(
    order_harness: StoreHarness,
) -> None:
    placement = order_harness.elsewhere(place("o9"), FIRST)
    acceptance = order_harness.receive(accept("o9"), SECOND)
    assert order_harness.settle(acceptance) == [acceptance]
    assert parked_commands(order_harness) == []
    order_harness.settle_elsewhere(placement)
    assert order_harness.settle(acceptance) == []
    assert reasons(order_harness, acceptance) == ["wrong_state"]


GRACE = Policy().placement_grace


@pytest.mark.parametrize(("late", "reason"), [(MICRO * 0, "wrong_state"), (MICRO, "unknown_order")])
def test_an_order_is_waited_for_up_to_the_grace(
    order_harness: StoreHarness, late: timedelta, reason: str
) -> None:
    acceptance = order_harness.receive(accept("o9"), FIRST)
    assert order_harness.settle(acceptance) == []
    placement = order_harness.elsewhere(place("o9"), FIRST + GRACE + late)
    order_harness.clock.present = FIRST + 2 * GRACE
    order_harness.wake_stored(f"parked:{acceptance.stamp}")
    assert order_harness.is_answered(acceptance) is bool(late), (
        "time does not pass by the placement"
    )
    order_harness.settle_elsewhere(placement)
    assert reasons(order_harness, acceptance, placement) == [reason, None]


def test_without_a_placement_the_answer_comes_when_the_grace_is_over(
    order_harness: StoreHarness,
) -> None:
    acceptance = order_harness.receive(accept("o9"), FIRST)
    assert order_harness.settle(acceptance) == []
    subject = f"parked:{acceptance.stamp}"
    for present, is_answered in ((FIRST + GRACE, False), (FIRST + GRACE + MICRO, True)):
        order_harness.clock.present = present
        order_harness.wake_stored(subject)
        assert order_harness.is_answered(acceptance) is is_answered
    assert reasons(order_harness, acceptance) == ["unknown_order"]


def test_a_repeat_waits_behind_what_it_repeats(order_harness: StoreHarness) -> None:
    acceptance, repeat = order_harness.receive(accept("o9"), FIRST), None
    assert order_harness.settle(acceptance) == []
    repeat = order_harness.receive(acceptance.text, SECOND)
    assert order_harness.settle(repeat) == []
    assert parked_commands(order_harness) == [acceptance.stamp, repeat.stamp]
    order_harness.settle_alone(place("o9"), THIRD)
    assert [order_harness.outcome_of(submission)[0] for submission in (acceptance, repeat)] == [
        "rejected",
        "duplicate",
    ]


def test_a_repeat_after_the_grace_waits_for_a_placement_in_time(
    order_harness: StoreHarness,
) -> None:
    acceptance = order_harness.receive(accept("o9"), FIRST)
    assert order_harness.settle(acceptance) == []
    placement = order_harness.elsewhere(place("o9"), FIRST + GRACE)
    repeat = order_harness.receive(acceptance.text, FIRST + 2 * GRACE)
    reuse = order_harness.receive(
        json.loads(acceptance.text) | {"order_id": "o1"}, FIRST + 2 * GRACE
    )
    assert order_harness.settle(repeat, reuse) == [repeat, reuse]
    order_harness.settle_elsewhere(placement)
    assert order_harness.settle(repeat, reuse) == []
    outcomes = [
        order_harness.outcome_of(submission)[:2] for submission in (acceptance, repeat, reuse)
    ]
    assert outcomes == [
        ("rejected", "wrong_state"),
        ("duplicate", "wrong_state"),
        ("rejected", "id_reused"),
    ]


def test_a_placement_waits_for_what_its_parked_commands_need(order_harness: StoreHarness) -> None:
    appointment = order_harness.receive(
        command("appoint_provider", "client", "o9", provider_id="s7"), FIRST
    )
    assert order_harness.settle(appointment) == []
    registration = order_harness.elsewhere(register("provider", "s7"), SECOND)
    placement = order_harness.receive(place("o9"), THIRD)
    assert order_harness.settle(placement) == [placement]
    order_harness.settle_elsewhere(registration)
    assert order_harness.settle(placement) == []
    assert reasons(order_harness, registration, placement, appointment) == [None, None, None]


def test_a_redelivered_command_that_is_parked_is_parked_once(order_harness: StoreHarness) -> None:
    acceptance = order_harness.receive(accept("o9"), FIRST)
    for _ in range(3):
        assert order_harness.settle(acceptance) == []
    assert parked_commands(order_harness) == [acceptance.stamp]


def test_a_sender_with_too_many_parked_commands_is_answered_at_once(engine: Engine) -> None:
    policy = Policy(parked_limit=2)
    harness = StoreHarness(engine=engine, policy=policy).admit()
    submissions = [harness.receive(accept(f"o{n}"), FIRST) for n in range(3)]
    other_sender = harness.receive(cancel("o9"), FIRST)
    for submission in (*submissions, other_sender):
        assert harness.settle(submission) == []
    assert [harness.is_answered(submission) for submission in submissions] == [False, False, True]
    assert reasons(harness, submissions[2]) == ["unknown_order"]
    assert not harness.is_answered(other_sender)


def test_a_payment_for_unknown_orders_waits_for_none(order_harness: StoreHarness) -> None:
    payment = order_harness.receive(pay("p9", {"o1": DEPOSIT, "o9": DEPOSIT}), FIRST)
    assert order_harness.settle(payment) == []
    assert reasons(order_harness, payment) == [None]
    assert order_harness.reader.balances()["suspense"] == DEPOSIT


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (place(creator_id="nobody"), "unknown_creator"),
        (command("confirm_refund", "payments", refund_id="rf_p1_o1"), "unknown_refund"),
    ],
)
def test_a_command_that_needs_no_order_does_not_wait_for_one(
    harness: StoreHarness, sample: SampleCommand, reason: str
) -> None:
    submission = harness.receive(sample, START)
    assert harness.settle(submission) == []
    assert reasons(harness, submission) == [reason]


# --- Time

LATER = span("1h")


def due_at_of(harness: StoreHarness, order_id: str = "o1") -> datetime:
    order = harness.reader.order(order_id)
    assert order is not None
    assert order.due_at is not None
    return order.due_at


def states(harness: StoreHarness) -> list[str]:
    return [row.state for row in sorted(harness.rows("orders"), key=lambda row: row.order_id)]


def test_no_deadline_passes_an_unsettled_command_about_its_order(offered: StoreHarness) -> None:
    due_at = due_at_of(offered)
    acceptance = offered.elsewhere(accept(), due_at)
    offered.clock.present = due_at + LATER
    offered.wake_stored("o1", "o2")
    assert states(offered) == ["offered", "expired"], "it holds back no other order's"
    offered.settle_elsewhere(acceptance)
    assert reasons(offered, acceptance) == [None]
    assert states(offered) == ["awaiting_balance", "expired"]


def test_a_deadline_before_the_unsettled_command_takes_effect(offered: StoreHarness) -> None:
    due_at = due_at_of(offered)
    offered.elsewhere(accept(), due_at + MICRO)
    offered.clock.present = due_at + LATER
    offered.wake_stored("o1")
    assert states(offered) == ["expired", "offered"]


def test_no_deadline_passes_an_unsettled_change_of_its_creator(offered: StoreHarness) -> None:
    due_at = due_at_of(offered)
    ban = offered.elsewhere(sample_commands.report_violation("x2"), due_at)
    offered.clock.present = due_at + LATER
    offered.wake_stored("o1", "o2")
    assert states(offered) == ["offered", "expired"]
    offered.settle_elsewhere(ban)
    offered.wake_stored("creator:k1", "o1")
    assert states(offered) == ["declined", "expired"]


def test_no_deadline_of_anybody_passes_an_unsettled_overturn(offered: StoreHarness) -> None:
    due_at = due_at_of(offered)
    acquittal = offered.elsewhere(overturn("x1"), due_at)
    offered.clock.present = due_at + LATER
    offered.wake_stored("o1", "o2")
    assert states(offered) == ["offered", "offered"]
    offered.settle_elsewhere(acquittal)
    offered.wake_stored("o1", "o2")
    assert states(offered) == ["expired", "expired"]


def test_no_deadline_passes_the_oldest_message_that_nobody_has_read(
    offered: StoreHarness,
) -> None:
    due_at = due_at_of(offered)
    unread = offered.elsewhere(register("mcn", "m7"), due_at, unread=True)
    offered.clock.present = due_at + LATER
    offered.wake_stored("o1", "o2")
    assert states(offered) == ["offered", "offered"]
    offered.clock.unread.clear()
    offered.wake_stored("o1", "o2")
    assert states(offered) == ["expired", "expired"]
    offered.settle_elsewhere(unread)


def test_commands_wait_for_what_nobody_has_read_only_if_it_is_about_the_same(
    offered: StoreHarness,
) -> None:
    decline = offered.elsewhere(command("decline_order", "creator", "o1"), FIRST, unread=True)
    acceptance, other = (
        offered.receive(accept(order_id, by), SECOND)
        for order_id, by in (("o1", "creator"), ("o2", "creator:k2"))
    )
    assert offered.settle(acceptance, other) == [acceptance]
    offered.settle_elsewhere(decline)
    assert offered.settle(acceptance) == []
    assert reasons(offered, acceptance, other) == ["wrong_state", None]


def test_no_ban_ends_before_earlier_changes_of_its_creator(offered: StoreHarness) -> None:
    offered.settle_alone(sample_commands.report_violation("x2"), FIRST)
    ends_at = FIRST + span("7d")
    report = offered.elsewhere(sample_commands.report_violation("x3"), ends_at)
    offered.clock.present = ends_at + LATER
    offered.wake_stored("creator:k1")
    assert offered.published("creator.ban_lifted") == []
    offered.settle_elsewhere(report)
    assert reasons(offered, report) == [None]
    assert offered.reader.audit().findings == []


def test_a_late_command_ends_a_wait_and_one_in_time_is_heard_first(offered: StoreHarness) -> None:
    due_at = due_at_of(offered)
    in_time = offered.elsewhere(accept(), due_at)
    too_late = offered.receive(command("decline_order", "creator", "o1"), due_at + MICRO)
    offered.clock.present = due_at + LATER
    assert offered.settle(too_late) == [too_late]
    offered.settle_elsewhere(in_time)
    assert offered.settle(too_late) == []
    assert reasons(offered, in_time, too_late) == [None, "wrong_state"]


def test_a_batch_with_commands_on_both_sides_of_a_deadline_is_settled_whole(
    offered: StoreHarness,
) -> None:
    due_at = due_at_of(offered)
    in_time = offered.receive(accept(), due_at)
    too_late = offered.receive(command("decline_order", "creator", "o1"), due_at + MICRO)
    offered.clock.present = due_at + LATER
    assert offered.settle(too_late, in_time) == []
    offered.wake_stored("o1")
    assert reasons(offered, in_time, too_late) == [None, "wrong_state"]


# --- What it comes to


def history() -> Iterable[tuple[SampleCommand, datetime]]:
    """Give commands of many senders about a few orders and a creator who is banned meanwhile."""
    yield from ((place(f"h{n}"), START) for n in range(4))
    yield pay("d", {f"h{n}": DEPOSIT for n in range(3)}), START + span("1m")
    yield accept("h0"), START + span("2m")
    yield sample_commands.report_violation("y1"), START + span("3m")
    yield accept("h1", "mcn"), START + span("4m")
    yield sample_commands.report_violation("y2"), START + span("5m")
    yield accept("h2"), START + span("6m")
    yield pay("b", {"h0": BALANCE, "h1": BALANCE, "h3": DEPOSIT}), START + span("7m")
    yield overturn("y1"), START + span("8m")
    yield place("h4"), START + span("9m")
    yield cancel("h0"), START + span("10m")


@pytest.mark.parametrize("stride", [3, 5, 7])
def test_whoever_has_which_command_it_comes_to_what_one_worker_makes_of_them_in_order(
    engine: Engine, stride: int
) -> None:
    harness = StoreHarness(engine=engine).admit()
    commands = list(history())
    submissions = [harness.receive(sample, at) for sample, at in commands]
    harness.clock.present = START + LATER
    # Everything has been received, and comes to workers out of order.
    harness.clock.waiting = {received.message_id: received for received in submissions}
    waiting = sorted(submissions, key=lambda received: received.stamp * stride % 11)
    for _ in range(len(submissions) + 1):
        for received in list(waiting):
            if not harness.settle(received):
                waiting.remove(received)
                del harness.clock.waiting[received.message_id]
    assert waiting == []
    harness.spread(START + LATER)
    expected = story_with_parties()
    for sample, at in commands:
        expected.handle(sample, at)
    assert [harness.outcome_of(received)[:2] for received in submissions] == expected.outcomes[
        -len(submissions) :
    ]
    assert {order.order_id: order for order in harness.reader.orders()} == expected.uow.orders
    with reading(engine) as connection:
        assert audit.balances(connection) == expected.accounts()
    assert harness.reader.audit().findings == []
