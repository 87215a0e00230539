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
from models.fields import format_duration, format_instant
from models.ledger import Posting
from models.orders.operator_actions import take_snapshot
from models.orders.order import Order
from models.service.handlers import handle, order_id_of
from models.service.outcome import Outcome
from ops.errors import UsageError
from ops.operate.actions import ON_BEHALF_ACTIONS, OWN_ACTIONS, OperatorAction
from workers.database.engine import reading
from workers.database.repository import Store

JsonObject = dict[str, Any]


MAX_EXAMPLES = 5
"""Examples of what would be done, and of each reason why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult:
    """One command as it would be judged: the order as it stands and as it would, what happens."""

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
        settlement = self.outcome
        return {
            "order_id": order_id_of(self.command),
            "outcome": settlement.outcome,
            "reason": settlement.reason,
            "detail": settlement.detail,
            "cost_fen": settlement.cost_fen,
            "before": serialize_snapshot(self.before),
            "after": serialize_snapshot(self.after),
            "events": [event.published() for event in settlement.events],
            "moves": [
                {"from": posting.source, "to": posting.target, "amount_fen": posting.amount_fen}
                for posting in self.postings
            ],
        }


def serialize_snapshot(order: Order | None) -> JsonObject | None:
    """Say how an order stands, as the trail does."""
    if order is None:
        return None
    snapshot = take_snapshot(order)
    return {
        "status": snapshot.status,
        "reason": snapshot.reason,
        "due_at": None if snapshot.due_at is None else format_instant(snapshot.due_at),
        "amount_fen": snapshot.amount_fen,
        "held_fen": snapshot.held_fen,
    }


def dry_run_commands(
    store: Store, commands: Sequence[AnyCommand], at: datetime
) -> list[DryRunResult]:
    """Judge commands as if each were the next to be heard, and forget what it would have done.

    The judges are those of the pipeline itself; what they need is read without locking it.
    """
    with reading(store.engine) as connection:
        uow = store.load(connection, commands, ()).book
    dry_runs = []
    for command in commands:
        uow.savepoint()
        order_id, posting_count = order_id_of(command), len(uow.postings)
        before = uow.orders.get(order_id) if order_id else None
        settlement = handle(uow, command, at)
        after = uow.orders.get(order_id) if order_id else None
        moves = tuple(posting for _, posting in uow.postings[posting_count:])
        dry_runs.append(
            DryRunResult(
                command=command, before=before, after=after, outcome=settlement, postings=moves
            )
        )
        uow.rollback()
    return dry_runs


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

    def add(self, dry_run: DryRunResult) -> None:
        """Count one command."""
        self.by_state[dry_run.before.state.value if dry_run.before else "unknown"] += 1
        if not dry_run.is_applied:
            reason = str(dry_run.outcome.reason)
            self.refused[reason] += 1
            if self.refused[reason] <= MAX_EXAMPLES:
                self.refusals.append(dry_run)
            return
        self.applied += 1
        self.held_fen += dry_run.before.held_fen if dry_run.before else 0
        for move in dry_run.postings:
            self.moves[account_family(move.source), account_family(move.target)] += move.amount_fen
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(dry_run)

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
            "examples": [dry_run.to_json() for dry_run in self.examples],
            "refusals": [dry_run.to_json() for dry_run in self.refusals],
        }


def account_family(account: str) -> str:
    """Return the family of an account: what stands before the colon."""
    return account.partition(":")[0]


UNTIL_FIELD = "until"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """A power to be used by an operator, with what it needs said.

    `longer` says until when, measured from each order's own deadline.
    """

    action: OperatorAction
    operator: str
    reason: str
    field_values: Mapping[str, Any]
    extension: timedelta | None = None

    def command(
        self, command_id: str, order_id: str | None, since: datetime | None = None
    ) -> dict[str, Any]:
        """Write the command for one order; `since` is what `longer` is measured from."""
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
    """Return an operator's own power, or one that it may use in a party's stead."""
    return (ON_BEHALF_ACTIONS if on_behalf else OWN_ACTIONS).get(kind)


def read_command(body: Mapping[str, Any]) -> tuple[str, AnyCommand]:
    """Write a command as its text, and read it as the pipeline will; raise `Refused`."""
    text = json.dumps(body, ensure_ascii=False)
    try:
        return text, parse_command(text)
    except MalformedCommand as error:
        raise UsageError(error.detail) from None


def digest(*parts: object) -> str:
    """Name what the parts say, in 32 characters."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
