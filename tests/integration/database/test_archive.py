"""Archive: whether an order is archived makes no difference to commands, readers and the audit."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.ids import split_command_key
from models.lifecycle import FINAL_STATES, State
from ops.explain.account import explain_order
from ops.web.outcomes import command_statuses
from scheduler import maintenance
from tests.support.command_line import run_earnest
from tests.support.datasets.archived_orders import (
    ARCHIVE_AFTER,
    ArchivingHarness,
    count_live_and_archived,
)
from tests.support.datasets.many_orders import write_orders
from tests.support.stories import BALANCE, DEPOSIT, START, place, play_step, span
from workers.database.engine import writing
from workers.outbox.recovery import recorded_events
from workers.queries import audit, monitoring, order_lists
from workers.queries.exports import EXPORTS, export_pages
from workers.queries.order_filters import OrderFilter
from workers.queries.order_lists import creator_tasks
from workers.queries.reports import GROUPINGS, ReportRequest

ENDINGS = (
    *("expired_unpaid", "expired_offer", "declined", "cancelled_offered", "cancelled_by_a_ban"),
    *("cancelled_at_a_cost", "forfeited_late", "forfeited_asked", "released"),
    *("completed_agency", "rated"),
)


@pytest.fixture
def harness(engine: Engine) -> ArchivingHarness:
    return ArchivingHarness(engine=engine)


@pytest.fixture
def sqlite_harness(sqlite_engine: Engine) -> ArchivingHarness:
    return ArchivingHarness(engine=sqlite_engine)


@pytest.mark.parametrize("situation", ENDINGS)
def test_commands_for_an_archived_order_have_the_outcomes_they_would_have_had(
    harness: ArchivingHarness, situation: str
) -> None:
    harness.bring_to(situation)
    harness.archive_all()
    assert count_live_and_archived(harness.engine) == (0, 1)
    harness.check_database()
    assert harness.wake("o1", harness.now) == ()
    # The harness compares every outcome with that of a unit of work that has no archive.
    for body, at in list(harness.commands_handled):
        assert harness.handle(body, at).outcome == "duplicate"
    harness.now += ARCHIVE_AFTER
    assert place(harness).reason == "order_exists"
    harness.pay("much_too_late", {"o1": DEPOSIT})
    harness.pay("much_too_late_as_well", {"o1": BALANCE})
    for kind, by, fields in LATE_COMMANDS:
        harness.ask(kind, by, order_id="o1", **fields)
    harness.check_database()
    if harness.order().state in FINAL_STATES:
        assert harness.unapplied_reasons()[-1] in ("late", "order_closed")
        harness.archive_all()
        assert count_live_and_archived(harness.engine) == (0, 1)
        harness.check_database()


LATE_COMMANDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("accept_order", "creator", {}),
    ("cancel_order", "client", {}),
    ("rate_order", "client", {"rating": 4}),
    (
        "release_forfeit",
        "operator",
        {"parts": [{"to": "client", "amount_fen": DEPOSIT}], "reason": "和解"},
    ),
)


def test_an_archived_order_can_be_restored(harness: ArchivingHarness) -> None:
    harness.bring_to("forfeited_late")
    harness.archive_all()
    for step in ("reinstate", "pay", "script", "cancel:10500"):
        play_step(harness, step)
        harness.check_database()
    assert harness.order().state is State.CANCELLED
    # What it had gone through before is still in the archive; the rest follows.
    live_count, archived_count = count_live_and_archived(harness.engine, "events")
    harness.archive_all()
    assert count_live_and_archived(harness.engine) == (0, 1)
    assert count_live_and_archived(harness.engine, "events")[1] > archived_count > 0
    assert live_count > 0
    harness.check_database()


@pytest.mark.parametrize("situation", ["cancelled_at_a_cost", "released", "completed_agency"])
def test_money_confirmed_before_archiving_cannot_leave_again(
    harness: ArchivingHarness, situation: str
) -> None:
    harness.bring_to(situation)
    harness.archive_all()
    for refund_id in list(harness.uow.refunds):
        outcome = harness.ask("confirm_refund", "payments", refund_id=refund_id)
        assert outcome.reason == "already_confirmed"
    for payout_id in list(harness.uow.payouts):
        outcome = harness.ask("confirm_payout", "payments", payout_id=payout_id)
        assert outcome.reason == "already_confirmed"
    assert count_live_and_archived(harness.engine) == (1, 0)
    harness.check_database()


def test_a_failure_brings_an_archived_order_back_and_its_money_is_owed_again(
    harness: ArchivingHarness,
) -> None:
    harness.bring_to("completed_agency")
    harness.archive_all()
    for payout in list(harness.uow.payouts.values()):
        # By its id, and by what it was sent under.
        name = payout.reference if payout.party.startswith("mcn:") else payout.payout_id
        fields = {"payout_id": name, "reason": "wrong account"}
        assert harness.ask("fail_payout", "payments", **fields).reason is None
    assert count_live_and_archived(harness.engine) == (1, 0)
    assert count_live_and_archived(harness.engine, "payouts") == (2, 0)
    harness.check_database()
    harness.publish()
    assert harness.archive(older_than=timedelta(0)) == 0, "money is owed"
    harness.archive_all()
    assert count_live_and_archived(harness.engine, "payouts") == (0, 2)
    harness.check_database()


def test_an_order_whose_payout_was_reversed_comes_to_rest(harness: ArchivingHarness) -> None:
    harness.bring_to("completed")
    name = {"payout_id": "po_o1_creator", "reason": "proved"}
    assert harness.ask("hold_payout", "operator", **name).reason is None
    assert harness.ask("reverse_payout", "operator", **name, to="platform").reason is None
    harness.archive_all()
    assert count_live_and_archived(harness.engine, "payouts") == (0, 1)
    harness.check_database()
    reason = harness.ask("confirm_payout", "payments", payout_id="po_o1_creator").reason
    assert reason == "wrong_state"
    assert [alert["alert"] for alert in harness.published("operator.alerted")] == [
        "moved_after_end"
    ]
    harness.check_database()


@pytest.mark.parametrize("situation", ["forfeited_late", "completed_agency"])
def test_every_reader_finds_an_archived_order(
    sqlite_harness: ArchivingHarness, situation: str
) -> None:
    sqlite_harness.bring_to(situation)
    sqlite_harness.confirm_obligations()
    sqlite_harness.publish()
    place(sqlite_harness, "o2")
    sqlite_harness.publish()
    before = read_everything(sqlite_harness)
    assert sqlite_harness.archive(older_than=timedelta(0)) == 1
    assert count_live_and_archived(sqlite_harness.engine, "events")[1] > 0
    assert read_everything(sqlite_harness) == before


def read_everything(harness: ArchivingHarness) -> dict[str, Any]:
    """Return what every reader of orders, events and money says."""
    reader, order_filter = harness.reader, OrderFilter(creator="k1")
    first_page = order_lists.order_page(harness.store, order_filter, limit=1)
    answers = [
        (row.subject, row.sequence) for row in harness.rows("events") if "cmd" in row.subject
    ]
    return {
        "orders": list(reader.orders()),
        "order": reader.order("o1"),
        "timeline": list(reader.timeline("o1")),
        "answers": reader.outcome_bodies(answers),
        "standings": command_statuses(
            harness.engine,
            [split_command_key(subject.removeprefix("command:")) for subject, _ in answers],
        ),
        "recorded": [row for page in recorded_events(harness.engine, START, None) for row in page],
        "endings": reader.endings(),
        "states": monitoring.orders_by_state(harness.engine),
        "balances": reader.balances(),
        "lateness": sorted(reader.lateness()),
        "tasks": creator_tasks(harness.engine, order_filter, limit=1),
        "reports": [list(report.rows(harness.engine)) for report in report_requests(harness)],
        "pages": [
            first_page,
            order_lists.order_page(harness.store, order_filter, cursor=first_page.cursor),
        ],
        "explained": explain_order(harness.store, "o1", at=harness.now),
        "exports": [list(export_pages(harness.store, export)) for export in EXPORTS.values()],
        "audit": reader.audit(),
    }


def report_requests(harness: ArchivingHarness) -> list[ReportRequest]:
    breakdowns = [(name, by) for name, parts in GROUPINGS.items() for by in (None, *parts)]
    return [ReportRequest(name, by, harness.now, ARCHIVE_AFTER) for name, by in breakdowns]


def test_the_archive_command_archives_nothing_without_yes(sqlite_harness: ArchivingHarness) -> None:
    write_orders(sqlite_harness.engine, 3, declined=True)
    write_orders(sqlite_harness.engine, 2, first=10)
    sqlite_harness.publish()
    url = sqlite_harness.engine.url.render_as_string(hide_password=False)
    arguments = ("archive", "--older-than", "P30D")
    (report,) = run_earnest(*arguments, "--json", EARNEST_DATABASE_URL=url).lines()
    assert (report["ready"], report["kept"], report["archived"]) == (3, 0, 0)
    assert (
        "Nothing is done yet: --yes archives them."
        in run_earnest(*arguments, EARNEST_DATABASE_URL=url).out
    )
    assert count_live_and_archived(sqlite_harness.engine) == (5, 0)
    assert (
        run_earnest(*arguments, "--yes", EARNEST_DATABASE_URL=url).out == "3 orders are archived.\n"
    )
    assert count_live_and_archived(sqlite_harness.engine) == (2, 3)
    result = run_earnest("archive", EARNEST_DATABASE_URL=url, EARNEST_ARCHIVE_AFTER="never")
    assert "say --older-than how long" in result.error_line()


NOT_ARCHIVED = {
    "owes a refund": "declined",
    "owes a payout": "cancelled_at_a_cost",
    "may be reinstated": "forfeited_late",
    "is open": "offered",
}


@pytest.mark.parametrize("reason", NOT_ARCHIVED)
def test_an_order_that_is_open_owes_money_or_may_be_reinstated_is_not_archived(
    harness: ArchivingHarness, reason: str
) -> None:
    harness.bring_to(NOT_ARCHIVED[reason])
    if reason == "owes a payout":
        for refund_id in list(harness.uow.refunds):
            harness.ask("confirm_refund", "payments", refund_id=refund_id)
    harness.publish()
    window = harness.policy.late_notice_window
    now = harness.order().entered_at + (window if reason == "may be reinstated" else 10 * window)
    assert maintenance.archive_orders(harness.store, maintenance.ArchiveCutoff(now, now)) == 0
    assert maintenance.count_archivable(harness.store, maintenance.ArchiveCutoff(now, now)) == (
        0,
        int(reason != "is open"),
    )
    if reason == "may be reinstated":
        late_at = now + span("1us")
        assert maintenance.count_archivable(
            harness.store, maintenance.ArchiveCutoff(late_at, late_at)
        ) == (
            1,
            0,
        )
        assert (
            maintenance.archive_orders(harness.store, maintenance.ArchiveCutoff(late_at, late_at))
            == 1
        )


def test_an_order_is_archived_only_after_its_time_and_when_its_events_are_published(
    harness: ArchivingHarness,
) -> None:
    harness.bring_to("expired_unpaid")
    harness.ask("register_mcn", "platform", mcn_id="m9", name="M9")
    assert harness.archive(older_than=timedelta(0)) == 0
    harness.publish()
    ended_at, now = harness.order().entered_at, harness.now + ARCHIVE_AFTER
    early = maintenance.ArchiveCutoff(ended_at - span("1us"), now)
    assert maintenance.archive_orders(harness.store, early) == 0
    assert maintenance.archive_orders(harness.store, maintenance.ArchiveCutoff(ended_at, now)) == 1


def test_the_newest_event_is_not_archived_so_that_its_position_is_not_used_again(
    harness: ArchivingHarness,
) -> None:
    harness.bring_to("expired_unpaid")
    harness.publish()
    with writing(harness.engine) as connection:
        connection.execute(text("DELETE FROM events WHERE subject LIKE 'command:%'"))
        connection.execute(text("DELETE FROM events WHERE subject = 'mcn:m9'"))
    newest_position = max(row.position for row in harness.rows("events"))
    assert harness.archive(older_than=timedelta(0)) == 0
    harness.publish()
    assert harness.archive(older_than=timedelta(0)) == 1
    positions = [row.position for row in harness.rows("events")]
    assert len(positions) == len(set(positions))
    assert max(positions) > newest_position


def test_batches_are_as_large_as_asked_and_those_that_ended_first_go_first(
    harness: ArchivingHarness,
) -> None:
    harness.admit()
    for number in range(5):
        place(harness, f"o{number}")
        harness.ask("cancel_order", "client", order_id=f"o{number}")
        harness.now += span("1h")
    harness.publish()
    due = maintenance.ArchiveCutoff(harness.now, harness.now)
    assert maintenance.count_archivable(harness.store, due) == (5, 0)
    assert [maintenance.archive_orders(harness.store, due, limit=2) for _ in range(4)] == [
        2,
        2,
        1,
        0,
    ]
    harness.check_database()


def test_a_refund_never_gets_the_id_of_an_archived_one(harness: ArchivingHarness) -> None:
    harness.admit()
    for order_id, payment_id in (("b_c", "a"), ("c", "a_b")):
        place(harness, order_id)
        harness.pay(payment_id, {order_id: DEPOSIT})
    harness.ask("decline_order", "creator", order_id="b_c")
    harness.archive_all()
    assert count_live_and_archived(harness.engine, "refunds") == (0, 1)
    harness.ask("decline_order", "creator", order_id="c")
    assert set(harness.uow.refunds) == {"rf_a_b_c", "rf_a_b_c~2"}
    harness.check_database()


@pytest.mark.parametrize("recompute_archive", [True, False])
@pytest.mark.parametrize("situation", ["forfeited_late", "completed_agency", "cancelled_offered"])
def test_an_audit_finds_nothing_with_or_without_recomputing_the_archive(
    harness: ArchivingHarness, situation: str, *, recompute_archive: bool
) -> None:
    harness.bring_to(situation)
    harness.archive_all()
    place(harness, "o2")
    report = audit.audit(harness.store, recompute_archive=recompute_archive)
    assert (report.findings, report.orders) == ([], 2 if recompute_archive else 1)


@pytest.mark.parametrize("name", ["account:psp", "returned", "ended:cancelled:client_cancelled"])
def test_an_audit_finds_totals_that_the_archive_does_not_add_up_to(
    sqlite_harness: ArchivingHarness, name: str
) -> None:
    sqlite_harness.bring_to("cancelled_at_a_cost")
    sqlite_harness.archive_all()
    with writing(sqlite_harness.engine) as connection:
        change = "UPDATE archive_totals SET value = value + 1 WHERE name = :name"
        assert connection.execute(text(change), {"name": name}).rowcount == 1
    findings = audit.audit(sqlite_harness.store).findings
    assert ("archive", name) in [(finding.law, finding.where) for finding in findings]
    # Money that is not there is missed without a look at the archive.
    laws = {
        finding.law
        for finding in audit.audit(sqlite_harness.store, recompute_archive=False).findings
    }
    assert bool(laws) == (not name.startswith("ended"))


def test_an_unreadable_order_does_not_keep_others_from_being_archived(
    sqlite_harness: ArchivingHarness,
) -> None:
    sqlite_harness.bring_to("expired_unpaid")
    place(sqlite_harness, "o2")
    sqlite_harness.ask("cancel_order", "client", order_id="o2")
    sqlite_harness.publish()
    with writing(sqlite_harness.engine) as connection:
        broken_document = json.dumps({"order_id": "o1"})
        change = text("UPDATE orders SET document = :document WHERE order_id = 'o1'")
        connection.execute(change, {"document": broken_document})
    assert sqlite_harness.archive(older_than=timedelta(0)) == 1
    assert count_live_and_archived(sqlite_harness.engine) == (1, 1)
