"""Party commands: who is registered, who leaves, and who broke the rules."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

from pydantic import model_validator

from models.commands.command import Command, Dependencies, OrderCommand
from models.fields import (
    Bps,
    EvidenceText,
    Id,
    Instant,
    Label,
    Note,
    RequiredNote,
    WebAddress,
    field_error,
    format_instant,
)
from models.lifecycle import Role


class RegisterMcn(Command):
    """Admit an agency, or rename it."""

    kind: Literal["register_mcn"]
    mcn_id: Id
    name: Label
    roles: ClassVar[frozenset[str]] = frozenset({Role.PLATFORM})

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.mcns.add(self.mcn_id)
        dependencies.registered.add(f"mcn:{self.mcn_id}")


class RegisterCreator(Command):
    """Admit a creator, or change the contract."""

    kind: Literal["register_creator"]
    creator_id: Id
    name: Label
    contract: Literal["direct", "mcn"]
    mcn_id: Id | None = None
    mcn_share_bps: Bps | None = None
    fields_added_later: ClassVar[frozenset[str]] = frozenset({"mcn_share_bps"})
    roles: ClassVar[frozenset[str]] = frozenset({Role.PLATFORM})

    @model_validator(mode="after")
    def _require_agency(self) -> RegisterCreator:
        if (self.contract == "mcn") != (self.mcn_id is not None):
            raise field_error("mcn_id", "wanted with contract 'mcn', and only then")
        if self.contract != "mcn" and self.mcn_share_bps is not None:
            raise field_error("mcn_share_bps", "wanted only with contract 'mcn'")
        return self

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.creators_changing.add(self.creator_id)
        if self.mcn_id is not None:
            dependencies.mcns.add(self.mcn_id)


class RegisterClient(Command):
    """Admit a client, or rename it."""

    kind: Literal["register_client"]
    client_id: Id
    name: Label
    roles: ClassVar[frozenset[str]] = frozenset({Role.PLATFORM})

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.clients.add(self.client_id)
        dependencies.registered.add(f"client:{self.client_id}")


class RegisterProvider(Command):
    """Admit a service provider, or rename it."""

    kind: Literal["register_provider"]
    provider_id: Id
    name: Label
    roles: ClassVar[frozenset[str]] = frozenset({Role.PLATFORM})

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.providers.add(self.provider_id)
        dependencies.registered.add(f"provider:{self.provider_id}")


class EndContract(Command):
    """End a creator's contract: no more orders."""

    kind: Literal["end_contract"]
    creator_id: Id
    reason: Note | None = None
    roles: ClassVar[frozenset[str]] = frozenset({Role.CREATOR, Role.PLATFORM})

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.creators_changing.add(self.creator_id)


class AppointProvider(OrderCommand):
    """Let a service provider act for one's own side of one order; null dismisses it."""

    kind: Literal["appoint_provider"]
    provider_id: Id | None

    def add_dependencies(self, dependencies: Dependencies) -> None:
        super().add_dependencies(dependencies)
        if self.provider_id is not None:
            dependencies.providers.add(self.provider_id)


class ReportViolation(Command):
    """Report that a creator took an advertisement outside the platform."""

    kind: Literal["report_violation"]
    violation_id: Id
    creator_id: Id
    url: WebAddress
    seen_at: Instant
    evidence: EvidenceText
    roles: ClassVar[frozenset[str]] = frozenset({Role.PLATFORM})

    def content(self) -> bytes:
        """Return 16 bytes that two reports share exactly when they say the same."""
        fields = (self.creator_id, self.url, format_instant(self.seen_at), self.evidence)
        return hashlib.blake2b(repr(fields).encode(), digest_size=16).digest()

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.creators_changing.add(self.creator_id)
        dependencies.violations.add(self.violation_id)


class OverturnViolation(Command):
    """Declare a reported violation void."""

    kind: Literal["overturn_violation"]
    violation_id: Id
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.OPERATOR})

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.violations.add(self.violation_id)
