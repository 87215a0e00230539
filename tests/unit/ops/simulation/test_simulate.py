"""Simulate: the whole contract with people who try the rules without servers."""

from __future__ import annotations

import io
import json

import pytest

from models.policy import Policy, read_policy
from ops.json_schema import JsonObject
from ops.simulation.simulate import simulate
from tests.support.stories import DEPOSIT, sender

AT = "2026-03-02T10:00:00+08:00"
EMPTY = {"psp": 0, "escrow": 0, "suspense": 0, "refunds_payable": 0, "forfeited_deposits": 0}
EMPTY |= {"service_fees": 0, "payable": 0, "platform_income": 0}
ADMIT = {"kind": "register_creator", "by": sender("platform"), "creator_id": "k1", "name": "K1"}
ADMIT |= {"contract": "direct"}

PLACE = {
    "kind": "place_order",
    "by": sender("client"),
    "order_id": "o1",
    "creator_id": "k1",
    "name": "春季新品推广",
    "task_type": "douyin_video",
    "industry": "美妆",
    "brief": "15秒以上",
    "amount_fen": 100_000,
    "prepay_deposit": True,
}

PAY = {
    "kind": "confirm_payment",
    "by": sender("payments"),
    "payment_id": "p1",
    "paid_at": AT,
    "amount_fen": DEPOSIT,
    "shares": [{"order_id": "o1", "amount_fen": DEPOSIT}],
}

ABOUT = {"order_id": "o1"}
ACCEPT = {"kind": "accept_order", "by": sender("creator"), **ABOUT}
NUDGE = {"kind": "nudge_creator", "by": sender("client"), **ABOUT}


def step_line(at: str, command: JsonObject | None = None, name: str = "cmd_step0") -> str:
    """Write one line; a clock time is one of the first day, in Shanghai."""
    full = at if "T" in at else f"2026-03-02T{at}+08:00"
    return json.dumps({"at": full} | ({"command": {"id": name} | command} if command else {}))


OFFERED = [
    step_line(AT, ADMIT, "cmd_admit"),
    step_line(AT, PLACE, "cmd_place"),
    step_line(AT, PAY, "cmd_money"),
]


def simulate_lines(
    lines: list[str], policy: str = "{}"
) -> tuple[list[JsonObject], list[JsonObject], int]:
    """Return the lines that came out, those on standard error, and the exit status."""
    out, err = io.StringIO(), io.StringIO()
    status = simulate(lines, read_policy(policy), out, err)
    read = [[json.loads(line) for line in stream.getvalue().splitlines()] for stream in (out, err)]
    return read[0], read[1], status


def output_lines(lines: list[str], policy: str = "{}") -> list[JsonObject]:
    out, err, status = simulate_lines(lines, policy)
    assert (err, status) == ([], 0)
    return out


def test_no_input_gives_an_empty_summary() -> None:
    assert simulate_lines([]) == ([{"orders": {}, "ledger": EMPTY}], [], 0)


def test_blank_lines_are_skipped_in_a_simulation() -> None:
    assert output_lines(["", "  \t\n", OFFERED[0] + "\n", "\r\n"]) == output_lines(OFFERED[:1])


def test_a_simulated_outcome_has_its_instant_id_sender_reason_and_events() -> None:
    line = output_lines(OFFERED)[1]
    assert list(line) == ["at", "id", "sender", "outcome", "reason", "events"]
    assert (line["at"], line["id"]) == ("2026-03-02T02:00:00Z", "cmd_place")
    assert line["sender"] == "client:c1"
    assert (line["outcome"], line["reason"]) == ("applied", None)
    (event,) = line["events"]
    assert event.items() >= {"type": "order.placed", "order_id": "o1", "sequence": 1}.items()
    assert event["caused_by"] == "command:client:c1:cmd_place"


def test_the_summary_of_a_simulation_says_everything_about_every_order() -> None:
    assert output_lines(OFFERED)[-1] == {
        "orders": {
            "o1": {
                "status": "offered",
                "reason": None,
                "original_amount_fen": 100_000,
                "amount_fen": 100_000,
                "total_fen": 105_000,
                "deposit_fen": 10_500,
                "held_fen": 10_500,
                "balance_due_fen": 94_500,
            }
        },
        "ledger": EMPTY | {"psp": -10_500, "escrow": 10_500},
    }


def test_a_simulation_does_not_list_outcomes_among_events() -> None:
    types = {event["type"] for line in output_lines(OFFERED)[:-1] for event in line["events"]}
    assert types == {"creator.registered", "order.placed", "payment.applied", "order.offered"}


def test_deadlines_and_reminders_take_effect_at_their_own_instants_on_their_own_lines() -> None:
    lines = output_lines([*OFFERED, step_line("2026-03-09T10:00:00+08:00")])[3:-1]
    assert [(line["at"], line.get("reminder"), line.get("timeout")) for line in lines] == [
        ("2026-03-02T14:00:00Z", "o1", None),
        ("2026-03-02T22:00:00Z", "o1", None),
        ("2026-03-03T01:00:00Z", "o1", None),
        ("2026-03-03T02:00:00Z", None, "o1"),
    ]
    assert [event["type"] for event in lines[-1]["events"]] == ["order.expired", "refund.requested"]
    assert {event["at"] for event in lines[-1]["events"]} == {"2026-03-03T02:00:00Z"}


def test_a_reminder_due_at_a_commands_instant_precedes_it() -> None:
    lines = output_lines([*OFFERED, step_line("22:00:00", ACCEPT)])
    assert ["reminder" in line for line in lines[3:5]] == [True, False]
    assert lines[4]["outcome"] == "applied"


def test_a_command_at_the_deadlines_instant_is_in_time() -> None:
    lines = output_lines([*OFFERED, step_line("2026-03-03T10:00:00+08:00", ACCEPT)])
    assert not [line for line in lines if "timeout" in line]
    assert lines[-2]["outcome"] == "applied"


def test_a_command_after_the_deadline_follows_the_timeout() -> None:
    lines = output_lines([*OFFERED, step_line("2026-03-03T10:00:00.000001+08:00", ACCEPT)])
    assert "timeout" in lines[-3]
    assert (lines[-2]["reason"], lines[-2]["events"]) == ("late", [])


def test_a_reminder_is_not_sent_once_the_order_has_moved_on() -> None:
    lines = output_lines(
        [*OFFERED, step_line("11:00:00", ACCEPT), step_line("2026-03-03T09:30:00+08:00")]
    )
    assert not [line for line in lines if "reminder" in line]


def test_a_simulated_command_that_waited_has_a_line_after_its_placement_as_of_that_instant() -> (
    None
):
    early = step_line("10:00:01", ACCEPT, "cmd_early")
    lines = output_lines([OFFERED[0], early, step_line("10:00:06", PLACE, "cmd_place")])
    assert [(line["at"][11:], line["id"], line["reason"]) for line in lines[:-1]] == [
        ("02:00:00Z", "cmd_admit", None),
        ("02:00:06Z", "cmd_place", None),
        ("02:00:06Z", "cmd_early", "wrong_state"),
    ]


def test_a_simulated_command_that_waited_in_vain_has_a_line_where_its_time_was_over() -> None:
    early = [step_line("10:00:01", ACCEPT | {"order_id": f"o{n}"}, f"cmd_early_{n}") for n in "23"]
    lines = output_lines([OFFERED[0], *early, step_line("10:00:07", PLACE, "cmd_place")])
    assert [(line["at"][11:], line["id"], line["reason"]) for line in lines[1:-1]] == [
        ("02:00:06Z", "cmd_early_2", "unknown_order"),
        ("02:00:06Z", "cmd_early_3", "unknown_order"),
        ("02:00:07Z", "cmd_place", None),
    ]


def test_what_still_waits_at_the_end_of_a_simulation_is_answered_before_the_summary() -> None:
    early = [step_line(AT, ACCEPT | {"order_id": f"o{n}"}, f"cmd_early_{n}") for n in range(2, 14)]
    lines = output_lines([OFFERED[0], *early])
    assert [line["id"] for line in lines[1:-1]] == [f"cmd_early_{n}" for n in range(2, 14)]
    assert {line["at"][11:] for line in lines[1:-1]} == {"02:00:05Z"}
    assert {line["reason"] for line in lines[1:-1]} == {"unknown_order"}


def test_a_simulated_operator_is_told_of_money_that_waits_when_the_grace_is_over() -> None:
    lines = output_lines([OFFERED[0], OFFERED[2], step_line("10:00:06")])
    assert (lines[2]["at"][11:], lines[2]["reminder"]) == ("02:00:05Z", "suspense:p1:o1")
    assert [event["type"] for event in lines[2]["events"]] == ["operator.alerted"]
    assert len(output_lines([OFFERED[0], OFFERED[2], step_line("10:00:05")])) == 3


NO_STEPS = [
    "x",
    "[]",
    "null",
    "{}",
    '{"command": {}}',
    '{"at": "2026-03-02T10:00:00"}',
    '{"at": "2026-03-02T10:00:00+08:00", "then": 1}',
    '{"at": 1772416800}',
    '{"at": "9999-12-31T23:59:59-08:00"}',
    '{"at": "\\ud800"}',
    '{"at": "2026-03-02T10:00:00+08:00", "command": [7]}',
    '{"at": "2026-03-02T10:00:00+08:00", "command": {"id": "cmd_00001"}',
    "[" * 100_000,
    '{"at": ' + "[" * 100_000 + "]" * 100_000 + "}",
]


@pytest.mark.parametrize("text", NO_STEPS, ids=range(len(NO_STEPS)))
def test_a_line_that_is_no_step_is_reported_by_its_number_and_the_rest_still_runs(
    text: str,
) -> None:
    out, err, status = simulate_lines([OFFERED[0], "", text, *OFFERED[1:]])
    assert out == output_lines(OFFERED)
    assert [list(line) for line in err] == [["line", "error"]]
    assert (err[0]["line"], bool(err[0]["error"]), status) == (3, True, 1)


def test_a_line_earlier_than_its_predecessor_is_no_step() -> None:
    early = step_line("09:59:59", NUDGE)
    out, err, status = simulate_lines([*OFFERED, early, step_line("10:00:00", NUDGE, "cmd_nudge")])
    assert (err[0]["line"], status) == (4, 1)
    assert "earlier" in err[0]["error"]
    assert (out[-2]["id"], out[-2]["outcome"]) == ("cmd_nudge", "applied")


def test_a_line_that_is_no_step_sets_no_time() -> None:
    future = '{"at": "2027-01-01T00:00:00Z", "comand": {}}'
    out, err, _ = simulate_lines([OFFERED[0], future, *OFFERED[1:]])
    assert (len(err), out) == (1, output_lines(OFFERED))


@pytest.mark.parametrize(
    ("name", "shown_as"),
    [
        *((name, name) for name in ("cmd_00001", "short", "x" * 65, "指令-零零零一")),
        *((name, None) for name in (7, None, "", "\ud800", "two\nlines", "x" * 201)),
    ],
)
def test_a_malformed_command_keeps_its_id_if_it_has_a_readable_one(
    name: object, shown_as: str | None
) -> None:
    command = {"id": name, "kind": "nudge_creator", "surprise": True}
    line = output_lines([json.dumps({"at": AT, "command": command})])[0]
    assert (line["id"], line["outcome"], line["reason"]) == (shown_as, "rejected", "malformed")
    assert (line["events"], bool(line["detail"])) == ([], True)


@pytest.mark.parametrize(
    "amount", ['"100"', "100.0", "true", "1e3", "-1", "0", str(2**53), "1" * 5000]
)
def test_a_wrong_amount_is_malformed_in_a_simulation_too(amount: str) -> None:
    line = OFFERED[1].replace("100000", amount)
    assert output_lines([OFFERED[0], line])[1]["reason"] == "malformed"


@pytest.mark.parametrize(
    "brief", ["x" * 1_000_000, "nul \0", "\ud800", "[" * 9_000], ids=["long", "nul", "half", "deep"]
)
def test_a_choking_text_is_malformed_once_and_its_neighbours_are_served(brief: str) -> None:
    bad = step_line(AT, PLACE | {"brief": brief, "order_id": "o2"}, "cmd_choke")
    lines = output_lines([*OFFERED[:2], bad, OFFERED[2]])
    assert (lines[2]["id"], lines[2]["reason"]) == ("cmd_choke", "malformed")
    assert lines[3] == output_lines(OFFERED)[2]


def test_a_nested_command_is_malformed_however_deep_it_is() -> None:
    deep = step_line(AT, PLACE | {"brief": "HERE"}).replace('"HERE"', "[" * 100_000 + "]" * 100_000)
    assert output_lines([deep])[0]["reason"] == "malformed"


def test_the_same_step_twice_is_a_duplicate_without_events() -> None:
    lines = output_lines([*OFFERED, OFFERED[1]])
    assert (lines[3]["outcome"], lines[3]["reason"], lines[3]["events"]) == ("duplicate", None, [])
    assert lines[3]["first"] == {"outcome": "applied", "reason": None}
    assert "first" not in lines[1]


def test_the_sender_of_a_malformed_step_is_named_where_it_can_be_read() -> None:
    (line, nameless_line, _), _, _ = simulate_lines(
        [step_line(AT, PLACE | {"amount_fen": 0}), step_line(AT, PLACE | {"by": "somebody"})]
    )
    assert (line["reason"], line["sender"]) == ("malformed", "client:c1")
    assert (nameless_line["reason"], nameless_line["sender"]) == ("malformed", None)


def test_a_step_at_the_last_instant_of_the_calendar_loses_no_step_before_it() -> None:
    """Whatever is said of such a step, the steps before it are not lost."""
    end = "9999-12-31T23:59:59Z"
    out, _, _ = simulate_lines([*OFFERED, step_line(end, PLACE | {"order_id": "o2"})])
    assert "o1" in out[-1]["orders"]


def test_a_policy_changes_what_happens() -> None:
    lines = output_lines([*OFFERED, step_line("12:00:00")], '{"accept_window": "PT1H"}')
    assert lines[-1]["orders"]["o1"]["status"] == "expired"
    assert [line["timeout"] for line in lines if "timeout" in line] == ["o1"]


def test_without_grace_two_deadlines_at_one_instant_both_take_effect() -> None:
    policy = Policy().model_dump_json().replace("PT10M", "PT0S")
    lines = output_lines(
        [*OFFERED, step_line("11:00:00", ACCEPT), step_line("2026-03-20T00:00:00Z")], policy
    )
    events = [event for line in lines if "timeout" in line for event in line["events"]]
    assert [event["type"] for event in events] == ["order.balance_overdue", "order.forfeited"]
    assert {event["at"] for event in events} == {"2026-03-09T03:00:00Z"}
