"""Party handlers: registrations, contracts ended, violations reported and overturned."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from models import creators
from models.commands.parties import (
    EndContract,
    OverturnViolation,
    RegisterClient,
    RegisterCreator,
    RegisterMcn,
    RegisterProvider,
    ReportViolation,
)
from models.creators import (
    RegisteredClient,
    RegisteredMcn,
    RegisteredProvider,
    ViolationReport,
)
from models.events.parties import (
    ClientRegistered,
    ContractEnded,
    CreatorRegistered,
    McnRegistered,
    OperatorActed,
    ProviderRegistered,
)
from models.lifecycle import Role
from models.reasons import RejectionReason
from models.service.outcome import Outcome, applied, cause_of, rejected
from models.service.unit_of_work import UnitOfWork


def register_mcn(uow: UnitOfWork, command: RegisterMcn, at: datetime) -> Outcome:
    """Admit an agency, or rename it."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    mcn = uow.mcns.get(command.mcn_id)
    sequence = mcn.sequence + 1 if mcn else 1
    uow.mcns[command.mcn_id] = RegisteredMcn(
        mcn_id=command.mcn_id, name=command.name, sequence=sequence
    )
    fact = McnRegistered(mcn_id=command.mcn_id, name=command.name)
    return applied(
        (uow.record_fact(f"mcn:{command.mcn_id}", sequence, at, cause_of(command), fact),)
    )


def register_client(uow: UnitOfWork, command: RegisterClient, at: datetime) -> Outcome:
    """Admit a client, or rename it."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    client_id, client = command.client_id, uow.clients.get(command.client_id)
    sequence = client.sequence + 1 if client else 1
    uow.clients[client_id] = RegisteredClient(
        client_id=client_id, name=command.name, sequence=sequence
    )
    fact = ClientRegistered(client_id=client_id, name=command.name)
    return applied((uow.record_fact(f"client:{client_id}", sequence, at, cause_of(command), fact),))


def register_provider(uow: UnitOfWork, command: RegisterProvider, at: datetime) -> Outcome:
    """Admit a service provider, or rename it."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    provider_id, provider = command.provider_id, uow.providers.get(command.provider_id)
    sequence = provider.sequence + 1 if provider else 1
    uow.providers[provider_id] = RegisteredProvider(
        provider_id=provider_id, name=command.name, sequence=sequence
    )
    fact = ProviderRegistered(provider_id=provider_id, name=command.name)
    return applied(
        (uow.record_fact(f"provider:{provider_id}", sequence, at, cause_of(command), fact),)
    )


def register_creator(uow: UnitOfWork, command: RegisterCreator, at: datetime) -> Outcome:
    """Admit a creator, or change the contract; a ban runs on."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    if command.mcn_id is not None and command.mcn_id not in uow.mcns:
        return rejected(RejectionReason.UNKNOWN_MCN)
    fact = CreatorRegistered(
        creator_id=command.creator_id,
        name=command.name,
        contract=command.contract,
        mcn_id=command.mcn_id,
        mcn_share_bps=command.mcn_share_bps or 0,
    )
    creator_id = command.creator_id
    elapsed = uow.elapse_creator(creator_id, at) if creator_id in uow.creators else ()
    events = uow.record_creator_facts(creator_id, (fact,), at, cause_of(command))
    return applied(elapsed + events)


def end_contract(uow: UnitOfWork, command: EndContract, at: datetime) -> Outcome:
    """End a creator's contract: what is not accepted ends, what is runs on."""
    creator_id = command.creator_id
    is_other_creator = command.by.role == Role.CREATOR.value and command.by.id != creator_id
    if command.by.role not in command.roles or is_other_creator:
        return rejected(RejectionReason.NOT_ALLOWED)
    if creator_id not in uow.creators:
        return rejected(RejectionReason.UNKNOWN_CREATOR)
    elapsed = uow.elapse_creator(creator_id, at)
    if not uow.creators[creator_id].admitted:
        return rejected(RejectionReason.CREATOR_NOT_ADMITTED, elapsed)
    fact = ContractEnded(creator_id=creator_id, by=command.sender, note=command.reason)
    return applied(elapsed + uow.record_creator_facts(creator_id, (fact,), at, cause_of(command)))


def report_violation(uow: UnitOfWork, command: ReportViolation, at: datetime) -> Outcome:
    """Take a report of an advertisement outside the platform, once, and what follows from it."""
    creator_id, violation_id = command.creator_id, command.violation_id
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    if creator_id not in uow.creators:
        return rejected(RejectionReason.UNKNOWN_CREATOR)
    report = uow.violations.get(violation_id)
    if report is not None and report.content == command.content():
        return applied((), outcome="duplicate")
    if report is not None:
        return rejected(RejectionReason.VIOLATION_CONFLICT)
    elapsed = uow.elapse_creator(creator_id, at)
    uow.violations[violation_id] = ViolationReport(
        violation_id=violation_id, creator_id=creator_id, content=command.content(), reported_at=at
    )
    facts = creators.penalize(uow.creators[creator_id], command, uow.policy, at)
    return applied(elapsed + uow.record_creator_facts(creator_id, facts, at, cause_of(command)))


def overturn_violation(uow: UnitOfWork, command: OverturnViolation, at: datetime) -> Outcome:
    """Let an operator declare a violation void; the ladder is climbed again without it."""
    if command.by.role not in command.roles:
        return rejected(RejectionReason.NOT_ALLOWED)
    report = uow.violations.get(command.violation_id)
    if report is None:
        return rejected(RejectionReason.UNKNOWN_VIOLATION)
    if report.overturned_at is not None:
        return rejected(RejectionReason.ALREADY_OVERTURNED)
    creator_id = report.creator_id
    elapsed = uow.elapse_creator(creator_id, at)
    uow.violations[command.violation_id] = replace(report, overturned_at=at)
    facts = creators.revoke_penalty(uow.creators[creator_id], command, uow.policy, at)
    operator_acted = OperatorActed(
        by=command.sender, note=command.reason, act=command.kind, before=None, after=None
    )
    events = uow.record_creator_facts(creator_id, (*facts, operator_acted), at, cause_of(command))
    return applied(elapsed + events)
