"""Submit: commands sent by the command line, their outcomes, and what can be read afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from models.commands.parsing import parse_command
from ops.cli.messages import SubmittedLine, _print_outcomes
from ops.local.up import LocalStack
from tests.support import sample_commands
from tests.support.command_line import CommandResult, run_earnest
from tests.support.concurrency import eventually
from tests.support.store_harness import StoreHarness
from workers.outbox.streams import EVENTS_STREAM
from workers.settings import Settings

SCENARIO = Path(__file__).parents[2] / "scenarios" / "paid_in_full.steps.jsonl"


@pytest.fixture(scope="module")
def var_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run everything, embedded, for all tests of this module; orders are never the same."""
    folder = tmp_path_factory.mktemp("var")
    with LocalStack(
        Settings.read({"EARNEST_WEB_BIND": "127.0.0.1:0"}, var=folder), workers=1, quiet=True
    ):
        result = submit_lines(folder, *sample_commands.admit())
        assert [line["outcome"] for line in result.lines()] == ["applied"] * 2
        yield folder


def submit_lines(var: Path, *commands: sample_commands.SampleCommand | str) -> CommandResult:
    lines = [command if isinstance(command, str) else json.dumps(command) for command in commands]
    return run_earnest("submit", "-", "--wait", "--var", var, stdin="\n".join(lines))


def test_every_command_of_a_file_is_answered_in_its_order(var_folder: Path) -> None:
    placement, acceptance = sample_commands.place("a1"), sample_commands.accept("a1")
    result = submit_lines(
        var_folder, placement, acceptance, placement, placement | {"amount_fen": 7}
    )
    assert result.status == 0
    answers = [
        (answer["line"], answer["id"], answer["outcome"], answer["reason"])
        for answer in result.lines()
    ]
    assert answers == [
        (1, placement["id"], "applied", None),
        (2, acceptance["id"], "rejected", "wrong_state"),
        (3, placement["id"], "duplicate", None),
        (4, placement["id"], "rejected", "id_reused"),
    ]
    senders = [answer["sender"] for answer in result.lines()]
    assert senders == ["client:c1", "creator:k1", "client:c1", "client:c1"]
    firsts = [answer.get("first") for answer in result.lines()]
    assert firsts == [None, None, {"outcome": "applied", "reason": None}, None]
    all_limits = [answer.get("limits") for answer in result.lines()]
    limits = {"state": "awaiting_deposit", "allowed": ["appoint_provider"]}
    assert all_limits == [None, limits, None, None]
    assert "4 submitted" in result.err


def test_a_malformed_command_is_answered_by_line_and_the_rest_is_settled(var_folder: Path) -> None:
    nameless = '{"kind": "accept_order"}'
    deep = '{"id": "deep_0001", "x":' + "[" * 9_999 + "]" * 9_999 + "}"
    bad = sample_commands.place("b1") | {"amount_fen": "7"}
    good = sample_commands.place("b1")
    result = submit_lines(var_folder, nameless, bad, deep, good)
    assert result.status == 0
    answers = result.lines()
    assert [answer["reason"] for answer in answers] == [*["malformed"] * 3, None]
    assert [answer["id"] for answer in answers] == [None, bad["id"], "deep_0001", good["id"]]
    assert answers[1]["detail"].startswith("amount_fen: ")


def test_a_line_that_is_no_object_is_named_and_the_rest_is_sent(var_folder: Path) -> None:
    good = sample_commands.place("c1")
    result = run_earnest(
        *("submit", "-", "--wait", "--var", var_folder),
        stdin=b'[1]\n\n"text"\n\xff\n' + json.dumps(good).encode() + b"\n",
    )
    assert result.status == 1
    assert [answer["id"] for answer in result.lines()] == [good["id"]]
    faults = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert [fault["line"] for fault in faults] == [1, 3, 4]


def test_a_step_whose_command_is_no_object_is_named(var_folder: Path) -> None:
    result = submit_lines(
        var_folder,
        *(
            f'{{"at": "2020-01-01T00:00Z", "command": {command_text}}}'
            for command_text in ("[1]", "null")
        ),
    )
    assert (result.status, result.out) == (1, "")
    faults = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert [fault["line"] for fault in faults] == [1, 2]


def test_a_step_is_submitted_without_its_instant(var_folder: Path) -> None:
    placement = sample_commands.place("d1")
    steps = [{"at": "2020-01-01T00:00:00Z", "command": placement}, {"at": "2020-01-02T00:00:00Z"}]
    result = submit_lines(var_folder, *map(json.dumps, steps))
    assert [answer["outcome"] for answer in result.lines()] == ["applied"]
    (event,) = run_json(var_folder, "orders", "show", "d1")["events"]
    assert event["at"] > "2026"


def test_submit_without_wait_prints_nothing_and_the_command_is_settled(var_folder: Path) -> None:
    result = run_earnest(
        "submit", "-", "--var", var_folder, stdin=json.dumps(sample_commands.place("e1"))
    )
    assert (result.status, result.out) == (0, "")
    eventually(lambda: "e1" in run_json(var_folder, "orders")["orders"])


def test_an_outcome_that_does_not_come_in_time_is_missed_by_line(
    tmp_path: Path, redis_url: str
) -> None:
    assert run_earnest("migrate", "--var", tmp_path).status == 0
    options = ("--var", tmp_path, "--redis-url", redis_url, "--wait", "--timeout", "0.1")
    result = run_earnest("submit", "-", *options, stdin=json.dumps(sample_commands.place("o1")))
    assert (result.status, result.out) == (1, "")
    fault = json.loads(next(line for line in result.err.splitlines() if line.startswith("{")))
    assert fault["line"] == 1
    assert "no outcome after 0.1 s" in fault["error"]


def test_an_outcome_behind_one_that_does_not_come_is_printed_all_the_same(
    harness: StoreHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    command = sample_commands.admit()[0]
    submission = harness.settle_alone(command, harness.now)
    entries = [
        (SubmittedLine(1, "", "client:c1:nobody_1"), 77),
        (SubmittedLine(2, "", parse_command(submission.text).key), submission.stamp),
    ]
    capsys.readouterr()
    assert _print_outcomes(harness.reader, entries, 0.0) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["line"] == 2
    assert json.loads(captured.err)["line"] == 1


def run_json(var: Path, *arguments: str) -> dict[str, Any]:
    result = run_earnest(*arguments, "--json", "--var", var)
    assert (result.status, result.err) == (0, "")
    (answer,) = result.lines()
    return answer


def test_orders_and_books_as_json_have_the_shape_of_a_simulation(var_folder: Path) -> None:
    *_, summary = run_earnest("simulate", SCENARIO).lines()
    lines = SCENARIO.read_text("utf-8").splitlines()
    result = submit_lines(var_folder, *(line for line in lines if '"command"' in line))
    assert result.status == 0
    orders, books = run_json(var_folder, "orders")["orders"], run_json(var_folder, "books")
    (name, simulated), *_ = summary["orders"].items()
    assert list(orders[name]) == list(simulated)
    assert {key: type(value) for key, value in orders[name].items()} == {
        key: type(value) for key, value in simulated.items()
    }
    assert run_json(var_folder, "orders", "show", name)["orders"] == {name: orders[name]}
    assert list(books["ledger"]) == list(summary["ledger"])
    assert sum(books["ledger"].values()) == 0
    assert books["audit"] == {"ok": True, "orders": len(orders), "findings": []}


def test_orders_can_be_listed_by_status(var_folder: Path) -> None:
    submit_lines(var_folder, sample_commands.place("f1"), sample_commands.place("f2"))
    submit_lines(var_folder, sample_commands.command("cancel_order", "client", "f1"))
    unpaid_orders = run_json(var_folder, "orders", "--status", "awaiting_deposit")["orders"]
    assert "f2" in unpaid_orders
    assert {order["status"] for order in unpaid_orders.values()} == {"awaiting_deposit"}
    assert "f1" in run_json(var_folder, "orders", "--status", "cancelled")["orders"]
    table = run_earnest("orders", "--status", "cancelled", "--var", var_folder).out
    assert "f1" in table
    assert "f2" not in table


def test_one_order_is_shown_with_its_history_and_what_comes_next(var_folder: Path) -> None:
    submit_lines(var_folder, sample_commands.place("g1"))
    result = run_earnest("orders", "show", "g1", "--var", var_folder)
    assert "order.placed" in result.out
    assert "it waits for the client to pay (10500 fen), until 2" in result.out


def test_a_submitted_command_and_its_order_are_published(var_folder: Path) -> None:
    placement = sample_commands.place("h1")
    submit_lines(var_folder, placement)
    with redis.Redis.from_url(Settings.read({}, var=var_folder).redis_url) as redis_client:

        def published_subjects() -> set[str]:
            events = (
                json.loads(fields[b"event"]) for _, fields in redis_client.xrange(EVENTS_STREAM)
            )
            return {event["subject"] for event in events}

        outcome_subject = f"command:client:c1:{placement['id']}"
        eventually(lambda: {"order:h1", outcome_subject} <= published_subjects())
