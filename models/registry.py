"""Registry: hearing of who is admitted, who leaves, and who broke the rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from models import penalties
from models.answer import Settlement, applied, refused, why
from models.book import Book
from models.commands import (
    EndContract,
    OverturnViolation,
    RegisterClient,
    RegisterCreator,
    RegisterMcn,
    RegisterProvider,
    ReportViolation,
)
from models.creator import Turn
from models.judges import said_by
from models.lifecycle import Role
from models.parties import Client, Mcn, Provider, Report
from models.party_events import (
    ClientRegistered,
    ContractEnded,
    CreatorBanned,
    CreatorRegistered,
    McnRegistered,
    OperatorActed,
    ProviderRegistered,
)
from models.reasons import Reason


def register_mcn(book: Book, command: RegisterMcn, at: datetime) -> Settlement:
    """Admit an agency, or rename it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    known = book.mcns.get(command.mcn_id)
    number = known.sequence + 1 if known else 1
    book.mcns[command.mcn_id] = Mcn(mcn_id=command.mcn_id, name=command.name, sequence=number)
    fact = McnRegistered(mcn_id=command.mcn_id, name=command.name)
    return applied((book.tell(f"mcn:{command.mcn_id}", number, at, why(command), fact),))


def register_client(book: Book, command: RegisterClient, at: datetime) -> Settlement:
    """Admit a client, or rename it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    who, known = command.client_id, book.clients.get(command.client_id)
    number = known.sequence + 1 if known else 1
    book.clients[who] = Client(client_id=who, name=command.name, sequence=number)
    fact = ClientRegistered(client_id=who, name=command.name)
    return applied((book.tell(f"client:{who}", number, at, why(command), fact),))


def register_provider(book: Book, command: RegisterProvider, at: datetime) -> Settlement:
    """Admit a service provider, or rename it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    who, known = command.provider_id, book.providers.get(command.provider_id)
    number = known.sequence + 1 if known else 1
    book.providers[who] = Provider(provider_id=who, name=command.name, sequence=number)
    fact = ProviderRegistered(provider_id=who, name=command.name)
    return applied((book.tell(f"provider:{who}", number, at, why(command), fact),))


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
    who = command.creator_id
    stranger = command.by.role == Role.CREATOR.value and command.by.id != who
    if command.by.role not in command.roles or stranger:
        return refused(Reason.NOT_ALLOWED)
    if who not in book.creators:
        return refused(Reason.UNKNOWN_CREATOR)
    passed = book.elapse_creator(who, at)
    if not book.creators[who].admitted:
        return refused(Reason.CREATOR_NOT_ADMITTED, passed)
    fact = ContractEnded(creator_id=who, by=said_by(command), note=command.reason)
    told = book.tell_creator(who, (fact,), at, why(command))
    turn = Turn(at, book.creators[who].standing)
    return applied(passed + told + book.spread(who, turn, begins=False))


def report_violation(book: Book, command: ReportViolation, at: datetime) -> Settlement:
    """Take a report of an advertisement outside the platform, once, and what follows from it."""
    who, name = command.creator_id, command.violation_id
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    if who not in book.creators:
        return refused(Reason.UNKNOWN_CREATOR)
    known = book.violations.get(name)
    if known is not None and known.content == command.content():
        return applied((), outcome="duplicate")
    if known is not None:
        return refused(Reason.VIOLATION_CONFLICT)
    passed = book.elapse_creator(who, at)
    book.violations[name] = Report(
        violation_id=name, creator_id=who, content=command.content(), reported_at=at
    )
    facts = penalties.report(book.creators[who], command, book.policy, at)
    told = book.tell_creator(who, facts, at, why(command))
    begins = any(isinstance(one, CreatorBanned) and one.since == at for one in facts)
    turn = Turn(at, book.creators[who].standing)
    return applied(passed + told + book.spread(who, turn, begins=begins))


def overturn_violation(book: Book, command: OverturnViolation, at: datetime) -> Settlement:
    """Let an operator declare a violation void; the ladder is climbed again without it."""
    if command.by.role not in command.roles:
        return refused(Reason.NOT_ALLOWED)
    known = book.violations.get(command.violation_id)
    if known is None:
        return refused(Reason.UNKNOWN_VIOLATION)
    if known.overturned_at is not None:
        return refused(Reason.ALREADY_OVERTURNED)
    who = known.creator_id
    passed = book.elapse_creator(who, at)
    book.violations[command.violation_id] = replace(known, overturned_at=at)
    last = book.creators[who].standing.violation_id
    facts = penalties.overturn(book.creators[who], command, book.policy, at)
    acted = OperatorActed(
        by=said_by(command), note=command.reason, act=command.kind, before=None, after=None
    )
    told = book.tell_creator(who, (*facts, acted), at, why(command))
    standing = book.creators[who].standing
    turn = Turn(at, replace(standing, violation_id=standing.violation_id or last))
    return applied(passed + told + book.spread(who, turn, begins=False))
