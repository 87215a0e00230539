"""Parsing: every malformed text is refused by the name of its field, and without its words."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from models.commands import COMMAND_ADAPTER, COMMAND_KINDS, AnyCommand
from models.commands.orders import PlaceOrder
from models.commands.parsing import (
    MalformedCommand,
    find_command_name,
    parse_command,
    read_command,
    read_json_leniently,
    write_command,
)
from models.reasons import RejectionReason
from tests.support.stories import START, place, sender, span, story_with_parties

PLACE: dict[str, Any] = {
    "id": "cmd_00001",
    "kind": "place_order",
    "by": sender("client"),
    "order_id": "o1",
    "creator_id": "k1",
    "name": "春季新品推广",
    "task_type": "xigua",
    "industry": "美妆",
    "brief": "15秒以上",
    "amount_fen": 100_000,
    "prepay_deposit": True,
}

PAY: dict[str, Any] = {
    "id": "cmd_00001",
    "kind": "confirm_payment",
    "by": sender("payments"),
    "payment_id": "p1",
    "paid_at": "2026-03-02T10:00:00+08:00",
    "amount_fen": 5,
    "shares": [{"order_id": "o1", "amount_fen": 5}],
}

SECRET = "s3cret"
ORDER: dict[str, Any] = {"id": "cmd_00001", "by": sender("client"), "order_id": "o1"}

CREATOR = {
    "id": "cmd_00001",
    "kind": "register_creator",
    "by": sender("platform"),
    "creator_id": "k1",
    "name": "K1",
    "contract": "direct",
}


def refusal(body: object) -> MalformedCommand:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    with pytest.raises(MalformedCommand) as exc_info:
        parse_command(text)
    return exc_info.value


def accept(body: dict[str, Any]) -> AnyCommand:
    return parse_command(json.dumps(body))


AMOUNTS = {
    "text": f'"{SECRET}"',
    "digits as text": '"100"',
    "a fraction": "100.0",
    "truth": "true",
    "an exponent": "1e3",
    "negative": "-1",
    "nothing": "0",
    "minus nothing": "-0",
    "one too many": str(2**53),
    "five thousand digits": "1" + "0" * 5000,
    "no number": "NaN",
    "no end": "Infinity",
    "a list": "[1]",
    "null": "null",
}


@pytest.mark.parametrize("amount", AMOUNTS)
def test_a_wrong_amount_is_refused_wherever_it_stands(amount: str) -> None:
    for body in (PLACE, PAY):
        text = json.dumps(body | {"amount_fen": "HERE"}).replace('"HERE"', AMOUNTS[amount])
        error = refusal(text)
        # A number beyond every reader is refused with the whole text, before fields are looked at.
        assert error.detail.startswith(("amount_fen: ", "command: Invalid JSON: number out of"))
        assert SECRET not in error.detail
        assert error.command_id == "cmd_00001"
    text = json.dumps(PAY | {"shares": [{"order_id": "o1", "amount_fen": "HERE"}]})
    error = refusal(text.replace('"HERE"', AMOUNTS[amount]))
    assert error.detail.startswith(("shares.0.amount_fen: ", "command: Invalid JSON: number out"))


@pytest.mark.parametrize("amount", [1, 2**53 - 1])
def test_the_smallest_and_the_largest_amount_are_accepted(amount: int) -> None:
    assert accept(PAY | {"amount_fen": amount}).kind == "confirm_payment"


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("id", PLACE | {"id": "short"}),
    ("id", PLACE | {"id": "x" * 65}),
    ("id", PLACE | {"id": "cmd 00001"}),
    ("id", PLACE | {"id": "cmd_00001\n"}),
    ("id", PLACE | {"id": 12345678}),
    ("by", PLACE | {"by": "client"}),
    ("by.role", PLACE | {"by": {"role": "clock", "id": "c1"}}),
    ("by.role", PLACE | {"by": {"role": "Client", "id": "c1"}}),
    ("by.id", PLACE | {"by": {"role": "client"}}),
    ("by.id", PLACE | {"by": {"role": "client", "id": "c1" * 33}}),
    ("by.name", PLACE | {"by": {"role": "client", "id": "c1", "name": SECRET}}),
    ("order_id", PLACE | {"order_id": ""}),
    ("order_id", PLACE | {"order_id": "o/1"}),
    ("order_id", PLACE | {"order_id": "订单"}),
    ("name", PLACE | {"name": ""}),
    ("name", PLACE | {"name": "x" * 201}),
    ("name", PLACE | {"name": SECRET + "\0"}),
    ("industry", PLACE | {"industry": 7}),
    ("brief", PLACE | {"brief": "x" * 5_001}),
    ("brief", PLACE | {"brief": SECRET + "\0"}),
    ("brief", PLACE | {"brief": None}),
    ("task_type", PLACE | {"task_type": SECRET}),
    ("prepay_deposit", PLACE | {"prepay_deposit": 1}),
    ("prepay_deposit", PLACE | {"prepay_deposit": "true"}),
    ("prepay_deposit", PLACE | {"prepay_deposit": None}),
    ("received_at", PLACE | {"received_at": "2026-03-02T10:00:00Z"}),
    ("expected_publish_at", PLACE | {"expected_publish_at": "2026-03-02T10:00:00"}),
    ("paid_at", PAY | {"paid_at": "2026-03-02"}),
    ("paid_at", PAY | {"paid_at": 1_772_416_800}),
    ("paid_at", PAY | {"paid_at": "2026-02-30T10:00:00Z"}),
    ("paid_at", PAY | {"paid_at": "2026-03-02T25:00:00Z"}),
    ("paid_at", PAY | {"paid_at": "0001-01-01T00:00:00+08:00"}),
    ("paid_at", PAY | {"paid_at": "yesterday " + SECRET}),
    ("shares", PAY | {"shares": None}),
    ("shares", PAY | {"shares": {"o1": 5}}),
    ("shares.0.order_id", PAY | {"shares": [{"amount_fen": 5}]}),
    ("shares.0.note", PAY | {"shares": [{"order_id": "o1", "amount_fen": 5, "note": SECRET}]}),
    ("reason", ORDER | {"kind": "decline_order", "reason": "x" * 1_001}),
    ("accept_forfeit", ORDER | {"kind": "cancel_order", "accept_forfeit": "no"}),
    ("revised_amount_fen", ORDER | {"kind": "accept_order", "revised_amount_fen": 0}),
    ("needs_script", PLACE | {"task_type": "douyin_live", "needs_script": False}),
    ("mcn_id", CREATOR | {"mcn_id": "m1"}),
    ("mcn_id", CREATOR | {"contract": "mcn"}),
    ("contract", CREATOR | {"contract": SECRET}),
    ("refund_id", ORDER | {"kind": "confirm_refund", "refund_id": "rf_p1~"}),
    ("order_id", ORDER | {"kind": "confirm_refund", "refund_id": "rf_p1"}),
]


@pytest.mark.parametrize(
    ("field", "body"), WRONG, ids=lambda parameter: parameter if isinstance(parameter, str) else ""
)
def test_a_wrong_field_is_named_and_its_words_are_not_repeated(
    field: str, body: dict[str, Any]
) -> None:
    error = refusal(body)
    assert field in {field_error.field for field_error in error.errors}
    assert "command" not in {field_error.field for field_error in error.errors}
    detail = error.detail
    assert SECRET not in detail


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\n", "\u3000", "\u200b\u200b", "\u00ad", "\u2800", "\u3164 \uffa0"),
        *("\u115f\u1160", "\u0301", "\ue000", "a\tb", "a\x1b[31m", "a\x7f", "a\x85b", "a\0"),
        *("\u202e推广", "a\u061c", "\u200ea", "\u200fa", "a\u202a", "\u2066a\u2069"),
    ],
)
@pytest.mark.parametrize("field", ["name", "industry", "brief", "reason"])
def test_a_text_that_shows_nothing_or_not_what_it_is_is_refused(field: str, text: str) -> None:
    body = ORDER | {"kind": "cancel_order"} if field == "reason" else PLACE
    assert {error.field for error in refusal(body | {field: text}).errors} == {field}


@pytest.mark.parametrize("text", ["推广", "¥", "…", "a", "7", "👩\u200d🎤", "a\u200bb", " x "])
@pytest.mark.parametrize("field", ["name", "industry", "brief"])
def test_a_text_with_anything_to_see_is_a_text(field: str, text: str) -> None:
    assert getattr(accept(PLACE | {field: text}), field) == text


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\u2028", "\u2029"])
def test_only_a_name_and_an_industry_stand_on_one_line(line_break: str) -> None:
    text = f"first{line_break}second"
    accept(PLACE | {"brief": text})
    accept(ORDER | {"kind": "cancel_order", "reason": text})
    for field in ("name", "industry"):
        assert refusal(PLACE | {field: text}).errors[0].field == field


def test_what_was_accepted_before_is_read_again_as_it_is() -> None:
    command = accept(ORDER | {"kind": "cancel_order", "reason": "ill"})
    written = write_command(command).replace('"ill"', '""')
    assert read_command(written).model_dump()["reason"] == ""


@pytest.mark.parametrize("field", PLACE)
def test_a_missing_field_is_named(field: str) -> None:
    body = {name: value for name, value in PLACE.items() if name != field}
    assert field in refusal(body).detail


@pytest.mark.parametrize(
    "kind", ["enforce_deadline", "timeout", SECRET, "", 7, None, ["place_order"]]
)
def test_an_unknown_kind_is_refused_by_the_name_of_its_field(kind: object) -> None:
    """Timeouts come from the scheduler, never from a sender."""
    detail = refusal(PLACE | {"kind": kind}).detail
    assert detail.startswith("kind: ")
    assert SECRET not in detail


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "7",
        '"x"',
        "[]",
        "{",
        '{"id": "cmd_00001"',
        "{}{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_text_that_is_no_json_object_is_refused(text: str | bytes) -> None:
    assert refusal(text).detail


@pytest.mark.parametrize(
    ("once", "twice"),
    [
        ('"id": ', '"id": "cmd_00002", "id": '),
        ('"brief": ', '"br\\u0069ef": "x", "brief": '),
        ('"role": ', '"role" : "operator", "role": '),
    ],
)
def test_a_command_that_has_a_field_twice_is_refused(once: str, twice: str) -> None:
    text = json.dumps(PLACE)
    assert once in text
    error = refusal(text.replace(once, twice))
    assert error.detail == "command: a field is there twice"
    assert error.command_id == "cmd_00001"


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "\\ud800\\ud800"])
def test_a_text_with_half_a_surrogate_pair_is_refused(half: str) -> None:
    text = json.dumps(PLACE | {"brief": "HERE"}).replace("HERE", half)
    assert refusal(text).command_id == "cmd_00001"
    assert refusal(text.encode()).command_id == "cmd_00001"
    assert refusal(json.loads(f'"{half}"') + text).detail


def test_an_unknown_field_is_named_in_printable_characters_only() -> None:
    detail = refusal(PLACE | {"\0\x1b[31m\u202e": 1}).detail
    assert detail.isascii()
    assert detail.isprintable()


def test_a_brief_of_a_megabyte_is_refused_and_the_id_of_its_command_kept() -> None:
    assert refusal(PLACE | {"brief": "x" * 1_000_000}).command_id == "cmd_00001"


@pytest.mark.parametrize("opening", ["[", '{"x":'])
def test_a_command_nested_a_hundred_thousand_deep_is_refused_and_its_id_kept(opening: str) -> None:
    closing = {"[": "]", '{"x":': "}"}[opening]
    nested = opening * 100_000 + "1" + closing * 100_000
    for depth in (nested, opening * 100_000):
        text = '{"id": "cmd_00001", "brief": ' + depth + "}"
        assert refusal(text).detail
    assert find_command_name('{"brief": ' + nested + ', "id": "cmd_00001"}')[1] == "cmd_00001"


def test_an_endless_json_text_is_given_up_in_time_that_grows_with_its_length() -> None:
    def least_s(length: int) -> float:
        """Return the processor's time that a text takes, whatever else the processor does."""
        durations_s = []
        for _ in range(3):
            started_s = time.process_time()
            assert read_json_leniently('\\"' * length) is None
            durations_s.append(time.process_time() - started_s)
        return min(durations_s)

    # Eight times as long: 64 times as much, if it grew with the square.
    assert least_s(80_000) < 24 * least_s(10_000)


def test_the_longest_valid_order_is_accepted_however_it_is_spelt() -> None:
    longest = PLACE | {"name": "😀" * 200, "industry": "😀" * 200, "brief": "😀" * 5_000}
    longest |= {"id": "c" * 64, "order_id": "o" * 64, "creator_id": "k" * 64}
    longest |= {"expected_publish_at": "2026-03-02T10:00:00.000000+08:00"}
    assert isinstance(parse_command(json.dumps(longest, indent=4)), PlaceOrder)
    assert isinstance(parse_command(json.dumps(longest, separators=(" , ", " : "))), PlaceOrder)


def test_a_payment_of_five_hundred_shares_is_well_formed() -> None:
    shares = [{"order_id": f"{n:064}", "amount_fen": 1} for n in range(500)]
    assert accept(PAY | {"shares": shares}).kind == "confirm_payment"


def test_the_parser_reads_null_in_an_optional_field_as_absence() -> None:
    unplanned = PLACE | {"expected_publish_at": None}
    assert accept(unplanned).fingerprint() == accept(PLACE).fingerprint()
    cancel = ORDER | {"kind": "cancel_order"}
    spellings = [cancel, cancel | {"accept_forfeit": None}, cancel | {"accept_forfeit": False}]
    spellings.append(cancel | {"reason": None})
    assert len({accept(body).fingerprint() for body in spellings}) == 1
    spellings.append(cancel | {"accept_forfeit": True})
    assert len({accept(body).fingerprint() for body in spellings}) == 2


def test_an_instant_under_two_offsets_is_the_same_command() -> None:
    utc = PAY | {"paid_at": "2026-03-02T02:00:00.000Z"}
    assert accept(utc).fingerprint() == accept(PAY).fingerprint()
    later = PAY | {"paid_at": "2026-03-02T10:00:00.000001+08:00"}
    assert accept(later).fingerprint() != accept(PAY).fingerprint()


def test_a_malformed_command_claims_no_id() -> None:
    story = story_with_parties()
    malformed = PLACE | {"expected_publish_at": "2030-01-01T00:00:00Z"}
    assert story.handle(malformed, START).reason == RejectionReason.MALFORMED
    assert story.handle(PLACE | {"id": "cmd_other", "order_id": "o2"}, START).outcome == "applied"
    assert story.handle(PLACE | {"id": "cmd_00009"}, START).outcome == "applied"
    assert "client:c1:cmd_00009" in story.uow.receipts


@pytest.mark.parametrize(
    ("lead", "reason"), [("0s", None), ("365d", None), ("367d", "malformed"), ("-1s", "malformed")]
)
def test_a_publication_is_planned_within_a_year(lead: str, reason: str | None) -> None:
    planned_at = (START + span(lead)).isoformat()
    assert place(story_with_parties(), expected_publish_at=planned_at).reason == reason


def test_an_order_sent_again_after_its_planned_publication_is_a_duplicate_all_the_same() -> None:
    story = story_with_parties()
    body = PLACE | {"id": "cmd_again", "expected_publish_at": "2026-03-03T00:00:00Z"}
    assert story.handle(body, START).outcome == "applied"
    assert story.handle(body, START + span("2d")).outcome == "duplicate"


KNOWN = """
    accept_order agree_schedule appoint_provider approve_content approve_script cancel_order
    confirm_delivery confirm_payment confirm_payout confirm_refund confirm_unpaid decline_order
    dispute_order end_contract extend_deadline fail_payout fail_refund hold_payout nudge_creator
    operator_act overturn_violation pause_clock place_order propose_schedule publish_work
    rate_order register_client register_creator register_mcn register_provider reinstate_order
    reject_content reject_script release_forfeit release_payout report_violation
    reschedule_order resolve_dispute resolve_suspense restore_quote resume_clock reverse_payout
    revise_quote submit_content submit_script void_payment withdraw_order
"""


def test_every_kind_of_command_in_the_domain_is_known_and_no_other() -> None:
    kinds = set(COMMAND_ADAPTER.json_schema()["discriminator"]["mapping"])
    assert kinds == COMMAND_KINDS
    assert sorted(kinds) == KNOWN.split()
