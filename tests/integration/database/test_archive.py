"""Archive: whether an order is archived makes no difference to anybody."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.lifecycle import FINAL, State
from ops.explain.account import explain
from ops.web.outcomes import standings
from scheduler import maintenance
from tests.support.command_line import earnest
from tests.support.datasets.archived_orders import LONG, Resting, halves
from tests.support.datasets.many_orders import fill
from tests.support.stories import BALANCE, DEPOSIT, START, place, span, take
from workers.database.engine import writing
from workers.outbox.recovery import recorded
from workers.queries import audit, monitoring, order_lists
from workers.queries.exports import EXPORTS
from workers.queries.exports import pages as exported
from workers.queries.order_filters import Wanted
from workers.queries.order_lists import tasks
from workers.queries.reports import BREAKDOWNS, Report

ENDINGS = (
    *("expired_unpaid", "expired_offer", "declined", "cancelled_offered", "cancelled_by_a_ban"),
    *("cancelled_at_a_cost", "forfeited_late", "forfeited_asked", "released"),
    *("completed_agency", "rated"),
)


@pytest.fixture
def desk(engine: Engine) -> Resting:
    return Resting(engine=engine)


@pytest.fixture
def near(sqlite_engine: Engine) -> Resting:
    return Resting(engine=sqlite_engine)


@pytest.mark.parametrize("situation", ENDINGS)
def test_everything_asked_of_an_order_at_rest_is_answered_as_ever(
    desk: Resting, situation: str
) -> None:
    desk.bring(situation)
    desk.rest()
    assert halves(desk.engine) == (0, 1)
    desk.check()
    assert desk.wake("o1", desk.now) == ()
    # At the desk every answer is held against that of a book in which nothing ever moved.
    for body, at in list(desk.said):
        assert desk.tell(body, at).outcome == "duplicate"
    desk.now += LONG
    assert place(desk).reason == "order_exists"
    desk.pay("much_too_late", {"o1": DEPOSIT})
    desk.pay("much_too_late_as_well", {"o1": BALANCE})
    for kind, by, fields in LATE:
        desk.ask(kind, by, order_id="o1", **fields)
    desk.check()
    if desk.order().state in FINAL:
        assert desk.unusable()[-1] in ("late", "order_closed")
        desk.rest()
        assert halves(desk.engine) == (0, 1)
        desk.check()


LATE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("accept_order", "creator", {}),
    ("cancel_order", "client", {}),
    ("rate_order", "client", {"rating": 4}),
    (
        "release_forfeit",
        "operator",
        {"parts": [{"to": "client", "amount_fen": DEPOSIT}], "reason": "和解"},
    ),
)


def test_an_order_at_rest_can_be_brought_back_to_life(desk: Resting) -> None:
    desk.bring("forfeited_late")
    desk.rest()
    for step in ("reinstate", "pay", "script", "cancel:10500"):
        take(desk, step)
        desk.check()
    assert desk.order().state is State.CANCELLED
    # What it had gone through before is still in the archive; the rest follows.
    first, second = halves(desk.engine, "events")
    desk.rest()
    assert halves(desk.engine) == (0, 1)
    assert halves(desk.engine, "events")[1] > second > 0
    assert first > 0
    desk.check()


@pytest.mark.parametrize("situation", ["cancelled_at_a_cost", "released", "completed_agency"])
def test_what_has_left_cannot_leave_again(desk: Resting, situation: str) -> None:
    desk.bring(situation)
    desk.rest()
    for refund_id in list(desk.book.refunds):
        answer = desk.ask("confirm_refund", "payments", refund_id=refund_id)
        assert answer.reason == "already_confirmed"
    for payout_id in list(desk.book.payouts):
        answer = desk.ask("confirm_payout", "payments", payout_id=payout_id)
        assert answer.reason == "already_confirmed"
    assert halves(desk.engine) == (1, 0)
    desk.check()


@pytest.mark.parametrize("situation", ["forfeited_late", "completed_agency"])
def test_every_reader_finds_an_order_at_rest(near: Resting, situation: str) -> None:
    near.bring(situation)
    near.settle_debts()
    near.publish()
    place(near, "o2")
    near.publish()
    before = everything_read(near)
    assert near.put_away(older_than=timedelta(0)) == 1
    assert halves(near.engine, "events")[1] > 0
    assert everything_read(near) == before


def everything_read(desk: Resting) -> dict[str, Any]:
    """Return what every reader of orders, events and money says."""
    reader, order_filter = desk.reader, Wanted(creator="k1")
    first_page = order_lists.page(desk.store, order_filter, limit=1)
    answers = [(row.subject, row.sequence) for row in desk.rows("events") if "cmd" in row.subject]
    return {
        "orders": list(reader.orders()),
        "order": reader.order("o1"),
        "timeline": list(reader.timeline("o1")),
        "answers": reader.answers(answers),
        "standings": standings(
            desk.engine, [subject.removeprefix("command:") for subject, _ in answers]
        ),
        "recorded": [row for page in recorded(desk.engine, START, None) for row in page],
        "endings": reader.endings(),
        "states": monitoring.states(desk.engine),
        "balances": reader.balances(),
        "lateness": sorted(reader.lateness()),
        "tasks": tasks(desk.engine, order_filter, limit=1),
        "reports": [list(report.rows(desk.engine)) for report in reports(desk)],
        "pages": [first_page, order_lists.page(desk.store, order_filter, cursor=first_page.cursor)],
        "explained": explain(desk.store, "o1", at=desk.now),
        "exports": [list(exported(desk.store, export)) for export in EXPORTS.values()],
        "audit": reader.audit(),
    }


def reports(desk: Resting) -> list[Report]:
    breakdowns = [(name, by) for name, parts in BREAKDOWNS.items() for by in (None, *parts)]
    return [Report(name, by, desk.now, LONG) for name, by in breakdowns]


def test_by_hand_nothing_is_done_until_it_is_asked_for(near: Resting) -> None:
    fill(near.engine, 3, declined=True)
    fill(near.engine, 2, first=10)
    near.publish()
    url = near.engine.url.render_as_string(hide_password=False)
    words = ("archive", "--older-than", "P30D")
    (report,) = earnest(*words, "--json", EARNEST_DATABASE_URL=url).lines()
    assert (report["ready"], report["kept"], report["archived"]) == (3, 0, 0)
    assert (
        "Nothing is done yet: --yes archives them." in earnest(*words, EARNEST_DATABASE_URL=url).out
    )
    assert halves(near.engine) == (5, 0)
    assert earnest(*words, "--yes", EARNEST_DATABASE_URL=url).out == "3 orders are archived.\n"
    assert halves(near.engine) == (2, 3)
    result = earnest("archive", EARNEST_DATABASE_URL=url, EARNEST_ARCHIVE_AFTER="never")
    assert "say --older-than how long" in result.complaint()


STAYS = {
    "owes a refund": "declined",
    "owes a payout": "cancelled_at_a_cost",
    "may be reinstated": "forfeited_late",
    "is open": "offered",
}


@pytest.mark.parametrize("reason", STAYS)
def test_an_order_of_which_more_is_expected_stays(desk: Resting, reason: str) -> None:
    desk.bring(STAYS[reason])
    if reason == "owes a payout":
        for refund_id in list(desk.book.refunds):
            desk.ask("confirm_refund", "payments", refund_id=refund_id)
    desk.publish()
    window = desk.policy.late_notice_window
    now = desk.order().entered_at + (window if reason == "may be reinstated" else 10 * window)
    assert maintenance.archive(desk.store, maintenance.Due(now, now)) == 0
    assert maintenance.count(desk.store, maintenance.Due(now, now)) == (0, int(reason != "is open"))
    if reason == "may be reinstated":
        late = now + span("1us")
        assert maintenance.count(desk.store, maintenance.Due(late, late)) == (1, 0)
        assert maintenance.archive(desk.store, maintenance.Due(late, late)) == 1


def test_an_order_stays_until_its_time_and_its_events_have_come(desk: Resting) -> None:
    desk.bring("expired_unpaid")
    desk.ask("register_mcn", "platform", mcn_id="m9", name="M9")
    assert desk.put_away(older_than=timedelta(0)) == 0
    desk.publish()
    ended_at, now = desk.order().entered_at, desk.now + LONG
    early = maintenance.Due(ended_at - span("1us"), now)
    assert maintenance.archive(desk.store, early) == 0
    assert maintenance.archive(desk.store, maintenance.Due(ended_at, now)) == 1


def test_the_newest_event_stays_so_that_its_number_is_not_given_again(desk: Resting) -> None:
    desk.bring("expired_unpaid")
    desk.publish()
    with writing(desk.engine) as connection:
        connection.execute(text("DELETE FROM events WHERE subject LIKE 'command:%'"))
        connection.execute(text("DELETE FROM events WHERE subject = 'mcn:m9'"))
    newest = max(row.position for row in desk.rows("events"))
    assert desk.put_away(older_than=timedelta(0)) == 0
    desk.publish()
    assert desk.put_away(older_than=timedelta(0)) == 1
    positions = [row.position for row in desk.rows("events")]
    assert len(positions) == len(set(positions))
    assert max(positions) > newest


def test_batches_are_as_large_as_asked_and_those_that_ended_first_go_first(desk: Resting) -> None:
    desk.admit()
    for number in range(5):
        place(desk, f"o{number}")
        desk.ask("cancel_order", "client", order_id=f"o{number}")
        desk.now += span("1h")
    desk.publish()
    due = maintenance.Due(desk.now, desk.now)
    assert maintenance.count(desk.store, due) == (5, 0)
    assert [maintenance.archive(desk.store, due, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    desk.check()


def test_a_refund_never_gets_the_name_that_one_at_rest_has(desk: Resting) -> None:
    desk.admit()
    for order_id, payment_id in (("b_c", "a"), ("c", "a_b")):
        place(desk, order_id)
        desk.pay(payment_id, {order_id: DEPOSIT})
    desk.ask("decline_order", "creator", order_id="b_c")
    desk.rest()
    assert halves(desk.engine, "refunds") == (0, 1)
    desk.ask("decline_order", "creator", order_id="c")
    assert set(desk.book.refunds) == {"rf_a_b_c", "rf_a_b_c~2"}
    desk.check()


@pytest.mark.parametrize("recompute_archive", [True, False])
@pytest.mark.parametrize("situation", ["forfeited_late", "completed_agency", "cancelled_offered"])
def test_the_books_are_right_with_or_without_reading_the_archive(
    desk: Resting, situation: str, *, recompute_archive: bool
) -> None:
    desk.bring(situation)
    desk.rest()
    place(desk, "o2")
    report = audit.audit(desk.store, recompute_archive=recompute_archive)
    assert (report.findings, report.orders) == ([], 2 if recompute_archive else 1)


@pytest.mark.parametrize("name", ["account:psp", "returned", "ended:cancelled:client_cancelled"])
def test_totals_that_the_archive_does_not_add_up_to_are_found(near: Resting, name: str) -> None:
    near.bring("cancelled_at_a_cost")
    near.rest()
    with writing(near.engine) as connection:
        change = "UPDATE archive_totals SET value = value + 1 WHERE name = :name"
        assert connection.execute(text(change), {"name": name}).rowcount == 1
    findings = audit.audit(near.store).findings
    assert ("archive", name) in [(finding.law, finding.where) for finding in findings]
    # Money that is not there is missed without a look at the archive.
    laws = {finding.law for finding in audit.audit(near.store, recompute_archive=False).findings}
    assert bool(laws) == (not name.startswith("ended"))


def test_an_order_that_cannot_be_read_keeps_no_other_from_resting(near: Resting) -> None:
    near.bring("expired_unpaid")
    place(near, "o2")
    near.ask("cancel_order", "client", order_id="o2")
    near.publish()
    with writing(near.engine) as connection:
        broken_document = json.dumps({"order_id": "o1"})
        change = text("UPDATE orders SET document = :document WHERE order_id = 'o1'")
        connection.execute(change, {"document": broken_document})
    assert near.put_away(older_than=timedelta(0)) == 1
    assert halves(near.engine) == (1, 1)
