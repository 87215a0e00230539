"""Tasks and reports: `earnest tasks` and `earnest reports`, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, update

from ops.spreadsheets import BYTE_ORDER_MARK
from tests.support.command_line import CommandResult, run_earnest, run_in_process
from tests.support.datasets.every_situation import every_situation, write_story
from tests.support.datasets.simultaneous_orders import creator_rows, order_rows, write_rows
from tests.support.store_harness import StoreHarness
from workers.database import schema
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queries.reports import COLUMNS, GROUPINGS, ReportName
from workers.queries.reports.grouping import Grouping

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def every_situation_store(sqlite_url: str) -> Iterator[Store]:
    """Give a database in which everything has happened."""
    engine = open_database(sqlite_url)
    migrate(engine)
    yield write_story(engine, every_situation())
    engine.dispose()


@pytest.fixture
def database_options(sqlite_url: str) -> tuple[str, ...]:
    """Give the options that say where it is; Redis is away, and is not needed."""
    return ("--database-url", sqlite_url, "--redis-url", NOWHERE)


def task_ids_and_cursor(result: CommandResult) -> tuple[list[str], str | None]:
    assert result.status == 0, result.err
    page = json.loads(result.out)
    return [task["task_id"] for task in page["tasks"]], page["next"]


@pytest.mark.usefixtures("every_situation_store")
def test_a_task_list_goes_on_where_it_stopped(database_options: tuple[str, ...]) -> None:
    all_ids, next_cursor = task_ids_and_cursor(
        run_earnest("tasks", "--json", "--limit", "500", *database_options)
    )
    assert (len(all_ids), next_cursor) == (len(every_situation().uow.orders), None)
    names, cursor = task_ids_and_cursor(
        run_earnest("tasks", "--json", "--limit", "40", *database_options)
    )
    assert cursor
    page_options = ("--limit", "40", "--cursor", cursor)
    rest_ids, next_cursor = task_ids_and_cursor(
        run_earnest("tasks", "--json", *page_options, *database_options)
    )
    assert (names + rest_ids, next_cursor) == (all_ids, None)


@pytest.mark.usefixtures("every_situation_store")
def test_a_task_list_is_filtered(database_options: tuple[str, ...]) -> None:
    orders = every_situation().uow.orders.values()
    task_ids, _ = task_ids_and_cursor(
        run_earnest("tasks", "--json", "--creator", "k1x4", *database_options)
    )
    assert task_ids == [order.order_id for order in orders if order.creator_id == "k1x4"]
    agency = ("--mcn", "m1", "--status", "in_progress", "--id", "o1x2", "--limit", "500")
    names, _ = task_ids_and_cursor(run_earnest("tasks", "--json", *agency, *database_options))
    assert names
    assert all(task_id.startswith("o1x2") for task_id in names)
    since = ("--created-after", "2026-03-01T00:00:00+08:00")
    assert len(
        task_ids_and_cursor(run_earnest("tasks", "--json", *since, *database_options))[0]
    ) < len(orders)


def test_a_table_of_tasks_says_that_the_list_goes_on(
    sqlite_url: str, database_options: tuple[str, ...]
) -> None:
    engine = open_database(sqlite_url)
    migrate(engine)
    write_rows(engine, "creators", creator_rows([("k1", "m1")]))
    write_rows(engine, "orders", order_rows(12, ("k1",)))
    engine.dispose()
    result = run_earnest("tasks", "--mcn", "m1", "--limit", "10", *database_options)
    head, _, *lines = result.out.splitlines()[1:]
    assert head.split() == [
        *("task", "name", "client", "creator", "industry", "amount"),
        *("created", "to", "publish", "status", "state", "reason"),
    ]
    assert len(lines) == 11
    assert lines[-1].startswith("… and it goes on: --cursor ")
    assert (
        "goes on" not in run_earnest("tasks", "--mcn", "m1", "--limit", "12", *database_options).out
    )


INVALID_OPTIONS = {
    "two lists at once": ("tasks", "--creator", "k1", "--mcn", "m1"),
    "a state for a status": ("tasks", "--status", "offered"),
    "a local time": ("tasks", "--created-after", "2026-03-01T00:00:00"),
    "no tasks": ("tasks", "--limit", "0"),
    "no such report": ("reports", "horoscope"),
    "no such part": ("reports", "money", "--by", "hour"),
    "two forms": ("reports", "money", "--json", "--csv"),
    "plain, but not CSV": ("reports", "money", "--plain"),
}


@pytest.mark.usefixtures("every_situation_store")
@pytest.mark.parametrize("kind", INVALID_OPTIONS)
def test_invalid_options_of_tasks_and_reports_are_refused(
    database_options: tuple[str, ...], kind: str
) -> None:
    result = run_earnest(*INVALID_OPTIONS[kind], *database_options)
    assert (result.status, result.out) == (2, "")
    assert "Traceback" not in result.err


@pytest.mark.usefixtures("every_situation_store")
def test_the_command_line_refuses_a_cursor_that_it_never_gave(
    database_options: tuple[str, ...],
) -> None:
    result = run_earnest("tasks", "--cursor", "bm8", *database_options)
    assert (result.status, result.error_line()) == (2, "earnest: --cursor: none of ours")


@pytest.mark.parametrize("name", ReportName)
def test_a_report_says_the_same_in_every_form(
    every_situation_store: Store, database_options: tuple[str, ...], name: ReportName
) -> None:
    del every_situation_store
    by = Grouping.MCN
    arguments = ("reports", name.value, "--by", by.value, "--hours", "9999")
    report = json.loads(run_earnest(*arguments, "--json", *database_options).out)
    columns = ("mcn", *COLUMNS[name])
    assert (report["report"], report["by"], report["zone"]) == (name, by, "Asia/Shanghai")
    csv_text = run_earnest(*arguments, "--csv", "--plain", *database_options).out
    rows = list(csv.DictReader(io.StringIO(csv_text)))
    for_people = run_earnest(*arguments, "--csv", *database_options).out
    assert for_people == BYTE_ORDER_MARK + csv_text
    assert rows == [
        {column: "" if row[column] is None else str(row[column]) for column in columns}
        for row in report["rows"]
    ]
    table = run_earnest(*arguments, *database_options).out
    assert {"m1", "m2"} <= {row["mcn"] for row in report["rows"]}
    assert all(row["mcn"] in table for row in report["rows"] if row["mcn"])


def test_the_money_report_agrees_with_the_books(
    every_situation_store: Store, database_options: tuple[str, ...]
) -> None:
    (sums,) = json.loads(run_earnest("reports", "money", "--json", *database_options).out)["rows"]
    balances = Reader(every_situation_store).balances()
    assert sums["held_fen"] == balances["escrow"]
    assert sums["fees_fen"] == balances["service_fees"]
    output = run_earnest("reports", "money", *database_options).out
    assert f"{sums['received_fen']:,}" in output
    assert output.splitlines()[0] == "Money (fen)"


def test_a_report_by_month_names_the_months(
    every_situation_store: Store, database_options: tuple[str, ...]
) -> None:
    del every_situation_store
    result = run_earnest("reports", "funnel", "--by", "month", *database_options)
    assert "Months are those of Asia/Shanghai." in result.out


def test_an_empty_database_has_nothing_to_report(
    sqlite_url: str, database_options: tuple[str, ...]
) -> None:
    engine = open_database(sqlite_url)
    migrate(engine)
    engine.dispose()
    assert run_earnest("tasks", *database_options).out == "No tasks.\n"
    for name in GROUPINGS:
        assert run_earnest("reports", name.value, *database_options).out == "Nothing to report.\n"
        assert (
            json.loads(run_earnest("reports", name.value, "--json", *database_options).out)["rows"]
            == []
        )


def test_reading_an_absent_database_creates_nothing(tmp_path: Path) -> None:
    result = run_earnest("tasks", "--var", tmp_path)
    assert result.status == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("every_situation_store")
def test_refunds_and_payouts_are_listed_by_status_and_shown_by_id_or_reference(
    database_options: tuple[str, ...],
) -> None:
    uow = every_situation().uow
    for kind, debts in (("refund", uow.refunds), ("payout", uow.payouts)):
        story = json.loads(run_earnest(f"{kind}s", "--json", *database_options).out)[f"{kind}s"]
        assert [debt[f"{kind}_id"] for debt in story] == sorted(debts)
        failed_refund = json.loads(
            run_earnest(f"{kind}s", "--status", "failed", "--json", *database_options).out
        )
        assert {debt["status"] for debt in failed_refund[f"{kind}s"]} == {"failed"}
        name = failed_refund[f"{kind}s"][0]["reference"]
        document = run_earnest(f"{kind}s", name, "--json", *database_options)
        assert json.loads(document.out) == failed_refund[f"{kind}s"][0]
        table = run_earnest(f"{kind}s", name, *database_options)
        assert (table.status, name in table.out) == (0, True)
    held_payout = run_earnest("payouts", "--held", "--json", *database_options)
    held_ids = {payout["payout_id"] for payout in json.loads(held_payout.out)["payouts"]}
    assert held_ids == {name for name, payout in uow.payouts.items() if payout.held_at}


@pytest.mark.usefixtures("every_situation_store")
def test_a_refund_that_is_none_and_a_status_that_is_none_are_told_as_such(
    database_options: tuple[str, ...],
) -> None:
    result = run_earnest("refunds", "rf_nobody", *database_options)
    assert (result.status, result.out) == (1, "No such refund.\n")
    result = run_earnest("payouts", "--status", "lost", *database_options)
    assert result.status == 2
    assert "known are requested, failed" in result.error_line()
    table = run_earnest("refunds", "--status", "failed", *database_options)
    assert "Refunds (amounts in fen)" in table.out


STEERING_NAME = "\x9b31m\u202egnihton"
"""What turns a terminal red, and the rest of the line around."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("orders", "show", "o1", "--json"),
        ("orders", "--json"),
        ("orders", "show", "o1"),
        ("tasks", "--json"),
        ("tasks",),
        ("explain", "o1", "--json"),
        ("explain", "o1"),
        ("export", "orders"),
        ("export", "events"),
        ("export", "orders", "--format", "csv"),
    ],
    ids=" ".join,
)
def test_a_text_steers_no_terminal_and_is_not_lost_to_a_program(
    sqlite_engine: Engine, arguments: tuple[str, ...]
) -> None:
    harness = StoreHarness(engine=sqlite_engine).admit()
    harness.offer("o1")
    # As a version may have kept them that did not refuse such texts yet.
    bodies = func.replace(schema.events.c.body, "春季", STEERING_NAME)
    with sqlite_engine.begin() as connection:
        connection.execute(update(schema.orders).values(name=STEERING_NAME))
        connection.execute(update(schema.events).values(body=bodies))
    url = sqlite_engine.url.render_as_string(hide_password=False)
    # An export writes bytes, which only a process of its own can be asked for.
    run = run_earnest if "export" in arguments else run_in_process
    result = run(*arguments, "--database-url", url, "--redis-url", NOWHERE)
    assert result.status == 0, result.err
    assert not set("\x9b\u202e") & set(result.out)
