"""Submit: what goes in by the command line, what comes of it, and what can be read afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ops.submit import Entry, _print_outcomes
from ops.up import Formation
from tests.integration import letters
from tests.integration.desk import Desk
from tests.integration.terminal import Said, earnest
from tests.patience import eventually
from workers.relay import EVENTS
from workers.settings import Settings

SCENARIO = Path(__file__).parents[1] / "scenarios" / "paid_in_full.steps.jsonl"


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run everything, embedded, for all tests of this module; orders are never the same."""
    folder = tmp_path_factory.mktemp("var")
    with Formation(
        Settings.read({"EARNEST_WEB_BIND": "127.0.0.1:0"}, var=folder), workers=1, quiet=True
    ):
        said = submit(folder, *letters.admit())
        assert [line["outcome"] for line in said.lines()] == ["applied"] * 2
        yield folder


def submit(var: Path, *given: letters.Letter | str) -> Said:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in given]
    return earnest("submit", "-", "--wait", "--var", var, given="\n".join(lines))


def test_every_command_of_a_file_is_answered_in_its_order(var: Path) -> None:
    placed, accepted = letters.place("a1"), letters.accept("a1")
    said = submit(var, placed, accepted, placed, placed | {"amount_fen": 7})
    assert said.status == 0
    found = [(one["line"], one["id"], one["outcome"], one["reason"]) for one in said.lines()]
    assert found == [
        (1, placed["id"], "applied", None),
        (2, accepted["id"], "rejected", "wrong_state"),
        (3, placed["id"], "duplicate", None),
        (4, placed["id"], "rejected", "id_reused"),
    ]
    assert "4 submitted" in said.err


def test_a_malformed_command_is_answered_by_line_and_the_rest_is_settled(var: Path) -> None:
    nameless = '{"kind": "accept_order"}'
    deep = '{"id": "deep_0001", "x":' + "[" * 9_999 + "]" * 9_999 + "}"
    bad = letters.place("b1") | {"amount_fen": "7"}
    good = letters.place("b1")
    said = submit(var, nameless, bad, deep, good)
    assert said.status == 0
    answers = said.lines()
    assert [one["reason"] for one in answers] == [*["malformed"] * 3, None]
    assert [one["id"] for one in answers] == [None, bad["id"], "deep_0001", good["id"]]
    assert answers[1]["detail"].startswith("amount_fen: ")


def test_a_line_that_is_no_object_is_named_and_the_rest_is_sent(var: Path) -> None:
    good = letters.place("c1")
    said = earnest(
        *("submit", "-", "--wait", "--var", var),
        given=b'[1]\n\n"text"\n\xff\n' + json.dumps(good).encode() + b"\n",
    )
    assert said.status == 1
    assert [one["id"] for one in said.lines()] == [good["id"]]
    faults = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    assert [one["line"] for one in faults] == [1, 3, 4]


def test_a_step_whose_command_is_no_object_is_named(var: Path) -> None:
    said = submit(var, *(f'{{"at": "2020-01-01T00:00Z", "command": {x}}}' for x in ("[1]", "null")))
    assert (said.status, said.out) == (1, "")
    faults = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    assert [one["line"] for one in faults] == [1, 2]


def test_a_step_is_submitted_without_its_instant(var: Path) -> None:
    placed = letters.place("d1")
    steps = [{"at": "2020-01-01T00:00:00Z", "command": placed}, {"at": "2020-01-02T00:00:00Z"}]
    said = submit(var, *map(json.dumps, steps))
    assert [one["outcome"] for one in said.lines()] == ["applied"]
    (order,) = show(var, "orders", "show", "d1")["events"]
    assert order["at"] > "2026"


def test_without_wait_nothing_is_printed_and_all_the_same_settled(var: Path) -> None:
    said = earnest("submit", "-", "--var", var, given=json.dumps(letters.place("e1")))
    assert (said.status, said.out) == (0, "")
    eventually(lambda: "e1" in show(var, "orders")["orders"])


def test_an_outcome_that_does_not_come_in_time_is_missed_by_line(
    tmp_path: Path, redis_url: str
) -> None:
    assert earnest("migrate", "--var", tmp_path).status == 0
    options = ("--var", tmp_path, "--redis-url", redis_url, "--wait", "--timeout", "0.1")
    said = earnest("submit", "-", *options, given=json.dumps(letters.place("o1")))
    assert (said.status, said.out) == (1, "")
    fault = json.loads(next(line for line in said.err.splitlines() if line.startswith("{")))
    assert fault["line"] == 1
    assert "no outcome after 0.1 s" in fault["error"]


def test_an_outcome_behind_one_that_does_not_come_is_printed_all_the_same(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = letters.admit()[0]
    settled = desk.say(letter, desk.now)
    sent = [(Entry(1, "", "nobody_1"), 77), (Entry(2, "", letter["id"]), settled.stamp)]
    capsys.readouterr()
    assert _print_outcomes(desk.reader, sent, 0.0) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["line"] == 2
    assert json.loads(said.err)["line"] == 1


def show(var: Path, *words: str) -> dict[str, Any]:
    said = earnest(*words, "--json", "--var", var)
    assert (said.status, said.err) == (0, "")
    (found,) = said.lines()
    return found


def test_what_is_shown_as_json_has_the_shape_of_a_simulation(var: Path) -> None:
    *_, summary = earnest("simulate", SCENARIO).lines()
    lines = SCENARIO.read_text("utf-8").splitlines()
    said = submit(var, *(line for line in lines if '"command"' in line))
    assert said.status == 0
    orders, books = show(var, "orders")["orders"], show(var, "books")
    (name, simulated), *_ = summary["orders"].items()
    assert list(orders[name]) == list(simulated)
    assert {key: type(value) for key, value in orders[name].items()} == {
        key: type(value) for key, value in simulated.items()
    }
    assert show(var, "orders", "show", name)["orders"] == {name: orders[name]}
    assert list(books["ledger"]) == list(summary["ledger"])
    assert sum(books["ledger"].values()) == 0
    assert books["audit"] == {"ok": True, "orders": len(orders), "findings": []}


def test_orders_can_be_listed_by_where_they_are(var: Path) -> None:
    submit(var, letters.place("f1"), letters.place("f2"))
    submit(var, letters.ask("cancel_order", "client", "f1"))
    waiting = show(var, "orders", "--status", "awaiting_deposit")["orders"]
    assert "f2" in waiting
    assert {one["status"] for one in waiting.values()} == {"awaiting_deposit"}
    assert "f1" in show(var, "orders", "--status", "cancelled")["orders"]
    table = earnest("orders", "--status", "cancelled", "--var", var).out
    assert "f1" in table
    assert "f2" not in table


def test_one_order_is_shown_with_its_history_and_what_comes_next(var: Path) -> None:
    submit(var, letters.place("g1"))
    said = earnest("orders", "show", "g1", "--var", var)
    assert "order.placed" in said.out
    assert "it waits for the client to pay (10500 fen), until 2" in said.out


def test_what_is_settled_is_published(var: Path) -> None:
    placed = letters.place("h1")
    submit(var, placed)
    with redis.Redis.from_url(Settings.read({}, var=var).redis_url) as wire:

        def told() -> set[str]:
            found = (json.loads(one[b"event"]) for _, one in wire.xrange(EVENTS))
            return {event["subject"] for event in found}

        eventually(lambda: {"order:h1", f"command:{placed['id']}"} <= told())
