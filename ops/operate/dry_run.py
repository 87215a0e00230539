"""Dry run: what an operator wants done and why, and what commands would come to if asked now.

Nothing is written.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from models.commands import AnyCommand
from models.commands.parsing import MalformedCommand, parse_command
from models.events.notifications import serialize_limits
from models.fields import format_duration, format_instant
from models.ledger import Posting
from models.orders.operator_actions import take_snapshot
from models.orders.order import Order
from models.service.handlers import handle_without_waiting, order_id_of
from models.service.outcome import Outcome
from ops.errors import UsageError
from ops.json_schema import JsonObject
from ops.operate.actions import ON_BEHALF_ACTIONS, OWN_ACTIONS, OperatorAction
from workers.database.engine import reading
from workers.database.repository import Store

MAX_EXAMPLES = 5
"""Examples of what would be done, and of each reason why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult:
    """What one command would do: the order before and after it, its outcome, money moved."""

    command: AnyCommand
    before: Order | None
    after: Order | None
    outcome: Outcome
    postings: tuple[Posting, ...]

    @property
    def is_applied(self) -> bool:
        """Tell whether it would take effect."""
        return self.outcome.outcome == "applied"

    def to_json(self) -> JsonObject:
        """Describe it for a page, or for a program."""
        outcome = self.outcome
        return {
            "order_id": order_id_of(self.command),
            "outcome": outcome.outcome,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "cost_fen": outcome.cost_fen,
            "limits": serialize_limits(outcome.limits),
            "before": serialize_snapshot(self.before),
            "after": serialize_snapshot(self.after),
            "events": [event.published() for event in outcome.events],
            "moves": [
                {"from": posting.source, "to": posting.target, "amount_fen": posting.amount_fen}
                for posting in self.postings
            ],
        }


def serialize_snapshot(order: Order | None) -> JsonObject | None:
    """Say how an order stands, as the operator log does."""
    if order is None:
        return None
    snapshot = take_snapshot(order)
    return {
        "status": snapshot.status,
        "reason": snapshot.reason,
        "due_at": None if snapshot.due_at is None else format_instant(snapshot.due_at),
        "amount_fen": snapshot.amount_fen,
        "held_fen": snapshot.held_fen,
        "expected_publish_at": None
        if snapshot.expected_publish_at is None
        else format_instant(snapshot.expected_publish_at),
    }


def dry_run_commands(
    store: Store, commands: Sequence[AnyCommand], at: datetime
) -> list[DryRunResult]:
    """Handle commands as if each were the next to be handled, and roll back what it has done.

    The handlers are those of the pipeline itself; what they need is read without locking it.
    """
    with reading(store.engine) as connection:
        uow = store.load(connection, commands, ()).uow
    results = []
    for command in commands:
        uow.savepoint()
        order_id, posting_count = order_id_of(command), len(uow.postings)
        before = uow.orders.get(order_id) if order_id else None
        outcome = handle_without_waiting(uow, command, at)
        after = uow.orders.get(order_id) if order_id else None
        postings = tuple(posting for _, posting in uow.postings[posting_count:])
        results.append(
            DryRunResult(
                command=command, before=before, after=after, outcome=outcome, postings=postings
            )
        )
        uow.rollback()
    return results


@dataclass(slots=True)
class DryRunSummary:
    """What many commands would come to, added up."""

    applied: int = 0
    by_state: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    held_fen: int = 0
    examples: list[DryRunResult] = field(default_factory=list)
    refusals: list[DryRunResult] = field(default_factory=list)

    def add(self, result: DryRunResult) -> None:
        """Count one command."""
        self.by_state[result.before.state.value if result.before else "unknown"] += 1
        if not result.is_applied:
            reason = str(result.outcome.reason)
            self.refused[reason] += 1
            if self.refused[reason] <= MAX_EXAMPLES:
                self.refusals.append(result)
            return
        self.applied += 1
        self.held_fen += result.before.held_fen if result.before else 0
        for posting in result.postings:
            self.moves[account_family(posting.source), account_family(posting.target)] += (
                posting.amount_fen
            )
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(result)

    @property
    def requested(self) -> int:
        """Return how many commands there are in all."""
        return self.applied + self.refused.total()

    def to_json(self) -> JsonObject:
        """Describe it for a program."""
        return {
            "asked": self.requested,
            "by_state": dict(sorted(self.by_state.items())),
            "applied": self.applied,
            "refused": dict(sorted(self.refused.items())),
            "held_fen": self.held_fen,
            "moves": [
                {"from": source, "to": target, "amount_fen": amount_fen}
                for (source, target), amount_fen in sorted(self.moves.items())
            ],
            "examples": [result.to_json() for result in self.examples],
            "refusals": [result.to_json() for result in self.refusals],
        }


def account_family(account: str) -> str:
    """Return the family of an account: what stands before the colon."""
    return account.partition(":")[0]


UNTIL_FIELD = "until"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """An action wanted by an operator, with its fields.

    `extension` says how much longer, measured from each order's own deadline.
    """

    action: OperatorAction
    operator: str
    reason: str
    field_values: Mapping[str, Any]
    extension: timedelta | None = None

    def command(
        self, command_id: str, order_id: str | None, since: datetime | None = None
    ) -> dict[str, Any]:
        """Write the command for one order; `since` is what `extension` is measured from."""
        fields = dict(self.field_values)
        if self.extension is not None and since is not None:
            fields[UNTIL_FIELD] = format_instant(since + self.extension)
        head = {"id": command_id, "by": {"role": "operator", "id": self.operator}}
        return self.action.command(fields, order_id=order_id, reason=self.reason, head=head)

    def document(self) -> dict[str, Any]:
        """Describe it, as it is kept beside what it led to."""
        return {
            "kind": self.action.kind,
            "lent": self.action.on_behalf,
            "by": self.operator,
            "reason": self.reason,
            "said": dict(self.field_values),
            "longer": None if self.extension is None else format_duration(self.extension),
        }


def find_action(kind: str, *, on_behalf: bool) -> OperatorAction | None:
    """Return an operator's own action, or one that it may ask in a party's stead."""
    return (ON_BEHALF_ACTIONS if on_behalf else OWN_ACTIONS).get(kind)


def validate_command(body: Mapping[str, Any]) -> tuple[str, AnyCommand]:
    """Write a command as its text, and parse that as the pipeline will; raise `UsageError`."""
    text = json.dumps(body, ensure_ascii=False)
    try:
        return text, parse_command(text)
    except MalformedCommand as error:
        raise UsageError(error.detail) from None


def digest(*parts: object) -> str:
    """Name what the parts say, in 32 characters."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
