"""Foresight: what commands would come to if they were asked now. Nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.answer import Settlement
from models.commands import AnyCommand
from models.fields import instant_text
from models.hands import glimpse
from models.hear import about, hear
from models.ledger import Posting
from models.order import Order
from workers.database import reading
from workers.store import Store

Shown = dict[str, Any]

SHOWN = 5
"""Examples of what would be done, and of each reason why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One command as it would be judged: the order as it stands and as it would, what happens."""

    command: AnyCommand
    before: Order | None
    after: Order | None
    settlement: Settlement
    moves: tuple[Posting, ...]

    @property
    def is_applied(self) -> bool:
        """Tell whether it would take effect."""
        return self.settlement.outcome == "applied"

    def shown(self) -> Shown:
        """Describe it for a page, or for a program."""
        said = self.settlement
        return {
            "order_id": about(self.command),
            "outcome": said.outcome,
            "reason": said.reason,
            "detail": said.detail,
            "cost_fen": said.cost_fen,
            "before": seen(self.before),
            "after": seen(self.after),
            "events": [one.published() for one in said.events],
            "moves": [
                {"from": one.source, "to": one.target, "amount_fen": one.amount_fen}
                for one in self.moves
            ],
        }


def seen(order: Order | None) -> Shown | None:
    """Say how an order stands, as the trail does."""
    if order is None:
        return None
    found = glimpse(order)
    return {
        "status": found.status,
        "reason": found.reason,
        "due_at": None if found.due_at is None else instant_text(found.due_at),
        "amount_fen": found.amount_fen,
        "held_fen": found.held_fen,
    }


def foresee(store: Store, asked: Sequence[AnyCommand], at: datetime) -> list[Foreseen]:
    """Judge commands as if each were the next to be heard, and forget what it would have done.

    The judges are those of the pipeline itself; what they need is read without locking it.
    """
    with reading(store.engine) as connection:
        book = store.load(connection, asked, ()).book
    found = []
    for command in asked:
        book.mark()
        name, posted = about(command), len(book.postings)
        before = book.orders.get(name) if name else None
        settlement = hear(book, command, at)
        after = book.orders.get(name) if name else None
        moves = tuple(one for _, one in book.postings[posted:])
        found.append(
            Foreseen(
                command=command, before=before, after=after, settlement=settlement, moves=moves
            )
        )
        book.back()
    return found


@dataclass(slots=True)
class Forecast:
    """What many commands would come to, added up."""

    applied: int = 0
    by_state: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    held_fen: int = 0
    examples: list[Foreseen] = field(default_factory=list)
    refusals: list[Foreseen] = field(default_factory=list)

    def add(self, one: Foreseen) -> None:
        """Count one command."""
        self.by_state[one.before.state.value if one.before else "unknown"] += 1
        if not one.is_applied:
            reason = str(one.settlement.reason)
            self.refused[reason] += 1
            if self.refused[reason] <= SHOWN:
                self.refusals.append(one)
            return
        self.applied += 1
        self.held_fen += one.before.held_fen if one.before else 0
        for move in one.moves:
            self.moves[family(move.source), family(move.target)] += move.amount_fen
        if len(self.examples) < SHOWN:
            self.examples.append(one)

    @property
    def asked(self) -> int:
        """Return how many commands there are in all."""
        return self.applied + self.refused.total()

    def shown(self) -> Shown:
        """Describe it for a program."""
        return {
            "asked": self.asked,
            "by_state": dict(sorted(self.by_state.items())),
            "applied": self.applied,
            "refused": dict(sorted(self.refused.items())),
            "held_fen": self.held_fen,
            "moves": [
                {"from": source, "to": target, "amount_fen": fen}
                for (source, target), fen in sorted(self.moves.items())
            ],
            "examples": [one.shown() for one in self.examples],
            "refusals": [one.shown() for one in self.refusals],
        }


def family(account: str) -> str:
    """Return the family of an account: what stands before the colon."""
    return account.partition(":")[0]
