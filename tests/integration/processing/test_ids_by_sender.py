"""Ids by sender: the same id from two senders is two commands, in the database as in memory."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.support import sample_commands
from tests.support.sample_commands import SampleCommand
from tests.support.store_harness import StoreHarness
from tests.support.stories import MICRO
from workers.database import schema
from workers.database.engine import writing
from workers.queries.reader import order_history
from workers.queue.messages import Received

SHARED = "cmd_shared"


@pytest.fixture
def offered(harness: StoreHarness) -> StoreHarness:
    """Give a store harness with one order that waits for its creator."""
    harness.admit().offer("o1")
    return harness


def registration(by: str, mcn_id: str) -> SampleCommand:
    fields = {"mcn_id": mcn_id, "name": mcn_id}
    return sample_commands.command("register_mcn", by, **fields) | {"id": SHARED}


def nudge(by: str, order_id: str = "o1") -> SampleCommand:
    return sample_commands.command("nudge_creator", by, order_id) | {"id": SHARED}


def keep_in_inbox(harness: StoreHarness, *senders: str) -> None:
    """Keep a command under the shared id from each sender, all at one stamp."""
    row = {"command_id": SHARED, "fingerprint": b"", "command": "{}", "received_at": 7}
    row |= {"stamp": 7, "message_id": "inbox-x", "reserved": 1}
    with writing(harness.engine) as connection:
        connection.execute(schema.inbox.insert(), [row | {"sender": name} for name in senders])


def settled(harness: StoreHarness) -> list[dict[str, Any]]:
    """Return what was told of the commands under the shared id."""
    outcomes = harness.published("command.settled")
    return [outcome for outcome in outcomes if outcome["command_id"] == SHARED]


def test_commands_of_two_senders_under_one_id_both_take_effect(harness: StoreHarness) -> None:
    harness.handle(registration("platform:one", "n1"), harness.now)
    harness.handle(registration("platform:two", "n2"), harness.now + MICRO)
    assert {row.mcn_id for row in harness.rows("mcns")} == {"n1", "n2"}
    senders = {row.sender for row in harness.rows("receipts") if row.command_id == SHARED}
    assert senders == {"platform:one", "platform:two"}
    harness.check_database()


def test_commands_of_two_senders_under_one_id_both_take_effect_in_one_batch(
    harness: StoreHarness,
) -> None:
    texts = [registration(f"platform:{name}", f"n_{name}") for name in ("one", "two")]
    submissions = [harness.receive(text) for text in texts]
    assert harness.settle(*submissions) == []
    assert [outcome["outcome"] for outcome in settled(harness)] == ["applied", "applied"]
    causes = {event["caused_by"] for event in harness.published("mcn.registered")}
    assert causes == {f"command:platform:{name}:{SHARED}" for name in ("one", "two")}
    # A redelivery says nothing, a repeat is told its own first.
    assert harness.settle(*submissions) == []
    assert len(settled(harness)) == 2
    harness.settle(harness.receive(texts[0]))
    assert settled(harness)[-1]["first"] == {"outcome": "applied", "reason": None}
    assert settled(harness)[-1]["sender"] == "platform:one"


def test_an_id_is_reused_and_repeated_within_one_sender_only(offered: StoreHarness) -> None:
    offered.settle_alone(nudge("client:c2"), offered.now)
    offered.settle_alone(nudge("client:c1"), offered.now)
    offered.settle_alone(nudge("client:c2"), offered.now)
    offered.settle_alone(nudge("client:c1") | {"kind": "confirm_delivery"}, offered.now)
    assert [(outcome["sender"], outcome["reason"]) for outcome in settled(offered)] == [
        ("client:c2", "not_allowed"),
        ("client:c1", None),
        ("client:c2", "not_allowed"),
        ("client:c1", "id_reused"),
    ]
    assert [outcome["outcome"] for outcome in settled(offered)] == [
        *("rejected", "applied", "duplicate", "rejected"),
    ]
    assert offered.reader.audit().findings == []


def test_settling_one_senders_command_leaves_the_others_in_the_inbox(
    harness: StoreHarness,
) -> None:
    keep_in_inbox(harness, "platform:one", "platform:two")
    command = harness.receive(registration("platform:two", "n2"), stamp=7, message_id="inbox-x")
    harness.settle(command)
    assert [row.sender for row in harness.rows("inbox")] == ["platform:one"]


def test_a_dead_letter_takes_only_its_own_senders_row_from_the_inbox(
    offered: StoreHarness,
) -> None:
    command = nudge("client:c1")
    with writing(offered.engine) as connection:
        connection.execute(text("UPDATE orders SET document = '{}'"))
    keep_in_inbox(offered, "client:c1", "client:c2")
    offered.settle(offered.receive(command, stamp=7, message_id="inbox-x"))
    assert len(offered.rows("dead_letters")) == 1
    assert [row.sender for row in offered.rows("inbox")] == ["client:c2"]


def test_the_history_of_an_order_names_who_sent_what_was_refused_and_what_took_effect(
    offered: StoreHarness,
) -> None:
    offered.settle_alone(nudge("client:c2"), offered.now)
    offered.settle_alone(nudge("client:c1"), offered.now)
    history = order_history(offered.store, "o1")
    assert history is not None
    shared = {key: receipt for key, receipt in history.receipts.items() if key.endswith(SHARED)}
    assert {key: (receipt.sender, receipt.outcome) for key, receipt in shared.items()} == {
        f"client:c1:{SHARED}": ("client:c1", "applied"),
        f"client:c2:{SHARED}": ("client:c2", "rejected"),
    }


def test_a_malformed_command_is_answered_to_whoever_it_says_has_sent_it(
    harness: StoreHarness,
) -> None:
    malformed: Received = harness.settle_alone(nudge("client:c1") | {"order_id": 7}, harness.now)
    nameless = harness.settle_alone("{}", harness.now)
    events = {event["sequence"]: event for event in harness.published("command.settled")}
    assert events[malformed.stamp]["caused_by"] == f"command:client:c1:{SHARED}"
    assert events[malformed.stamp]["sender"] == "client:c1"
    assert events[nameless.stamp]["caused_by"] == "command:-:-"
    assert events[nameless.stamp]["sender"] is None
