"""Parked commands: what comes before its order waits for it, and is judged right after it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.commands import COMMAND_KINDS
from models.commands.parsing import parse_command, read_command, write_command
from models.fields import MICROSECOND, format_instant
from models.ledger import Posting
from models.policy import Policy
from models.service.handlers import expire_parked
from models.service.outcome import JudgedCommand, recorded_events
from ops.web.openapi import example
from tests.support.sample_commands import place
from tests.support.stories import (
    BALANCE,
    DEPOSIT,
    MICRO,
    POLICY,
    START,
    OrderStory,
    audit,
    read_table,
    sender,
    span,
    story_with_parties,
)

ACCEPT: dict[str, Any] = {"kind": "accept_order", "by": sender("creator"), "order_id": "o1"}
CANCEL: dict[str, Any] = {"kind": "cancel_order", "by": sender("client"), "order_id": "o1"}
PAUSE = {"kind": "pause_clock", "by": sender("operator"), "order_id": "o1", "reason": "wait"}


def payment(payment_id: str, shares: dict[str, int], **overrides: object) -> dict[str, Any]:
    return {
        "kind": "confirm_payment",
        "by": sender("payments"),
        "payment_id": payment_id,
        "paid_at": "2026-03-02T02:00:00Z",
        "amount_fen": sum(shares.values()),
        "shares": [{"order_id": order_id, "amount_fen": fen} for order_id, fen in shares.items()],
    } | overrides


def submit(
    story: OrderStory, body: dict[str, Any], after: str = "0s", name: str | None = None
) -> list[JudgedCommand]:
    """Submit a command some time after the beginning, under an id of its own or this one."""
    return story.submit(body | {"id": name or f"sub_{story.handled_count:05}"}, START + span(after))


def outcomes_of(judged: list[JudgedCommand]) -> list[tuple[str, str | None]]:
    """Say what each command came to."""
    return [(entry.command.kind, entry.outcome.reason) for entry in judged]


ASKED_BEFORE = read_table("""
    command        grace   placed   becomes
    accept_order   5s      0s       wrong_state
    accept_order   5s      5s       wrong_state
    accept_order   5s      5s+1us   unknown_order
    cancel_order   5s      5s       -
    cancel_order   5s      5s+1us   unknown_order
    cancel_order   5s      1h       unknown_order
    cancel_order   0s      0s       -
    cancel_order   0s      1us      unknown_order
    pause_clock    1h      1h       -
    pause_clock    1h      1h+1us   unknown_order
    operator_act   5s      5s       -
    operator_act   5s      5s+1us   unknown_order
""")

BODIES = {
    "accept_order": ACCEPT,
    "cancel_order": CANCEL,
    "pause_clock": PAUSE,
    "operator_act": {
        "kind": "operator_act",
        "by": sender("operator"),
        "command": {"kind": "cancel_order", "order_id": "o1"},
        "reason": "by telephone",
    },
}


@pytest.mark.parametrize("woken", [True, False], ids=["woken", "not woken"])
@pytest.mark.parametrize("row", ASKED_BEFORE, ids=lambda row: " ".join(row.values()))
def test_what_is_asked_before_the_placement_is_judged_after_it_or_was_unknown(
    row: dict[str, str],
    woken: bool,  # noqa: FBT001 - the name of the parameter says all
) -> None:
    story = story_with_parties(Policy(placement_grace=span(row["grace"])))
    assert submit(story, BODIES[row["command"]], name="cmd_early") == []
    (key,) = story.uow.parked
    at = START + span(row["placed"])
    judged = story.expire(key, at) if woken else []
    judged += submit(story, place("o1"), row["placed"], name="cmd_placement")
    reasons = {entry.command.kind: entry.outcome.reason for entry in judged}
    reason = None if row["becomes"] == "-" else row["becomes"]
    assert reasons == {"place_order": None, row["command"]: reason}
    (early,) = (entry for entry in judged if entry.command.kind == row["command"])
    judged_at = START + span(row["grace"]) if reason == "unknown_order" else at
    assert (early.received_at, early.at, early.number) == (START, judged_at, int(key))
    assert (story.uow.parked, set(story.uow.parked_until.values())) == ({}, {()})
    assert story.uow.receipts[early.command.key].received_at == START
    assert audit(story) == []


def test_a_command_that_nobody_places_an_order_for_is_answered_after_its_grace() -> None:
    story = story_with_parties()
    submit(story, ACCEPT)
    (key,) = story.uow.parked
    answer_at = START + POLICY.placement_grace
    assert story.uow.next_wakeup(f"parked:{key}") == (answer_at, True)
    assert story.expire(key, answer_at) == []
    assert story.wake(f"parked:{key}", answer_at + MICRO) == ()
    assert outcomes_of(story.expire(key, answer_at + MICRO)) == [("accept_order", "unknown_order")]
    assert story.expire(key, answer_at + MICRO) == []
    assert story.uow.next_wakeup(f"parked:{key}") is None


def test_what_waits_is_judged_in_the_order_of_its_receipt() -> None:
    story = story_with_parties()
    for body in (PAUSE, ACCEPT, CANCEL, PAUSE):
        submit(story, body)
    judged = submit(story, place("o1"), "1s")
    assert outcomes_of(judged) == [
        ("place_order", None),
        ("pause_clock", None),
        ("accept_order", "wrong_state"),
        ("cancel_order", None),
        ("pause_clock", "wrong_state"),
    ]


def test_only_what_waits_for_the_order_is_released_by_its_placement() -> None:
    story = story_with_parties()
    submit(story, CANCEL | {"order_id": "o2"})
    submit(story, CANCEL)
    assert len(submit(story, place("o1"))) == 2
    assert [waiting.order_id for waiting in story.uow.parked.values()] == ["o2"]


def test_a_placement_that_is_refused_releases_nothing() -> None:
    story = story_with_parties()
    submit(story, CANCEL)
    judged = submit(story, place("o1") | {"creator_id": "nobody"})
    assert outcomes_of(judged) == [("place_order", "unknown_creator")]
    assert outcomes_of(submit(story, place("o1"), "1s")) == [
        ("place_order", None),
        ("cancel_order", None),
    ]


REPEATS: list[tuple[dict[str, Any], str, str | None]] = [
    (CANCEL, "duplicate", None),
    (CANCEL | {"reason": "changed my mind"}, "rejected", "id_reused"),
    (CANCEL | {"order_id": "o2"}, "rejected", "id_reused"),
    (place("o2"), "rejected", "id_reused"),
    (place("o1"), "rejected", "id_reused"),
]


@pytest.mark.parametrize(("repeat", "outcome", "reason"), REPEATS)
def test_a_repeat_waits_behind_what_it_repeats_whatever_it_is_about(
    repeat: dict[str, Any], outcome: str, reason: str | None
) -> None:
    story = story_with_parties()
    submit(story, place("o2"))
    submit(story, CANCEL, name="cmd_again")
    submit(story, PAUSE)
    assert submit(story, repeat | {"by": sender("client")}, "1s", "cmd_again") == []
    judged = submit(story, place("o1"), "2s")
    assert [entry.command.id for entry in judged[1:3]] == ["cmd_again", "cmd_again"]
    assert (judged[2].outcome.outcome, judged[2].outcome.reason) == (outcome, reason)
    assert judged[2].at == START + span("2s")
    assert judged[3].command.kind == "pause_clock"


def test_a_repeat_waits_no_longer_than_what_it_repeats() -> None:
    story = story_with_parties()
    submit(story, CANCEL, name="cmd_again")
    submit(story, CANCEL, "4s", "cmd_again")
    keys = list(story.uow.parked)
    assert {story.uow.next_wakeup(f"parked:{key}") for key in keys} == {(START + span("5s"), True)}
    judged = story.expire(keys[1], START + span("6s"))
    assert [(entry.outcome.outcome, entry.outcome.reason) for entry in judged] == [
        ("rejected", "unknown_order"),
        ("duplicate", "unknown_order"),
    ]
    assert {entry.at for entry in judged} == {START + span("5s")}


def test_a_repeat_that_comes_after_the_grace_finds_the_answer() -> None:
    story = story_with_parties()
    submit(story, CANCEL, name="cmd_again")
    repeat, first = submit(story, CANCEL, "6s", "cmd_again")
    assert (first.outcome.reason, first.at) == ("unknown_order", START + span("5s"))
    assert (repeat.outcome.outcome, repeat.at) == ("duplicate", START + span("6s"))


def test_a_command_delivered_twice_waits_once() -> None:
    story = story_with_parties()
    submit(story, CANCEL, name="cmd_early")
    story.handled_count -= 1
    assert submit(story, CANCEL, name="cmd_early") == []
    assert len(submit(story, place("o1"))) == 2


def test_the_same_id_of_another_sender_does_not_wait_behind_it() -> None:
    story = story_with_parties()
    submit(story, CANCEL, name="wx-4200001")
    (judged,) = submit(story, payment("p1", {"o9": 1}), name="wx-4200001")
    assert judged.outcome.outcome == "applied"


def test_a_sender_has_so_many_waiting_and_one_more_is_unknown_at_once() -> None:
    story = story_with_parties(Policy(parked_limit=2))
    submit(story, CANCEL, name="cmd_first")
    submit(story, CANCEL | {"order_id": "o2"})
    one_more = submit(story, CANCEL | {"order_id": "o3"}, "1s")
    assert [(entry.outcome.reason, entry.at) for entry in one_more] == [
        ("unknown_order", START + span("1s"))
    ]
    assert submit(story, ACCEPT, "1s") == [], "another sender has room"
    (repeat,) = submit(story, CANCEL, "1s", "cmd_first")
    assert repeat.outcome.reason == "unknown_order"
    placement, released, accept = submit(story, place("o1"), "2s")
    assert (released.command.id, released.outcome.reason) == ("cmd_first", None)
    assert (placement.outcome.reason, accept.outcome.reason) == (None, "wrong_state")
    assert submit(story, CANCEL | {"order_id": "o4"}, "2s") == [], "there is room again"


@pytest.mark.parametrize("recorded_kind", ["receipt", "order"])
def test_what_can_be_answered_at_once_does_not_wait(recorded_kind: str) -> None:
    story = story_with_parties()
    if recorded_kind == "order":
        submit(story, place("o1"))
    else:
        story.handle({"id": "cmd_known"} | CANCEL, START)
    (judged,) = submit(story, CANCEL, "6s", "cmd_known")
    assert judged.outcome.outcome == ("applied" if recorded_kind == "order" else "duplicate")


def test_resolving_suspense_never_waits_for_an_order() -> None:
    story = story_with_parties()
    fields = {"payment_id": "p1", "order_id": "o1", "to": "refund", "reason": "typed wrongly"}
    body = {"kind": "resolve_suspense", "by": sender("operator")} | fields
    assert outcomes_of(submit(story, body)) == [("resolve_suspense", "unknown_suspense")]
    to_order = body | {"to": "order", "target_order_id": "o2"}
    assert outcomes_of(submit(story, to_order)) == [("resolve_suspense", "unknown_order")]


def test_what_is_malformed_at_its_receipt_waits_for_nothing() -> None:
    story = story_with_parties()
    body = {"kind": "propose_schedule", "by": sender("client"), "order_id": "o1"}
    past = body | {"expected_publish_at": format_instant(START - MICROSECOND)}
    assert outcomes_of(submit(story, past)) == [("propose_schedule", "malformed")]
    assert story.uow.parked == {}
    # What was possible then is no less so when its order comes.
    soon = body | {"expected_publish_at": format_instant(START + span("3s"))}
    assert submit(story, soon, name="cmd_soon") == []
    assert submit(story, past, "1s", name="cmd_soon") != [], "a malformed repeat waits for nothing"
    judged = submit(story, place("o1"), "4s", name="cmd_placement")
    assert outcomes_of(judged) == [("place_order", None), ("propose_schedule", "wrong_state")]


def test_a_command_that_waited_in_vain_is_answered_by_its_repeat_and_takes_no_room() -> None:
    story = story_with_parties(Policy(parked_limit=1))
    assert submit(story, CANCEL | {"order_id": "o9"}, name="cmd_in_vain") == []
    # Nobody has woken it: its wait is over all the same.
    assert submit(story, CANCEL, "6s", name="cmd_waits") == []
    judged = submit(story, CANCEL | {"order_id": "o9"}, "7s", name="cmd_in_vain")
    assert [entry.outcome.outcome for entry in judged] == ["duplicate", "rejected"]
    judged = submit(story, place("o1"), "8s", name="cmd_placement")
    assert outcomes_of(judged) == [("place_order", None), ("cancel_order", None)]


def test_a_rollback_restores_what_waits_and_its_count() -> None:
    story = story_with_parties()
    submit(story, CANCEL)
    before = dict(story.uow.parked), dict(story.uow.parked_until)
    story.uow.savepoint()
    submit(story, PAUSE)
    submit(story, place("o1"))
    assert story.uow.parked == {}
    story.uow.rollback()
    assert (story.uow.parked, story.uow.parked_until) == before
    story.uow.savepoint()
    expire_parked(story.uow, next(iter(story.uow.parked)), START + span("1h"))
    story.uow.rollback()
    assert (story.uow.parked, story.uow.parked_until) == before


# ------------------------------------------------------------------ shares in suspense
SHARES = read_table("""
    paid        client  share   placed  by         applied
    alone       -       10500   0s      client     yes
    alone       -       10500   5s      client     yes
    alone       -       10500   5s+1us  client     no
    alone       -       10500   5s      client:c2  yes
    alone       -       10501   5s      client     no
    with_known  -       10500   5s      client     yes
    with_known  -       10500   5s      client:c2  no
""")


@pytest.mark.parametrize("row", SHARES, ids=lambda row: " ".join(row.values()))
def test_a_share_is_applied_at_the_placement_or_waits_on(row: dict[str, str]) -> None:
    story = story_with_parties()
    submit(story, place("o0"))
    neighbours = {"o0": DEPOSIT} if row["paid"] == "with_known" else {}
    submit(story, payment("p1", {"o1": int(row["share"])} | neighbours))
    (judged,) = submit(story, place("o1") | {"by": sender(row["by"])}, row["placed"])
    item = story.uow.suspended["p1:o1"]
    is_applied = row["applied"] == "yes"
    types = [event.fact.type for event in judged.outcome.events]
    if is_applied:
        assert types == ["order.placed", "suspense.resolved", "payment.applied", "order.offered"]
        resolved, paid = (event.published() for event in judged.outcome.events[1:3])
        assert (resolved["to"], resolved["by"]) == ("order", "placement")
        assert paid["source"] == "suspense"
        assert {event.caused_by for event in judged.outcome.events} == {
            f"command:{judged.command.key}"
        }
        assert (item.resolved_at, item.wake_at) == (judged.at, None)
    else:
        # Whoever was not told in time that the money waits is told now, as of then.
        late_alerts = ["operator.alerted"] if row["placed"] == "5s+1us" else []
        assert types == ["order.placed", *late_alerts]
        assert item.resolved_at is None
    assert story.order().held_fen == (DEPOSIT if is_applied else 0)
    assert story.accounts().get("suspense", 0) == (0 if is_applied else int(row["share"]))
    assert audit(story) == []


def test_a_share_moves_from_suspense_to_escrow_in_one_posting() -> None:
    story = story_with_parties()
    submit(story, payment("p1", {"o1": DEPOSIT}))
    submit(story, place("o1"))
    moves = [(posting.source, posting.target) for _, posting in story.uow.postings]
    assert moves == [("psp", "suspense"), ("suspense", "escrow:o1")]
    sources = [event.published()["source"] for event in story.events_of("payment.applied")]
    story.pay("p2", {"o1": BALANCE})
    assert sources == ["suspense"]
    assert story.events_of("payment.applied")[-1].published()["source"] == "psp"


def test_the_first_order_placed_for_a_payment_says_whose_money_it_is() -> None:
    story = story_with_parties()
    submit(story, payment("p1", {"o1": DEPOSIT, "o2": DEPOSIT, "o3": DEPOSIT}))
    for order_id, by in (("o2", "client:c2"), ("o1", "client"), ("o3", "client:c2")):
        submit(story, place(order_id) | {"by": sender(by)}, "1s")
    held_by_order = {order.order_id: order.held_fen for order in story.uow.orders.values()}
    assert held_by_order == {"o2": DEPOSIT, "o1": 0, "o3": DEPOSIT}
    assert story.uow.payments["p1"].client_id == "c2"
    assert audit(story) == []


def test_commands_and_shares_are_judged_in_one_order_of_receipt() -> None:
    story = story_with_parties()
    submit(story, ACCEPT)
    submit(story, payment("p1", {"o1": DEPOSIT}))
    submit(story, ACCEPT)
    submit(story, payment("p2", {"o1": BALANCE}))
    judged = submit(story, place("o1"), "1s")
    assert outcomes_of(judged) == [
        ("place_order", None),
        ("accept_order", "wrong_state"),
        ("accept_order", None),
    ]
    placement_types = [event.fact.type for event in judged[0].outcome.events]
    assert placement_types.count("payment.applied") == 2
    assert placement_types[-1] == "order.funded"
    order_events = [e for e in recorded_events(judged) if e.order_id == "o1"]
    assert [event.sequence for event in order_events] == list(range(1, len(order_events) + 1))
    assert story.order().state == "in_fulfilment"
    assert audit(story) == []


def test_money_after_a_cancellation_that_waited_stays_in_suspense() -> None:
    story = story_with_parties()
    submit(story, CANCEL)
    submit(story, payment("p1", {"o1": DEPOSIT}))
    submit(story, place("o1"), "1s")
    assert (story.order().reason, story.accounts()["suspense"]) == ("client_cancelled", DEPOSIT)
    assert audit(story) == []


ALERTED = read_table("""
    placed  share  resolved  woken    alerts
    -       10500  -         5s       0
    -       10500  -         5s+1us   1
    5s      10500  -         1h       0
    5s      7      -         1h       1
    6s      10500  -         1h       1
    -       10500  5s        1h       0
    -       10500  5s+1us    1h       1
""")


@pytest.mark.parametrize("row", ALERTED, ids=lambda row: " ".join(row.values()))
def test_an_operator_is_told_once_of_money_that_still_waits_when_its_grace_is_over(
    row: dict[str, str],
) -> None:
    story = story_with_parties()
    submit(story, payment("p1", {"o1": int(row["share"])}))
    assert story.uow.next_wakeup("suspense:p1:o1") == (START + span("5s"), True)
    if row["placed"] != "-":
        submit(story, place("o1"), row["placed"])
    if row["resolved"] != "-":
        fields = {"payment_id": "p1", "order_id": "o1", "to": "refund", "reason": "back"}
        body = {"kind": "resolve_suspense", "by": sender("operator")} | fields
        assert outcomes_of(submit(story, body, row["resolved"])) == [("resolve_suspense", None)]
    for _ in range(2):
        story.wake("suspense:p1:o1", START + span(row["woken"]))
    alerts = story.events_of("operator.alerted")
    assert len(alerts) == int(row["alerts"])
    for alert in alerts:
        assert (alert.subject, alert.at) == ("payment:p1", START + span("5s"))
        assert alert.published()["alert"] == "unknown_order"
        assert story.uow.next_wakeup("suspense:p1:o1") is None
    assert audit(story) == []


def test_an_audit_notices_a_share_that_came_out_of_suspense_and_left_it_full() -> None:
    story = story_with_parties()
    submit(story, payment("p1", {"o1": DEPOSIT}))
    submit(story, place("o1"))
    posted_event, _ = story.uow.postings.pop()
    story.uow.postings.append((posted_event, Posting("psp", "escrow:o1", DEPOSIT)))
    assert {finding.law for finding in audit(story)} == {"posted", "psp", "suspense"}


@pytest.mark.parametrize("kind", sorted(COMMAND_KINDS))
def test_a_command_that_is_written_is_read_as_the_same_command(kind: str) -> None:
    command = parse_command(json.dumps(example(kind)))
    assert read_command(write_command(command)) == command
    assert read_command(write_command(command)).fingerprint() == command.fingerprint()
