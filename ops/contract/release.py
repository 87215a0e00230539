"""Release: the message contract on disk, written from the models and held against the last one.

What is promised to others is what stands in `docs/contract/released/`; it may grow, and what is
taken back nevertheless stands in `DECLARED_BREAKS`, and in the changelog.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.contract import asyncapi, schemas
from ops.contract.compatibility import breaking_changes
from ops.errors import UsageError
from workers.queue.redis import script_text
from workers.settings import project_root

CONTRACT_FOLDER = project_root() / "docs" / "contract"
RELEASED_FOLDER = CONTRACT_FOLDER / "released"

EVENTS_OF_0_1 = (
    *("client.reminded", "command.settled", "creator.registered", "creator.reminded"),
    *("mcn.registered", "operator.alerted", "order.accepted", "order.balance_overdue"),
    *("order.cancelled", "order.declined", "order.expired", "order.forfeited", "order.funded"),
    *("order.offered", "order.placed", "order.reinstated", "payment.applied"),
    *("payment.unapplied", "quote.restored", "quote.revised", "refund.confirmed"),
    "refund.requested",
)

DECLARED_BREAKS = {
    "0.3.0": frozenset(
        {
            "message.kwargs.received_at: removed",
            "message.kwargs.stamp: removed",
            "message: its conditions changed",
            # A reason that is given says something: in an empty one there was nothing to read.
            "decline_order.reason: minLength changed from None to 1",
            "withdraw_order.reason: minLength changed from None to 1",
            "refund.confirmed.data.payment_id: may now be null",
            "refund.requested.data.payment_id: may now be null",
            # What is told in a later timeline says so at the end of its id.
            *(f"{name}.id: pattern changed" for name in EVENTS_OF_0_1),
        }
    ),
}
"""What a version takes back of the release before it, in the words of `breaking_changes`."""


def version() -> str:
    """Return the version that the next release will have."""
    text = (project_root() / "pyproject.toml").read_text("utf-8")
    project_version: str = tomllib.loads(text)["project"]["version"]
    return project_version


def documents() -> dict[str, Any]:
    """Return every generated document by its path in the folder."""
    documents_by_path: dict[str, Any] = {"asyncapi.json": asyncapi.asyncapi_document(version())}
    documents_by_path["message.json"] = schemas.message_schema()
    documents_by_path["enqueue.lua"] = script_text("enqueue")
    documents_by_path |= {
        f"commands/{kind}.json": schema for kind, schema in schemas.command_schemas().items()
    }
    return documents_by_path | {
        f"events/{name}.json": schema for name, schema in schemas.event_schemas().items()
    }


def document_text(document: object) -> str:
    """Write a document as it stands on disk; a text is one already."""
    if isinstance(document, str):
        return document
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def write_contract(folder: Path = CONTRACT_FOLDER) -> int:
    """Write the contract, and remove what no longer belongs to it; return how many files."""
    documents_by_path = documents()
    for path in set(_on_disk(folder)) - documents_by_path.keys():
        (folder / path).unlink()
    for path, document in documents_by_path.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(document_text(document), "utf-8")
    return len(documents_by_path)


def find_faults(folder: Path = CONTRACT_FOLDER) -> list[str]:
    """Say what is stale on disk, and what breaks a promise; nothing is what is wanted."""
    return [*_stale(folder), *changes_that_break_release()]


def _stale(folder: Path) -> Iterator[str]:
    documents_by_path, paths_on_disk = documents(), set(_on_disk(folder))
    yield from (
        f"{path}: no longer generated" for path in sorted(paths_on_disk - documents_by_path.keys())
    )
    for path, document in documents_by_path.items():
        if path not in paths_on_disk:
            yield f"{path}: missing"
        elif (folder / path).read_text("utf-8") != document_text(document):
            yield f"{path}: stale"


def _on_disk(folder: Path) -> list[str]:
    folders = (folder, folder / "commands", folder / "events")
    return [
        str(path.relative_to(folder))
        for subfolder in folders
        for ending in ("json", "lua")
        for path in subfolder.glob(f"*.{ending}")
    ]


def changes_that_break_release(released: Path = RELEASED_FOLDER) -> list[str]:
    """Say what the models no longer keep of the contract that was released last."""
    last_path = last_release(released)
    if last_path is None:
        return []
    last_contract = json.loads(last_path.read_text("utf-8"))
    changes = [
        *breaking_changes(last_contract["commands"], schemas.command_schemas(), "us"),
        *breaking_changes(last_contract["events"], schemas.event_schemas(), "others"),
        *breaking_changes(
            {"message": last_contract["message"]}, {"message": schemas.message_schema()}, "us"
        ),
    ]
    is_released = last_path.stem == version()
    declared_changes = frozenset() if is_released else DECLARED_BREAKS.get(version(), frozenset())
    return [change for change in changes if change not in declared_changes]


def last_release(released: Path = RELEASED_FOLDER) -> Path | None:
    """Find the contract that was released last, or None before the first."""
    return max(released.glob("*.json"), key=_version_number, default=None)


def _version_number(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.stem.split("."))


def release(released: Path = RELEASED_FOLDER) -> Path:
    """Promise the contract as it is now, under the project's version; a promise is made once."""
    path = released / f"{version()}.json"
    if path.exists():
        raise UsageError(f"{path.name} was released before: raise the version in pyproject.toml")
    changes = changes_that_break_release(released)
    if changes:
        raise UsageError("the last release would be broken: " + "; ".join(changes))
    released.mkdir(parents=True, exist_ok=True)
    new_contract = {"commands": schemas.command_schemas(), "events": schemas.event_schemas()}
    path.write_text(document_text(new_contract | {"message": schemas.message_schema()}), "utf-8")
    return path


def run_contract(action: str, *, as_json: bool) -> int:
    """Do what the command line asks; return 1 if `check` finds a fault."""
    if action == "write":
        print(
            f"{write_contract()} files written under {CONTRACT_FOLDER.relative_to(project_root())}/"
        )
        return 0
    if action == "release":
        print(f"released: {release().relative_to(project_root())}")
        return 0
    faults, last_path = find_faults(), last_release()
    released_version = last_path.stem if last_path else None
    if as_json:
        print(json.dumps({"ok": not faults, "against": released_version, "faults": faults}))
    else:
        print(
            "\n".join(faults)
            or f"The contract is up to date and keeps what {released_version} promised."
        )
    return 1 if faults else 0
