"""Reading words: `earnest tasks` and `earnest reports`, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crowd import crowd, sign
from tests.integration.crowd import write as put
from tests.integration.terminal import Said, earnest
from tests.integration.world import world, write
from workers.database import open_database
from workers.migrate import migrate
from workers.reading import Reader
from workers.reports.breakdown import By
from workers.reports.catalogue import BREAKDOWNS, COLUMNS, Name
from workers.store import Store

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


def listed(said: Said) -> tuple[list[str], str | None]:
    assert said.status == 0, said.err
    found = json.loads(said.out)
    return [one["task_id"] for one in found["tasks"]], found["next"]


@pytest.mark.usefixtures("told")
def test_a_list_goes_on_where_it_stopped(place: tuple[str, ...]) -> None:
    everything, end = listed(earnest("tasks", "--json", "--limit", "500", *place))
    assert (len(everything), end) == (len(world().book.orders), None)
    names, cursor = listed(earnest("tasks", "--json", "--limit", "40", *place))
    assert cursor
    more = ("--limit", "40", "--cursor", cursor)
    rest, end = listed(earnest("tasks", "--json", *more, *place))
    assert (names + rest, end) == (everything, None)


@pytest.mark.usefixtures("told")
def test_a_list_is_filtered(place: tuple[str, ...]) -> None:
    orders = world().book.orders.values()
    mine, _ = listed(earnest("tasks", "--json", "--creator", "k1x4", *place))
    assert mine == [one.order_id for one in orders if one.creator_id == "k1x4"]
    agency = ("--mcn", "m1", "--status", "in_progress", "--id", "o1x2", "--limit", "500")
    names, _ = listed(earnest("tasks", "--json", *agency, *place))
    assert names
    assert all(one.startswith("o1x2") for one in names)
    since = ("--created-after", "2026-03-01T00:00:00+08:00")
    assert len(listed(earnest("tasks", "--json", *since, *place))[0]) < len(orders)


def test_a_table_says_that_the_list_goes_on(sqlite_url: str, place: tuple[str, ...]) -> None:
    engine = open_database(sqlite_url)
    migrate(engine)
    put(engine, "creators", sign([("k1", "m1")]))
    put(engine, "orders", crowd(12, ("k1",)))
    engine.dispose()
    said = earnest("tasks", "--mcn", "m1", "--limit", "10", *place)
    head, _, *lines = said.out.splitlines()[1:]
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
    said = earnest(*MISUSED[kind], *place)
    assert (said.status, said.out) == (2, "")
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("told")
def test_a_cursor_of_nobodys_is_refused(place: tuple[str, ...]) -> None:
    said = earnest("tasks", "--cursor", "bm8", *place)
    assert (said.status, said.complaint()) == (2, "earnest: --cursor: none of ours")


@pytest.mark.parametrize("name", Name)
def test_a_report_says_the_same_in_every_form(
    told: Store, place: tuple[str, ...], name: Name
) -> None:
    del told
    by = By.MCN
    asked = ("reports", name.value, "--by", by.value, "--hours", "9999")
    found = json.loads(earnest(*asked, "--json", *place).out)
    columns = ("mcn", *COLUMNS[name])
    assert (found["report"], found["by"], found["zone"]) == (name, by, "Asia/Shanghai")
    rows = list(csv.DictReader(io.StringIO(earnest(*asked, "--csv", *place).out)))
    assert rows == [
        {one: "" if row[one] is None else str(row[one]) for one in columns} for row in found["rows"]
    ]
    table = earnest(*asked, *place).out
    assert {"m1", "m2"} <= {row["mcn"] for row in found["rows"]}
    assert all(row["mcn"] in table for row in found["rows"] if row["mcn"])


def test_money_agrees_with_the_books(told: Store, place: tuple[str, ...]) -> None:
    (sums,) = json.loads(earnest("reports", "money", "--json", *place).out)["rows"]
    books = Reader(told).balances()
    assert sums["held_fen"] == books["escrow"]
    assert sums["fees_fen"] == books["service_fees"]
    said = earnest("reports", "money", *place).out
    assert f"{sums['received_fen']:,}" in said
    assert said.splitlines()[0] == "Money (fen)"


def test_months_are_named(told: Store, place: tuple[str, ...]) -> None:
    del told
    said = earnest("reports", "funnel", "--by", "month", *place)
    assert "Months are those of Asia/Shanghai." in said.out


def test_an_empty_database_has_nothing_to_report(sqlite_url: str, place: tuple[str, ...]) -> None:
    engine = open_database(sqlite_url)
    migrate(engine)
    engine.dispose()
    assert earnest("tasks", *place).out == "No tasks.\n"
    for name in BREAKDOWNS:
        assert earnest("reports", name.value, *place).out == "Nothing to report.\n"
        assert json.loads(earnest("reports", name.value, "--json", *place).out)["rows"] == []


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    said = earnest("tasks", "--var", tmp_path)
    assert said.status == 2
    assert list(tmp_path.iterdir()) == []
