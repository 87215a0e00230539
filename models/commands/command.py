"""Command: what every command has in common: a sender and an idempotency key."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from models.fields import CommandId, Id, SenderRole, StrictModel
from models.ids import Reference, make_command_key

# In an optional field null is absence, and the absent flag is down.
FlagDefaultFalse = Annotated[bool, BeforeValidator(lambda flag: False if flag is None else flag)]


@dataclass(slots=True)
class Dependencies:
    """Ids of what some commands may concern, by kind: what is loaded before they are handled.

    `placements` are orders that a command places, with all that waits for them; `parked` are keys
    of parked commands. Of the creators, those held unchanged must not change meanwhile, those
    changing will; the open orders of some are to learn of what has changed. A refund's base id is
    its spelling without a number; `references` name refunds and payouts, which are found by them.
    `suspended` are ids of shares. `payments_to_void` are loaded with all that was made of them:
    their refunds, and the orders of those. `registered` are those of the parties that a command
    registers, as `kind:id`; others it only names. `placing_clients` has a client once for each
    order that it places.
    """

    orders: set[str] = field(default_factory=set)
    placements: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)
    creators: set[str] = field(default_factory=set)
    creators_held_unchanged: set[str] = field(default_factory=set)
    creators_changing: set[str] = field(default_factory=set)
    creators_with_open_orders: set[str] = field(default_factory=set)
    mcns: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    violations: set[str] = field(default_factory=set)
    payments: set[str] = field(default_factory=set)
    payments_to_void: set[str] = field(default_factory=set)
    refund_base_ids: set[str] = field(default_factory=set)
    payouts: set[str] = field(default_factory=set)
    references: set[Reference] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    registered: set[str] = field(default_factory=set)
    placing_clients: list[str] = field(default_factory=list)


class Party(StrictModel):
    """Who asks: a role, and which one of that role."""

    role: SenderRole
    id: Id


class Command(StrictModel):
    """What every command carries: the sender's idempotency key, and who asks."""

    kind: str
    id: CommandId
    by: Party
    fields_added_later: ClassVar[frozenset[str]] = frozenset()
    """Optional fields that a later version added: absent, they leave the fingerprint alone."""

    @cached_property
    def sender(self) -> str:
        """Name who sent it, as events do: the role and the id."""
        return f"{self.by.role}:{self.by.id}"

    @cached_property
    def key(self) -> str:
        """Name it for all senders: an id belongs to its sender, and another may use it too."""
        return make_command_key(self.sender, self.id)

    @abstractmethod
    def add_dependencies(self, dependencies: Dependencies) -> None:
        """Add the ids of everything that this command may concern."""

    @cached_property
    def dependencies(self) -> Dependencies:
        """Return the ids of everything that this command alone may concern: to read, not to add."""
        dependencies = Dependencies()
        self.add_dependencies(dependencies)
        return dependencies

    def fingerprint(self) -> bytes:
        """Return 16 bytes that two commands share exactly when they ask the same.

        Receipts outlive versions: what was sent before a field existed is still the same command.
        """
        absent = None
        if self.fields_added_later:
            fields = type(self).model_fields
            absent = {
                name
                for name in self.fields_added_later
                if getattr(self, name) == fields[name].default
            }
        body = self.__pydantic_serializer__.to_json(self, exclude=absent)
        return hashlib.blake2b(body, digest_size=16).digest()


class OrderCommand(Command):
    """A command about one order."""

    order_id: Id

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.orders.add(self.order_id)
