"""Command: what every command has in common: a sender and an idempotency key."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from models.fields import CommandId, Id, SenderRole, StrictModel

# In an optional field null is absence, and the absent flag is down.
FlagDefaultFalse = Annotated[bool, BeforeValidator(lambda flag: False if flag is None else flag)]


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
