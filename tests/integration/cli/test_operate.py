"""Operate: an operator at a terminal sees what would happen, does it once, and finds it logged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.policy import Policy
from ops.local.up import LocalStack
from tests.support import sample_commands
from tests.support.command_line import CommandResult, run_earnest, run_in_process
from workers.database.engine import open_database
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.settings import Settings

REASON_OPTIONS = ("--reason", "the payment provider was down", "--as", "ann")

OFFERS = ("a_1", "a_2", "b_1", "b_2", "c_1", "d_1", "d_2", "e_1", "e_2", "e_3", "g_1", "h_1")
"""Orders on offer; each test has a client of its own, whose name theirs begin with."""


@pytest.fixture(scope="module")
def var_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run everything, embedded, for all tests of this module."""
    folder = tmp_path_factory.mktemp("var")
    settings = Settings.read({"EARNEST_WEB_BIND": "127.0.0.1:0"}, var=folder)
    with LocalStack(settings, workers=1, quiet=True):
        placements = [
            sample_commands.place(order_id, f"client:{order_id.partition('_')[0]}")
            for order_id in OFFERS
        ]
        payments = [
            sample_commands.pay(f"pay_{order_id}", {order_id: 10_500}) for order_id in OFFERS
        ]
        stray = sample_commands.pay("stray", {"nobody": 700})
        submit(folder, *sample_commands.admit(), *placements, *payments, stray)
        yield folder


def submit(var: Path, *commands: sample_commands.SampleCommand) -> None:
    lines = "\n".join(map(json.dumps, commands))
    result = run_earnest("submit", "-", "--wait", "--var", var, stdin=lines)
    assert {line["outcome"] for line in result.lines()} <= {"applied"}


def operate(var: Path, *arguments: str) -> CommandResult:
    return run_in_process("operate", *arguments, *REASON_OPTIONS, "--var", var)


def operate_json(var: Path, *arguments: str) -> dict[str, Any]:
    """Operate, and return the one JSON object that says what came of it."""
    (report,) = operate(var, *arguments, "--json").lines()
    return report


def order_events(var: Path, order_id: str, kind: str) -> list[dict[str, Any]]:
    engine = open_database(Settings.read({}, var=var).database_url)
    timeline = Reader(Store(engine, Policy())).timeline(order_id)
    engine.dispose()
    return [event.published() for event in timeline if event.fact.type == kind]


def test_operate_does_nothing_without_yes(var_folder: Path) -> None:
    report = operate_json(var_folder, "pause", "--client", "a")
    assert (report["run"], report["outcomes"]) == (None, None)
    assert (report["forecast"]["applied"], report["forecast"]["by_state"]) == (2, {"offered": 2})
    assert order_events(var_folder, "a_1", "clock.stopped") == []
    result = operate(var_folder, "pause", "--client", "a")
    assert (result.status, "Nothing was done: --yes does it." in result.out) == (0, True)
    assert operate(var_folder, "pause", "--client", "a", "--yes", "--dry-run").status == 2


def test_more_time_is_given_to_each_order_once_however_often_it_is_asked(var_folder: Path) -> None:
    before = datetime.fromisoformat(order_events(var_folder, "b_1", "order.offered")[0]["due_at"])
    arguments = ("extend", "--client", "b", "--by", "PT3H", "--yes")
    report = operate_json(var_folder, *arguments)
    assert report["outcomes"]["applied"] == 2
    (extension,) = order_events(var_folder, "b_1", "deadline.extended")
    assert datetime.fromisoformat(extension["due_at"]) == before + timedelta(hours=3)
    repeated_result = operate(var_folder, *arguments)
    assert repeated_result.status == 2
    assert f"run {report['run']} did the same" in repeated_result.error_line()
    by_another = ("--reason", "another reason", "--as", "bob")
    assert (
        "did the same"
        in run_in_process("operate", *arguments, *by_another, "--var", var_folder).error_line()
    )
    assert len(order_events(var_folder, "b_1", "deadline.extended")) == 1
    assert operate_json(var_folder, *arguments, "--again")["outcomes"]["applied"] == 2
    assert len(order_events(var_folder, "b_2", "deadline.extended")) == 2


def test_the_contract_command_extend_does_the_same_as_operate(var_folder: Path) -> None:
    (offer,) = order_events(var_folder, "c_1", "order.offered")
    due_at = datetime.fromisoformat(offer["due_at"])
    window = [(due_at + timedelta(seconds=n)).isoformat() for n in (-1, 1)]
    arguments: tuple[str | Path, ...] = (
        "--client",
        "c",
        "--due-between",
        *window,
        "--by",
        "PT3H",
        *REASON_OPTIONS,
        "--var",
        var_folder,
    )
    (report,) = run_in_process("extend", *arguments, "--json").lines()
    assert report["forecast"]["applied"] == 1


def test_operate_skips_orders_that_would_be_refused_and_says_why(var_folder: Path) -> None:
    submit(var_folder, sample_commands.command("cancel_order", "client:d", "d_2"))
    report = operate_json(var_folder, "cancel", "d_1", "d_2", "nobody", "--yes")
    assert report["forecast"]["refused"] == {"unknown_order": 1, "wrong_state": 1}
    assert report["outcomes"]["applied"] == 1
    (cancellation,) = order_events(var_folder, "d_1", "order.cancelled")
    assert (cancellation["note"], cancellation["by"]) == (REASON_OPTIONS[1], "operator:ann")
    assert report["forecast"]["moves"] == [
        {"from": "escrow", "to": "refunds_payable", "amount_fen": 10_500}
    ]
    refused_result = operate(var_folder, "cancel", "d_2", "--yes")
    assert (refused_result.status, "would be refused: wrong_state" in refused_result.out) == (
        1,
        True,
    )


def test_orders_to_operate_on_are_named_in_a_file(var_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "orders"
    file.write_text("e_3\n\n  e_1\ne_3\n")
    report = operate_json(var_folder, "pause", "--orders", str(file), "--yes")
    assert report["outcomes"]["applied"] == 2
    assert order_events(var_folder, "e_2", "clock.stopped") == []
    file.write_text("e_1\nno id\n")
    assert (
        "'no id' is no order's id"
        in operate(var_folder, "pause", "--orders", str(file)).error_line()
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pause"], "which orders?"),
        (["extend", "f_1", "--until", "tomorrow"], "until: "),
        (["pause", "--due-between", "now", "then"], "--due-between: an instant like"),
        (["pause", "--orders", "/nowhere"], "/nowhere: No such file"),
        (["act", "reject_script", "f_1", "--comment", ""], "comment: "),
    ],
)
def test_an_invalid_operate_command_is_refused_in_one_line(
    var_folder: Path, arguments: list[str], complaint: str
) -> None:
    result = operate(var_folder, *arguments)
    assert result.status == 2
    assert complaint in result.error_line()


def test_an_operator_stands_in_for_a_party_and_sees_what_came_of_it(var_folder: Path) -> None:
    arguments = ("act", "accept_order", "g_1", "--revised-amount-fen")
    assert "refused: out_of_range" in operate(var_folder, *arguments, "150000").out
    result = operate(var_folder, *arguments, "110000", "--yes")
    assert result.status == 0
    assert "It is awaiting_balance. Next: it waits for the client" in result.out
    (acceptance,) = order_events(var_folder, "g_1", "order.accepted")
    assert (acceptance["by"], acceptance["amount_fen"]) == ("operator:ann", 110_000)


def test_money_in_suspense_is_sent_back_from_the_terminal(var_folder: Path) -> None:
    arguments = (
        "resolve_suspense",
        "--payment-id",
        "stray",
        "--order-id",
        "nobody",
        "--to",
        "refund",
    )
    report = operate_json(var_folder, *arguments, "--yes")
    assert report["outcomes"]["applied"] == 1
    assert {"from": "suspense", "to": "refunds_payable", "amount_fen": 700} in report["forecast"][
        "moves"
    ]
    assert "refused: unknown_suspense" in operate(var_folder, *arguments).out


def test_the_operator_log_is_read_by_operator_and_by_order(var_folder: Path) -> None:
    for kind, operator in (("pause", "bob"), ("resume", "ann")):
        run_in_process(
            "operate",
            kind,
            "h_1",
            "--reason",
            "ill",
            "--as",
            operator,
            "--yes",
            "--var",
            var_folder,
        )
    lines = run_in_process("trail", "--order", "h_1", "--json", "--var", var_folder).lines()
    assert [(line["by"], line["act"]) for line in lines] == [
        ("operator:ann", "resume_clock"),
        ("operator:bob", "pause_clock"),
    ]
    assert (lines[1]["before"]["status"], lines[1]["after"]["due_at"]) == ("offered", None)
    result = run_in_process("trail", "--by", "bob", "--order", "h_1", "--var", var_folder)
    assert ("pause_clock" in result.out, "resume_clock" in result.out) == (True, False)
    empty_result = run_in_process("trail", "--since", "2999-01-01T00:00:00Z", "--var", var_folder)
    assert empty_result.out == "No operator did anything.\n"
