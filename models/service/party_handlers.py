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
from models.creators import Client, Mcn, Provider, Report, Turn
from models.events.parties import (
    ClientRegistered,
    ContractEnded,
    CreatorBanned,
    CreatorRegistered,
    McnRegistered,
    OperatorActed,
    ProviderRegistered,
)
from models.lifecycle import Role
from models.orders.decision import said_by
from models.reasons import Reason
from models.service.outcome import Settlement, applied, refused, why
from models.service.unit_of_work import Book


def register_mcn(book: Book, command: RegisterMcn, at: datetime) -> Settlement:
    """Admit an agency, or rename it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    mcn = book.mcns.get(command.mcn_id)
    sequence = mcn.sequence + 1 if mcn else 1
    book.mcns[command.mcn_id] = Mcn(mcn_id=command.mcn_id, name=command.name, sequence=sequence)
    fact = McnRegistered(mcn_id=command.mcn_id, name=command.name)
    return applied((book.tell(f"mcn:{command.mcn_id}", sequence, at, why(command), fact),))


def register_client(book: Book, command: RegisterClient, at: datetime) -> Settlement:
    """Admit a client, or rename it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    client_id, client = command.client_id, book.clients.get(command.client_id)
    sequence = client.sequence + 1 if client else 1
    book.clients[client_id] = Client(client_id=client_id, name=command.name, sequence=sequence)
    fact = ClientRegistered(client_id=client_id, name=command.name)
    return applied((book.tell(f"client:{client_id}", sequence, at, why(command), fact),))


def register_provider(book: Book, command: RegisterProvider, at: datetime) -> Settlement:
    """Admit a service provider, or rename it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    provider_id, provider = command.provider_id, book.providers.get(command.provider_id)
    sequence = provider.sequence + 1 if provider else 1
    book.providers[provider_id] = Provider(
        provider_id=provider_id, name=command.name, sequence=sequence
    )
    fact = ProviderRegistered(provider_id=provider_id, name=command.name)
    return applied((book.tell(f"provider:{provider_id}", sequence, at, why(command), fact),))


def register_creator(book: Book, command: RegisterCreator, at: datetime) -> Settlement:
    """Admit a creator, or change the contract; a ban runs on."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    if command.mcn_id is not None and command.mcn_id not in book.mcns:
        return refused(Reason.UNKNOWN_MCN)
    fact = CreatorRegistered(
        creator_id=command.creator_id,
        name=command.name,
        contract=command.contract,
        mcn_id=command.mcn_id,
        mcn_share_bps=command.mcn_share_bps or 0,
    )
    return applied(book.tell_creator(command.creator_id, (fact,), at, why(command)))


def end_contract(book: Book, command: EndContract, at: datetime) -> Settlement:
    """End a creator's contract: what is not accepted ends, what is runs on."""
    creator_id = command.creator_id
    stranger = command.by.role == Role.CREATOR.value and command.by.id != creator_id
    if command.by.role not in command.roles or stranger:
        return refused(Reason.NOT_ALLOWED)
    if creator_id not in book.creators:
        return refused(Reason.UNKNOWN_CREATOR)
    elapsed = book.elapse_creator(creator_id, at)
    if not book.creators[creator_id].admitted:
        return refused(Reason.CREATOR_NOT_ADMITTED, elapsed)
    fact = ContractEnded(creator_id=creator_id, by=said_by(command), note=command.reason)
    events = book.tell_creator(creator_id, (fact,), at, why(command))
    change = Turn(at, book.creators[creator_id].standing)
    return applied(elapsed + events + book.spread(creator_id, change, begins=False))


def report_violation(book: Book, command: ReportViolation, at: datetime) -> Settlement:
    """Take a report of an advertisement outside the platform, once, and what follows from it."""
    creator_id, violation_id = command.creator_id, command.violation_id
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    if creator_id not in book.creators:
        return refused(Reason.UNKNOWN_CREATOR)
    report = book.violations.get(violation_id)
    if report is not None and report.content == command.content():
        return applied((), outcome="duplicate")
    if report is not None:
        return refused(Reason.VIOLATION_CONFLICT)
    elapsed = book.elapse_creator(creator_id, at)
    book.violations[violation_id] = Report(
        violation_id=violation_id, creator_id=creator_id, content=command.content(), reported_at=at
    )
    facts = creators.report(book.creators[creator_id], command, book.policy, at)
    events = book.tell_creator(creator_id, facts, at, why(command))
    begins = any(isinstance(fact, CreatorBanned) and fact.since == at for fact in facts)
    change = Turn(at, book.creators[creator_id].standing)
    return applied(elapsed + events + book.spread(creator_id, change, begins=begins))


def overturn_violation(book: Book, command: OverturnViolation, at: datetime) -> Settlement:
    """Let an operator declare a violation void; the ladder is climbed again without it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    report = book.violations.get(command.violation_id)
    if report is None:
        return refused(Reason.UNKNOWN_VIOLATION)
    if report.overturned_at is not None:
        return refused(Reason.ALREADY_OVERTURNED)
    creator_id = report.creator_id
    elapsed = book.elapse_creator(creator_id, at)
    book.violations[command.violation_id] = replace(report, overturned_at=at)
    last_violation_id = book.creators[creator_id].standing.violation_id
    facts = creators.overturn(book.creators[creator_id], command, book.policy, at)
    acted = OperatorActed(
        by=said_by(command), note=command.reason, act=command.kind, before=None, after=None
    )
    events = book.tell_creator(creator_id, (*facts, acted), at, why(command))
    creator_standing = book.creators[creator_id].standing
    change = Turn(
        at,
        replace(creator_standing, violation_id=creator_standing.violation_id or last_violation_id),
    )
    return applied(elapsed + events + book.spread(creator_id, change, begins=False))
