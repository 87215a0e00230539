"""Voided and suspended payments in the database: as in memory, archived or not, locked or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from tests.support.datasets.archived_orders import ArchivingHarness, count_live_and_archived
from tests.support.sample_commands import SampleCommand, command, place
from tests.support.store_harness import StoreHarness
from tests.support.stories import DEPOSIT, MICRO, START, TOTAL, span
from tests.support.stories import place as place_in_story
from workers.database.engine import open_database, writing
from workers.queries.reports import ReportName, ReportRequest

VOID = {"payment_id": "p1", "reason": "yuan for fen"}

SHARES = {
    "a share that was sent back": {"o1": 105},
    "shares of two clients": {"o1": 5, "o2": 6},
    "a share that waits": {"o9": 105},
    "shares of every kind": {"o1": 105, "o9": 7, "o8": 8},
}


@pytest.fixture
def harness(engine: Engine) -> ArchivingHarness:
    """Give a harness with an order of each of two clients."""
    archiving_harness = ArchivingHarness(engine=engine)
    archiving_harness.admit()
    place_in_story(archiving_harness)
    place_in_story(archiving_harness, "o2", "client:c2")
    return archiving_harness


def void(harness: StoreHarness, payment_id: str = "p1") -> str | None:
    fields = VOID | {"payment_id": payment_id}
    return harness.ask("void_payment", "operator", **fields).reason


@pytest.mark.parametrize("kind", SHARES)
def test_a_voided_payment_is_written_down_as_the_rules_say(
    harness: ArchivingHarness, kind: str
) -> None:
    harness.pay("p1", SHARES[kind])
    assert void(harness) is None
    harness.check_database()
    assert set(harness.reader.balances().values()) == {0}
    assert void(harness) == "wrong_state"
    harness.check_database()


@pytest.mark.parametrize("kind", SHARES)
def test_a_payment_is_reported_anew_from_what_was_written_down(
    harness: ArchivingHarness, kind: str
) -> None:
    for amounts in (SHARES[kind], dict.fromkeys(SHARES[kind], 9), dict.fromkeys(SHARES[kind], 8)):
        assert harness.pay("p1", amounts).outcome == "applied"
        assert void(harness) is None
    for amounts in (SHARES[kind], dict.fromkeys(SHARES[kind], 9)):
        assert harness.pay("p1", amounts).outcome == "duplicate"
    assert harness.pay("p1", {"o1": DEPOSIT}).outcome == "applied"
    assert void(harness) == "payment_in_use"
    harness.check_database()
    (row,) = harness.rows("payments")
    assert (len(row.voided_contents), row.voided_at) == (3 * 16, None)


def test_what_an_operator_gives_to_an_order_is_written_down_as_the_rules_say(
    harness: ArchivingHarness,
) -> None:
    harness.pay("p1", {"typo": DEPOSIT, "slip": TOTAL - DEPOSIT}, client_id="c1")
    for order_id, target in (("typo", "o2"), ("typo", "o1"), ("slip", "o1"), ("slip", "o9")):
        fields = {"payment_id": "p1", "order_id": order_id, "reason": "typed wrongly"}
        harness.ask("resolve_suspense", "operator", **fields, to="order", target_order_id=target)
    assert harness.outcomes[-4:] == [
        ("rejected", "mixed_clients"),
        ("applied", None),
        ("applied", None),
        ("rejected", "unknown_order"),
    ]
    harness.check_database()
    harness.ask("decline_order", "creator", order_id="o1")
    assert [row.amount_fen for row in harness.rows("refunds")] == [TOTAL]
    assert void(harness) == "payment_in_use"
    harness.check_database()


def test_money_that_names_its_client_is_found_by_an_order_placed_days_later(
    harness: ArchivingHarness,
) -> None:
    share = {"order_id": "o9", "amount_fen": DEPOSIT, "due": "deposit"}
    harness.pay("p1", {}, amount_fen=DEPOSIT, shares=[share], client_id="c1")
    harness.advance(START + span("1d"))
    harness.wake("suspense:p1:o9", START + span("1d"))
    harness.now = START + span("2d")
    place_in_story(harness, "o9")
    assert harness.order("o9").held_fen == DEPOSIT
    assert [row.state for row in harness.rows("orders") if row.order_id == "o9"] == ["offered"]
    assert [alert["alert"] for alert in harness.published("operator.alerted")] == ["unknown_order"]
    assert harness.reader.audit().findings == []


def test_an_order_whose_refund_is_void_comes_to_rest_and_back(harness: ArchivingHarness) -> None:
    harness.pay("p1", {"o1": 105})
    assert void(harness) is None
    for order_id, client in (("o1", "client"), ("o2", "client:c2")):
        harness.ask("cancel_order", client, order_id=order_id)
    harness.publish()
    assert harness.archive(older_than=span("0s")) == 2
    assert count_live_and_archived(harness.engine, "refunds") == (0, 1)
    harness.check_database()
    assert harness.pay("p1", {"o1": DEPOSIT}).outcome == "applied"
    assert sorted(row.refund_id for row in harness.rows("refunds")) == ["rf_p1_o1", "rf_p1_o1~2"]
    harness.check_database()
    assert void(harness) is None
    harness.check_database()


def test_a_payment_whose_refund_left_from_an_order_at_rest_is_in_use(
    harness: ArchivingHarness,
) -> None:
    harness.pay("p1", {"o1": 105})
    for order_id, client in (("o1", "client"), ("o2", "client:c2")):
        harness.ask("cancel_order", client, order_id=order_id)
    harness.archive_all()
    assert void(harness) == "payment_in_use"
    harness.check_database()


def test_money_that_never_came_is_in_no_report(harness: ArchivingHarness) -> None:
    harness.pay("p1", {"o1": 105, "o9": 7})
    harness.pay("p2", {"o1": DEPOSIT})
    assert void(harness) is None
    (row,) = ReportRequest(ReportName.MONEY, None, START, span("1d")).rows(harness.engine)
    columns = ("received_fen", "refund_requested_fen", "refund_confirmed_fen", "suspense_fen")
    assert [row[column] for column in columns] == [DEPOSIT, 0, 0, 0]


# --- Whom a void has to wait for
def test_a_void_waits_for_what_is_earlier_about_the_order_that_its_refund_is_of(
    harness: ArchivingHarness,
) -> None:
    harness.pay("p1", {"o1": 105})
    harness.clock.present = harness.now + span("10s")
    earlier = harness.elsewhere(command("cancel_order", "client", "o1"), harness.now + MICRO)
    voiding = harness.receive(command("void_payment", "operator", **VOID), harness.now + 2 * MICRO)
    assert harness.settle(voiding) == [voiding]
    harness.settle_elsewhere(earlier)
    assert harness.settle(voiding) == []
    assert harness.reader.audit().findings == []


EARLIER: dict[str, SampleCommand] = {
    "its refund": command("confirm_refund", "payments", refund_id="rf_p1_o1"),
    "its share in suspense": command(
        "resolve_suspense",
        "operator",
        payment_id="p1",
        order_id="o9",
        to="order",
        target_order_id="o1",
        reason="typed wrongly",
    ),
    "an order that its share waits for": place("o9"),
    "another void": command("void_payment", "operator", **VOID),
}


@pytest.mark.parametrize("subject", EARLIER)
def test_a_void_waits_for_what_is_earlier_about(harness: ArchivingHarness, subject: str) -> None:
    harness.pay("p1", {"o1": 105, "o9": DEPOSIT})
    harness.clock.present = harness.now + span("10s")
    earlier = harness.elsewhere(EARLIER[subject], harness.now + MICRO)
    voiding = harness.receive(command("void_payment", "operator", **VOID), harness.now + 2 * MICRO)
    assert harness.settle(voiding) == [voiding]
    harness.settle_elsewhere(earlier)
    assert harness.settle(voiding) == []
    reason = "wrong_state" if subject == "another void" else "payment_in_use"
    assert harness.outcome_of(voiding)[1] == reason
    assert harness.reader.audit().findings == []


@contextmanager
def locked(harness: StoreHarness, query: str) -> Iterator[None]:
    """Lock rows, as somebody who is about to change them."""
    with writing(harness.engine) as connection:
        assert connection.execute(text(query)).first() is not None
        yield


@pytest.mark.postgres
@pytest.mark.parametrize(
    "lock",
    [
        "SELECT 1 FROM orders WHERE order_id = 'o1' FOR UPDATE",
        "SELECT 1 FROM refunds WHERE refund_id = 'rf_p1_o1' FOR UPDATE",
        "SELECT 1 FROM suspended WHERE order_id = 'o9' FOR UPDATE",
        "SELECT 1 FROM payments WHERE payment_id = 'p1' FOR UPDATE",
    ],
)
def test_what_a_void_needs_and_somebody_else_has_locked_is_not_taken_for_absent(
    migrated_postgresql_url: str, lock: str
) -> None:
    harness = StoreHarness(engine=open_database(migrated_postgresql_url))
    harness.admit()
    place_in_story(harness)
    harness.pay("p1", {"o1": 105, "o9": 7})
    voiding = harness.receive(command("void_payment", "operator", **VOID))
    with locked(harness, lock):
        assert harness.settle(voiding) == [voiding]
    assert harness.settle(voiding) == []
    assert harness.outcome_of(voiding)[:2] == ("applied", None)
    assert harness.reader.audit().findings == []
    harness.engine.dispose()
