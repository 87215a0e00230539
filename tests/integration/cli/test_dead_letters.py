"""Dead letters: what an operator sees and does with them and with quarantined messages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from models.policy import Policy
from ops.cli.app import main
from tests.support.command_line import run_earnest
from tests.support.sample_commands import registration
from tests.support.store_harness import StoreHarness
from workers.database import schema
from workers.database.engine import open_database, writing
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.processing import failures
from workers.processing.failures import MAX_PAYLOAD_BYTES, quarantine
from workers.queries.reader import Reader
from workers.queue.messages import Received, RefusedItem
from workers.settings import Settings
from workers.timestamps import from_us, now_us

HOSTILE = b'\x1b[2J\x00\xff"} \xe2\x80\xa8'
HOUR_US = 3_600_000_000


@dataclass
class OperatorTerminal:
    """An operator's terminal, and the database behind it."""

    settings: Settings
    engine: Engine
    read_output: Callable[[], str]

    def run(self, *arguments: str) -> tuple[int, Any]:
        # Output of the preparations is not what is read here.
        self.read_output()
        status = main([*arguments, "--json", *self.options()])
        return status, json.loads(self.read_output())

    def replay(self, *arguments: str) -> tuple[int, Any]:
        """Replay in a process of its own, which settles and writes logs."""
        result = run_earnest("dead-letters", "replay", *arguments, "--json", *self.options())
        return result.status, json.loads(result.out)["replayed"]

    def read(self, *arguments: str) -> str:
        self.read_output()
        main([*arguments, *self.options()])
        return self.read_output()

    def options(self) -> list[str]:
        """Give the options that say where the database and Redis are, for any command."""
        database_options = [
            "--database-url",
            self.settings.database_url,
            "--var",
            str(self.settings.var),
        ]
        return [*database_options, "--redis-url", self.settings.redis_url]

    def add_dead_letter(self, command: str, stamp: int = 5, at: int = HOUR_US) -> None:
        error = RuntimeError("the disk said no")
        failures.add_dead_letter(self.engine, Received(command, from_us(at), stamp, "m"), error)


@pytest.fixture
def terminal(
    tmp_path: Path, database_url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> Iterator[OperatorTerminal]:
    """Give a terminal at a prepared database."""
    settings = Settings.read({}, var=tmp_path, database_url=database_url, redis_url=redis_url)
    engine = open_database(settings.database_url)
    migrate(engine)
    yield OperatorTerminal(settings, engine, lambda: capsys.readouterr().out)
    engine.dispose()


def test_a_replayed_command_is_handled_once_and_as_of_its_first_receipt(
    terminal: OperatorTerminal,
) -> None:
    terminal.add_dead_letter(registration(1), stamp=77)
    _, listing = terminal.run("dead-letters")
    (dead_letter,) = listing["dead_letters"]
    assert (dead_letter["sender"], dead_letter["command"]) == ("platform:p1", "register_000001")
    assert dead_letter["received_at"] == "1970-01-01T01:00:00Z"
    assert dead_letter["replayed_at"] is None
    for outcome in ("applied", "applied"):
        status, replays = terminal.replay(str(dead_letter["letter"]))
        assert status == 0
        assert [replay["outcome"] for replay in replays] == [outcome]
    receipt = Reader(Store(terminal.engine, Policy())).outcomes(["platform:p1:register_000001"])
    assert receipt["platform:p1:register_000001"].received_at == from_us(HOUR_US)
    with terminal.engine.connect() as connection:
        events = connection.execute(text("SELECT count(*) FROM events")).scalar_one()
    assert events == 2
    assert failures.list_dead_letters(terminal.engine, replayed=False) == []


def test_replay_all_replays_the_dead_letters_that_wait(terminal: OperatorTerminal) -> None:
    for number in range(3):
        terminal.add_dead_letter(registration(number), stamp=number + 1)
    terminal.replay("2")
    _, replays = terminal.replay("--all")
    assert [replay["command"] for replay in replays] == ["register_000000", "register_000002"]


def test_a_dead_letter_that_fails_again_stays(terminal: OperatorTerminal) -> None:
    acceptance = {
        "id": "accept_0001",
        "kind": "accept_order",
        "by": {"role": "creator", "id": "k1"},
    }
    terminal.add_dead_letter(json.dumps(acceptance | {"order_id": "o1"}))
    with writing(terminal.engine) as connection:
        connection.execute(text("ALTER TABLE receipts RENAME TO receipts_elsewhere"))
    result = run_earnest("dead-letters", "replay", "--all", *terminal.options())
    assert result.status == 1
    assert len(failures.list_dead_letters(terminal.engine, replayed=False)) == 1


@pytest.mark.parametrize("arguments", [["show"], ["show", "1", "2"], ["replay"], ["replay", "9"]])
def test_a_dead_letter_to_replay_must_be_named(
    terminal: OperatorTerminal, arguments: list[str]
) -> None:
    assert main(["dead-letters", *arguments, *terminal.options()]) == 2


def test_text_that_no_database_can_store_is_stored_escaped(terminal: OperatorTerminal) -> None:
    terminal.add_dead_letter("\x00\ud800三")
    (dead_letter,) = failures.list_dead_letters(terminal.engine)
    assert dead_letter.command == "\\u0000\\ud800三"
    assert "\x00" not in terminal.read("dead-letters", "show", "1")


def test_quarantined_bytes_are_shown_whole_and_steer_no_terminal(
    terminal: OperatorTerminal,
) -> None:
    payload = HOSTILE + b"x" * 10_000
    item = RefusedItem("commands", "m\x1b", payload, "not JSON", len(payload))
    quarantine(terminal.engine, [item])
    _, listing = terminal.run("quarantine")
    (item,) = listing["quarantine"]
    assert base64.b64decode(item["payload_base64"]) == payload[:MAX_PAYLOAD_BYTES]
    assert item["bytes"] == len(payload)
    for arguments in (["quarantine"], ["quarantine", "show", "1"]):
        output = terminal.read(*arguments)
        assert output.replace("…", "").isascii()
        assert "\x1b" not in output
        assert "not JSON" in output
    assert terminal.run("quarantine", "drop", "1") == (0, {"dropped": [1], "missing": []})
    assert terminal.run("quarantine") == (0, {"quarantine": []})


def test_an_audit_of_an_empty_database_finds_nothing(terminal: OperatorTerminal) -> None:
    status, report = terminal.run("audit")
    assert (status, report["ok"], report["findings"]) == (0, True, [])


def test_an_audit_names_unanswered_unpublished_dead_and_quarantined_messages(
    terminal: OperatorTerminal,
) -> None:
    terminal.add_dead_letter(registration(1))
    quarantine(terminal.engine, [RefusedItem("commands", "m", b"}{", "not JSON", 2)])
    receipt: dict[str, Any] = {"command_id": "c1", "sender": "client:c1", "fingerprint": b"f"}
    receipt |= {"outcome": "applied", "reason": None}
    event = {"subject": "s", "sequence": 1, "type": "t", "caused_by": "c", "body": "{}"}
    hour_ago = now_us() - HOUR_US
    with writing(terminal.engine) as connection:
        row = receipt | {"received_at": 1, "stamp": 1, "about": None}
        connection.execute(schema.receipts.insert(), [row])
        event_row = event | {"at": hour_ago, "recorded_at": hour_ago}
        connection.execute(schema.events.insert(), [event_row])
    status, report = terminal.run("audit")
    laws = {finding["law"] for finding in report["findings"]}
    assert status == 1
    assert laws >= {"answered", "published", "settled", "understood"}
    delivery = report["delivery"]
    assert [delivery["unanswered"], delivery["dead_letters"], delivery["quarantined"]] == [1, 1, 1]
    assert 3_500 < delivery["outbox_age_s"] < 3_700
    assert "findings" in terminal.read("audit")


def test_an_audit_names_an_order_whose_deadline_passed_unnoticed(
    terminal: OperatorTerminal,
) -> None:
    StoreHarness(engine=terminal.engine).admit().offer("o1")
    _, report = terminal.run("audit")
    overdue_orders = [
        finding["where"] for finding in report["findings"] if finding["law"] == "timely"
    ]
    assert overdue_orders == ["order:o1"]


def test_dead_letters_are_shown_without_redis(
    terminal: OperatorTerminal, redis_client: redis.Redis
) -> None:
    terminal.add_dead_letter(registration(1))
    redis_client.execute_command("CLIENT", "PAUSE", "300")  # type: ignore[no-untyped-call]
    assert "register_000001" in terminal.read("dead-letters")
