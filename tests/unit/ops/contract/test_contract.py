"""Contract: what is written down for others is what the code accepts and publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from models.commands.parsing import MalformedCommand, parse_command
from models.events.event import EVENT_TYPES
from models.fields import format_instant
from models.service.unit_of_work import up_to
from ops.contract import asyncapi, schemas
from ops.contract.compatibility import Readers, breaking_changes
from ops.contract.release import (
    CONTRACT_FOLDER,
    DECLARED_BREAKS,
    changes_that_break_release,
    documents,
    find_faults,
    release,
    version,
    write_contract,
)
from ops.errors import UsageError
from tests.support.stories import DEPOSIT, HISTORIES, OrderStory, place, story_of
from workers.database.mappers import event_row
from workers.outbox.streams import STREAMS, cloud_event
from workers.queue.messages import ACTORS, read_message, wrap
from workers.queue.redis import (
    COMMANDS,
    MAX_ITEMS,
    MAX_WAITING,
    NAMESPACE,
    FetchedMessage,
    Keys,
    script_text,
)
from workers.settings import RetentionLimits

CAMPAIGN = CONTRACT_FOLDER.parents[1] / "examples" / "campaign.jsonl"
SCENARIOS = sorted((CONTRACT_FOLDER.parents[1] / "tests" / "scenarios").glob("*.steps.jsonl"))

# Refused by the models for reasons that no schema can tell.
BEYOND_SCHEMAS = (
    *("control character", "something to see", "one line", "calendar", "instant", "hex escape"),
    "valid integer",  # To a schema 1.0 is one.
)


def test_the_contract_on_disk_is_up_to_date_and_keeps_its_promises() -> None:
    assert find_faults() == [], "run ./earnest contract write, or take the change back"


@pytest.mark.parametrize("name", [name for name in documents() if name.endswith(".json")])
def test_every_schema_of_the_contract_is_a_valid_json_schema(name: str) -> None:
    document = documents()[name]
    json_schemas = [document] if "$schema" in document else asyncapi_payloads(document)
    for schema in json_schemas:
        Draft202012Validator.check_schema(schema)


def asyncapi_payloads(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [message["payload"] for message in document["components"]["messages"].values()]


def example_commands() -> Iterator[dict[str, Any]]:
    """Give every command of the examples, honest and odd."""
    for path in (CAMPAIGN, *SCENARIOS):
        for line in path.read_text("utf-8").splitlines():
            command = json.loads(line).get("command") if line.strip() else None
            if isinstance(command, dict):
                yield command


def test_the_schemas_accept_what_the_parser_accepts_and_refuse_what_it_refuses() -> None:
    validators = {
        kind: Draft202012Validator(schema) for kind, schema in schemas.command_schemas().items()
    }
    for command in example_commands():
        validator = validators.get(str(command.get("kind")))
        by_schema = validator is not None and validator.is_valid(command)
        refusal = refusal_of(command)
        if refusal is None:
            assert by_schema, command
        elif not any(word in refusal for word in BEYOND_SCHEMAS):
            assert not by_schema, refusal


def refusal_of(command: dict[str, Any]) -> str | None:
    try:
        parse_command(json.dumps(command))
    except MalformedCommand as fault:
        return fault.detail
    return None


class EventRow:
    """An event as the relay finds it."""

    timeline = published_at = None

    def __init__(self, columns: dict[str, Any]) -> None:
        self.__dict__.update(columns)


@pytest.mark.parametrize("situation", HISTORIES)
def test_the_events_of_every_situation_are_published_as_the_schemas_say(situation: str) -> None:
    validators = {
        name: Draft202012Validator(schema) for name, schema in schemas.event_schemas().items()
    }
    for event in story_of(situation).events:
        message = json.loads(cloud_event(EventRow(event_row(event, 0, {}))))
        assert list(validators[event.fact.type].iter_errors(message)) == []


def test_rare_events_are_published_as_the_schemas_say() -> None:
    validators = {
        name: Draft202012Validator(schema) for name, schema in schemas.event_schemas().items()
    }
    story = story_of_rare_events()
    for event in story.events:
        message = json.loads(cloud_event(EventRow(event_row(event, 0, {}))))
        assert list(validators[event.fact.type].iter_errors(message)) == [], message
    assert {event.fact.type for event in story.events} >= RARE_EVENT_TYPES


RARE_EVENT_TYPES = {
    *("client.registered", "provider.registered", "provider.appointed", "contract.ended"),
    *("violation.reported", "post.removal_requested", "creator.banned", "creator.ban_lifted"),
    *("violation.overturned", "operator.acted", "operator.alerted", "deadline.extended"),
    *("suspense.resolved", "payout.confirmed", "refund.confirmed", "clock.stopped"),
    *("payment.voided", "refund.voided"),
}


def story_of_rare_events() -> OrderStory:
    """Bring about every event that the histories of single orders do not come to."""
    story = story_of("completed_agency")
    story.ask("register_client", "platform", client_id="c1", name="C1")
    story.ask("register_provider", "platform", provider_id="v1", name="V1")
    story.ask("confirm_payout", "payments", payout_id="po_o1_mcn")
    wake_at = story.uow.payouts["po_o1_creator"].wake_at or story.now
    story.events += story.uow.wake("payout:po_o1_creator", up_to(wake_at))
    story.now = wake_at
    place(story, "o2")
    story.pay("p9", {"o2": DEPOSIT, "nobody": 5})
    suspense_fields = {"payment_id": "p9", "order_id": "nobody", "to": "refund", "reason": "typo"}
    story.ask("resolve_suspense", "operator", **suspense_fields)
    story.pay("p8", {"o2": DEPOSIT + 1, "no_one": 5})
    story.ask("void_payment", "operator", payment_id="p8", reason="another merchant's")
    story.ask("appoint_provider", "client", order_id="o2", provider_id="v1")
    story.ask("pause_clock", "operator", order_id="o2", reason="ill")
    story.ask("resume_clock", "operator", order_id="o2", reason="well")
    later_at = format_instant(story.now + timedelta(days=2))
    story.ask("extend_deadline", "operator", order_id="o2", until=later_at, reason="ill")
    story.ask(
        "operator_act",
        "operator",
        command={"kind": "cancel_order", "order_id": "o2"},
        reason="asked",
    )
    wake_at = story.uow.refunds["rf_p9_o2"].wake_at or story.now
    story.events += story.uow.wake("refund:rf_p9_o2", up_to(wake_at))
    story.ask("confirm_refund", "payments", refund_id="rf_p9_o2")
    for violation_id in ("x1", "x2"):
        violation_fields = {
            "violation_id": violation_id,
            "creator_id": "k1",
            "url": "https://a.example/b",
        }
        evidence_fields = {"seen_at": format_instant(story.now), "evidence": "seen"}
        story.ask("report_violation", "platform", **violation_fields, **evidence_fields)
    story.ask("overturn_violation", "operator", violation_id="x2", reason="a mistake")
    story.ask("end_contract", "creator", creator_id="k1")
    assert set(story.outcomes[-12:]) == {("applied", None)}
    return story


def test_every_channel_of_the_contract_carries_messages_that_it_defines() -> None:
    document = asyncapi.asyncapi_document("1.2.3")
    messages = document["components"]["messages"]
    for channel in document["channels"].values():
        names = [
            message_ref["$ref"].rpartition("/")[2] for message_ref in channel["messages"].values()
        ]
        assert names
        assert set(names) <= messages.keys()
    assert document["channels"]["events"]["messages"].keys() == EVENT_TYPES.keys()


ADDRESS = {"queue_name": "commands", "actor_name": "settle_commands"}


@pytest.mark.parametrize(
    ("message", "is_accepted"),
    [
        (ADDRESS | {"kwargs": {"commands": ["{}"]}}, True),
        (ADDRESS | {"kwargs": {"commands": [{}]}, "args": [], "options": {"anything": 1}}, True),
        (ADDRESS | {"args": [["{}", {}]]}, True),
        (ADDRESS | {"args": [["{}"]], "kwargs": {}}, True),
        (ADDRESS | {"kwargs": {"commands": ["{}"], "received_at": 1, "stamp": 1}}, True),
        (ADDRESS | {"kwargs": {"commands": []}}, False),
        (ADDRESS | {"kwargs": {"commands": [1]}}, False),
        (ADDRESS | {"kwargs": {}, "args": []}, False),
        (ADDRESS | {"args": ["{}"]}, False),
        (ADDRESS | {"args": [["{}"], ["{}"]]}, False),
        ({"queue_name": "wakeups", "actor_name": "wake_orders", "args": [["o1"]]}, False),
    ],
)
def test_the_schema_of_messages_accepts_what_the_queues_reader_accepts(
    message: dict[str, Any],
    is_accepted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert Draft202012Validator(schemas.message_schema()).is_valid(message) is is_accepted
    fetched = FetchedMessage("m1", json.dumps(message).encode(), 1, stamp=1)
    assert (not read_message(COMMANDS, fetched).refused) is is_accepted


def test_a_message_as_we_write_it_obeys_the_schema() -> None:
    _, _, text = wrap(COMMANDS, ["{}"], traces=["00-" + "1" * 32 + "-" + "2" * 16 + "-01"])
    assert Draft202012Validator(schemas.message_schema()).is_valid(json.loads(text))


def test_the_published_script_is_the_one_that_redis_is_taught() -> None:
    published_text = (CONTRACT_FOLDER / "enqueue.lua").read_text("utf-8")
    assert published_text == script_text("enqueue")


def test_every_declared_break_is_told_under_its_version_in_the_changelog() -> None:
    changelog = (CONTRACT_FOLDER.parents[1] / "CHANGELOG.md").read_text("utf-8")
    for broken_version in DECLARED_BREAKS:
        section = changelog.partition(f"\n## {broken_version}")[2].partition("\n## ")[0]
        assert "### Wire" in section


def test_a_break_that_is_declared_is_none_and_any_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = release(tmp_path)
    contract = json.loads(path.read_text("utf-8"))
    for name in ("declared", "undeclared"):
        contract["message"]["properties"]["kwargs"]["properties"][name] = {"type": "integer"}
    (tmp_path / "0.0.1.json").write_text(json.dumps(contract), "utf-8")
    path.unlink()
    declared_breaks = {version(): frozenset({"message.kwargs.declared: removed"})}
    monkeypatch.setattr("ops.contract.release.DECLARED_BREAKS", declared_breaks)
    assert changes_that_break_release(tmp_path) == ["message.kwargs.undeclared: removed"]


def change_field(schema: dict[str, Any], change: str) -> dict[str, Any]:
    """Change one field of the toy schema below."""
    changed_schema = deepcopy(schema)
    name, _, value = change.partition("=")
    if name == "drop":
        del changed_schema["properties"][value]
    elif name == "require":
        changed_schema["required"].append(value)
    elif name == "release":
        changed_schema["required"].remove(value)
    elif name == "add":
        changed_schema["properties"][value] = {"type": "string"}
    else:
        field, _, keyword = name.partition(".")
        changed_schema["properties"][field][keyword] = json.loads(value)
    return changed_schema


READERS: tuple[Readers, ...] = ("us", "others")

SAMPLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "price": {"type": "integer", "minimum": 1, "maximum": 9},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "note": {"type": "string", "maxLength": 5, "pattern": "^x"},
    },
    "required": ["price"],
}


@pytest.mark.parametrize(
    ("change", "breaks_us", "breaks_others"),
    [
        ("add=more", False, False),
        ("drop=note", True, True),
        ("require=note", True, False),
        ("release=price", False, True),
        ('price.type="string"', True, True),
        ("price.minimum=2", True, False),
        ("price.minimum=0", False, True),
        ("price.maximum=8", True, False),
        ('kind.enum=["a"]', True, True),
        ('kind.enum=["a","b","c"]', False, False),
        ('note.pattern="^y"', True, True),
        ("note.maxLength=4", True, False),
    ],
)
def test_adding_to_the_contract_is_no_break_and_removing_is(
    change: str,
    breaks_us: bool,  # noqa: FBT001 - a column of the table
    breaks_others: bool,  # noqa: FBT001 - the same
) -> None:
    expected: dict[Readers, bool] = {"us": breaks_us, "others": breaks_others}
    for readers, is_breaking in expected.items():
        changes = breaking_changes(
            {"toy": SAMPLE_SCHEMA}, {"toy": change_field(SAMPLE_SCHEMA, change)}, readers
        )
        assert bool(changes) is is_breaking, changes


def test_a_pattern_in_the_contract_may_allow_more_kinds_and_no_fewer() -> None:
    narrow_pattern, wide_pattern = (
        "^(order|mcn):[a-z]{1,9}$",
        "^((mcn|order):[a-z]{1,9}|refund:x(~[0-9])?)$",
    )
    old, new = (
        {"toy": {"type": "string", "pattern": pattern}}
        for pattern in (narrow_pattern, wide_pattern)
    )
    for readers in READERS:
        assert breaking_changes(old, new, readers) == []
        assert breaking_changes(new, old, readers) == ["toy: pattern changed"]


def test_a_condition_on_a_field_that_came_later_is_no_break() -> None:
    bound = SAMPLE_SCHEMA | {"dependentSchemas": {"more": {"required": ["note"]}}}
    assert breaking_changes({"toy": SAMPLE_SCHEMA}, {"toy": bound}, "us") == []
    bound = SAMPLE_SCHEMA | {"dependentSchemas": {"note": {"required": ["kind"]}}}
    assert breaking_changes({"toy": SAMPLE_SCHEMA}, {"toy": bound}, "us") == [
        "toy: its conditions changed"
    ]


def test_of_several_kinds_of_object_in_the_contract_each_is_compared_with_itself() -> None:
    kind_schemas = [
        {"type": "object", "properties": {"kind": {"const": kind}}} for kind in ("a", "b")
    ]
    old, new = {"toy": {"oneOf": kind_schemas}}, {"toy": {"oneOf": kind_schemas[:1]}}
    assert breaking_changes(old, new, "us") == ["toy: no longer b"]
    assert breaking_changes(new, old, "us") == []


def test_removing_a_kind_from_the_contract_is_a_break() -> None:
    assert breaking_changes({"toy": SAMPLE_SCHEMA}, {}, "us") == ["toy: removed"]


def test_a_stale_a_missing_and_a_leftover_file_of_the_contract_are_found(tmp_path: Path) -> None:
    write_contract(tmp_path)
    assert find_faults(tmp_path) == []
    (tmp_path / "commands" / "place_order.json").write_text("{}")
    (tmp_path / "message.json").unlink()
    (tmp_path / "events" / "order.lost.json").write_text("{}")
    assert sorted(find_faults(tmp_path)) == [
        "commands/place_order.json: stale",
        "events/order.lost.json: no longer generated",
        "message.json: missing",
    ]
    write_contract(tmp_path)
    assert find_faults(tmp_path) == []


def test_a_release_of_the_contract_is_a_promise_and_is_made_once(tmp_path: Path) -> None:
    path = release(tmp_path)
    with pytest.raises(UsageError, match="released before"):
        release(tmp_path)
    released_contract = json.loads(path.read_text("utf-8"))
    released_contract["commands"]["place_order"]["properties"]["colour"] = {"type": "string"}
    del released_contract["events"]["order.placed"]["properties"]["source"]
    path.write_text(json.dumps(released_contract), "utf-8")
    assert changes_that_break_release(tmp_path) == ["place_order.colour: removed"]


def test_the_contract_page_names_the_keys_limits_and_streams_that_the_code_uses() -> None:
    page = (CONTRACT_FOLDER / "README.md").read_text("utf-8")
    keys = Keys(COMMANDS)
    required_words = [
        f"| `KEYS[1]` | `{keys.waiting}` |",
        f"| `KEYS[2]` | `{NAMESPACE}` |",
        *STREAMS,
        ACTORS[COMMANDS],
    ]
    required_words += [
        str(MAX_WAITING),
        str(MAX_ITEMS),
        f"{RetentionLimits().max_entries:,}".replace(",", " "),
    ]
    assert [word for word in required_words if word not in page] == []
