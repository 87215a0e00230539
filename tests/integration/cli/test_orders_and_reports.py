"""Orders and reports: `earnest tasks` and `earnest reports`, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Said, earnest
from tests.support.datasets.every_situation import world, write
from tests.support.datasets.simultaneous_orders import crowd, sign
from tests.support.datasets.simultaneous_orders import write as put
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queries.reports import BREAKDOWNS, COLUMNS, Name
from workers.queries.reports.grouping import By

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def told(sqlite_url: str) -> Iterator[Store]:
    """Give a database in which everything has happened."""
    engine = open_database(sqlite_url)
    migrate(engine)
    yield write(engine, world())
    engine.dispose()


@pytest.fixture
def place(sqlite_url: str) -> tuple[str, ...]:
    """Say where it is; Redis is away, and is not needed."""
    return ("--database-url", sqlite_url, "--redis-url", NOWHERE)


def listed(result: Said) -> tuple[list[str], str | None]:
    assert result.status == 0, result.err
    page = json.loads(result.out)
    return [task["task_id"] for task in page["tasks"]], page["next"]


@pytest.mark.usefixtures("told")
def test_a_list_goes_on_where_it_stopped(place: tuple[str, ...]) -> None:
    all_ids, next_cursor = listed(earnest("tasks", "--json", "--limit", "500", *place))
    assert (len(all_ids), next_cursor) == (len(world().book.orders), None)
    names, cursor = listed(earnest("tasks", "--json", "--limit", "40", *place))
    assert cursor
    page_options = ("--limit", "40", "--cursor", cursor)
    rest_ids, next_cursor = listed(earnest("tasks", "--json", *page_options, *place))
    assert (names + rest_ids, next_cursor) == (all_ids, None)


@pytest.mark.usefixtures("told")
def test_a_list_is_filtered(place: tuple[str, ...]) -> None:
    orders = world().book.orders.values()
    task_ids, _ = listed(earnest("tasks", "--json", "--creator", "k1x4", *place))
    assert task_ids == [order.order_id for order in orders if order.creator_id == "k1x4"]
    agency = ("--mcn", "m1", "--status", "in_progress", "--id", "o1x2", "--limit", "500")
    names, _ = listed(earnest("tasks", "--json", *agency, *place))
    assert names
    assert all(task_id.startswith("o1x2") for task_id in names)
    since = ("--created-after", "2026-03-01T00:00:00+08:00")
    assert len(listed(earnest("tasks", "--json", *since, *place))[0]) < len(orders)


def test_a_table_says_that_the_list_goes_on(sqlite_url: str, place: tuple[str, ...]) -> None:
    engine = open_database(sqlite_url)
    migrate(engine)
    put(engine, "creators", sign([("k1", "m1")]))
    put(engine, "orders", crowd(12, ("k1",)))
    engine.dispose()
    result = earnest("tasks", "--mcn", "m1", "--limit", "10", *place)
    head, _, *lines = result.out.splitlines()[1:]
    assert head.split() == [
        *("task", "name", "client", "creator", "industry", "amount"),
        *("created", "to", "publish", "status", "state", "reason"),
    ]
    assert len(lines) == 11
    assert lines[-1].startswith("… and it goes on: --cursor ")
    assert "goes on" not in earnest("tasks", "--mcn", "m1", "--limit", "12", *place).out


MISUSED = {
    "two lists at once": ("tasks", "--creator", "k1", "--mcn", "m1"),
    "a state for a status": ("tasks", "--status", "offered"),
    "a local time": ("tasks", "--created-after", "2026-03-01T00:00:00"),
    "no tasks": ("tasks", "--limit", "0"),
    "no such report": ("reports", "horoscope"),
    "no such part": ("reports", "money", "--by", "hour"),
    "two forms": ("reports", "money", "--json", "--csv"),
}


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("kind", MISUSED)
def test_what_makes_no_sense_is_refused(place: tuple[str, ...], kind: str) -> None:
    result = earnest(*MISUSED[kind], *place)
    assert (result.status, result.out) == (2, "")
    assert "Traceback" not in result.err


@pytest.mark.usefixtures("told")
def test_a_cursor_of_nobodys_is_refused(place: tuple[str, ...]) -> None:
    result = earnest("tasks", "--cursor", "bm8", *place)
    assert (result.status, result.complaint()) == (2, "earnest: --cursor: none of ours")


@pytest.mark.parametrize("name", Name)
def test_a_report_says_the_same_in_every_form(
    told: Store, place: tuple[str, ...], name: Name
) -> None:
    del told
    by = By.MCN
    words = ("reports", name.value, "--by", by.value, "--hours", "9999")
    report = json.loads(earnest(*words, "--json", *place).out)
    columns = ("mcn", *COLUMNS[name])
    assert (report["report"], report["by"], report["zone"]) == (name, by, "Asia/Shanghai")
    rows = list(csv.DictReader(io.StringIO(earnest(*words, "--csv", *place).out)))
    assert rows == [
        {column: "" if row[column] is None else str(row[column]) for column in columns}
        for row in report["rows"]
    ]
    table = earnest(*words, *place).out
    assert {"m1", "m2"} <= {row["mcn"] for row in report["rows"]}
    assert all(row["mcn"] in table for row in report["rows"] if row["mcn"])


def test_money_agrees_with_the_books(told: Store, place: tuple[str, ...]) -> None:
    (sums,) = json.loads(earnest("reports", "money", "--json", *place).out)["rows"]
    books = Reader(told).balances()
    assert sums["held_fen"] == books["escrow"]
    assert sums["fees_fen"] == books["service_fees"]
    output = earnest("reports", "money", *place).out
    assert f"{sums['received_fen']:,}" in output
    assert output.splitlines()[0] == "Money (fen)"


def test_months_are_named(told: Store, place: tuple[str, ...]) -> None:
    del told
    result = earnest("reports", "funnel", "--by", "month", *place)
    assert "Months are those of Asia/Shanghai." in result.out


def test_an_empty_database_has_nothing_to_report(sqlite_url: str, place: tuple[str, ...]) -> None:
    engine = open_database(sqlite_url)
    migrate(engine)
    engine.dispose()
    assert earnest("tasks", *place).out == "No tasks.\n"
    for name in BREAKDOWNS:
        assert earnest("reports", name.value, *place).out == "Nothing to report.\n"
        assert json.loads(earnest("reports", name.value, "--json", *place).out)["rows"] == []


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    result = earnest("tasks", "--var", tmp_path)
    assert result.status == 2
    assert list(tmp_path.iterdir()) == []
