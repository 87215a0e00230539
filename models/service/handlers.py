"""Handlers: handle any command within a unit of work, once for each command id."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models import calendar
from models.commands import AnyCommand
from models.commands.command import OrderCommand
from models.commands.operators import OperatorAct, ResolveSuspense
from models.commands.orders import PlaceOrder
from models.commands.parties import (
    AppointProvider,
    EndContract,
    OverturnViolation,
    RegisterClient,
    RegisterCreator,
    RegisterMcn,
    RegisterProvider,
    ReportViolation,
)
from models.commands.payments import ConfirmPayment, ConfirmPayout, ConfirmRefund
from models.events.notifications import CommandSettled
from models.orders import offers
from models.orders.decide import decide
from models.reasons import RejectionReason
from models.service import party_handlers, payment_handlers
from models.service.outcome import Outcome, Receipt, applied, cause_of, rejected
from models.service.unit_of_work import UnitOfWork


def handle(uow: UnitOfWork, command: AnyCommand, at: datetime) -> Outcome:
    """Handle a command received at `at`, and record all that follows in the unit of work.

    A command id is handled once: a repeat gets the first outcome and changes nothing.
    """
    receipt = uow.receipts.get(command.id)
    if receipt is not None and receipt.fingerprint == command.fingerprint():
        return Outcome(outcome="duplicate", reason=receipt.reason, cost_fen=receipt.cost_fen)
    if isinstance(command, PlaceOrder):
        terms_error = offers.find_terms_error(command, uow.policy, at)
        if terms_error is not None:
            return rejected(RejectionReason.MALFORMED, detail=str(terms_error))
    if receipt is not None:
        return rejected(RejectionReason.ID_REUSED)
    outcome = _HANDLERS.get(type(command), _handle_order_command)(uow, command, at)
    uow.receipts[command.id] = Receipt(
        command_id=command.id,
        fingerprint=command.fingerprint(),
        outcome=outcome.outcome,
        reason=outcome.reason,
        received_at=at,
        about=order_id_of(command),
        cost_fen=outcome.cost_fen,
    )
    return outcome


def order_id_of(command: AnyCommand) -> str | None:
    """Return the order that a command is about, if it is about one."""
    return command.order_id if isinstance(command, OrderCommand | OperatorAct) else None


def describe_outcome(
    command_id: str | None, command: AnyCommand | None, outcome: Outcome
) -> CommandSettled:
    """Describe an outcome for the sender: the fact that is published for every command."""
    return CommandSettled(
        command_id=command_id,
        kind=command.kind if command else None,
        outcome=outcome.outcome,
        reason=outcome.reason,
        detail=outcome.detail,
        about=order_id_of(command) if command else None,
        cost_fen=outcome.cost_fen,
    )


def _handle_order_command(
    uow: UnitOfWork, command: OrderCommand | OperatorAct, at: datetime
) -> Outcome:
    order = uow.orders.get(command.order_id)
    if order is None:
        return rejected(RejectionReason.UNKNOWN_ORDER)
    creator = uow.creators.get(order.creator_id)
    decision = decide(order, command, at, creator, _unknown_party_reason(uow, command))
    events = uow.record_decision(decision)
    if decision.reason is None:
        return applied(events)
    return rejected(decision.reason, events, cost_fen=decision.cost_fen)


def _unknown_party_reason(
    uow: UnitOfWork, command: OrderCommand | OperatorAct
) -> RejectionReason | None:
    """Return the refusal due if a command names a service provider that nobody knows."""
    inner_command = command.command if isinstance(command, OperatorAct) else command
    provider_id = inner_command.provider_id if isinstance(inner_command, AppointProvider) else None
    return (
        RejectionReason.UNKNOWN_PROVIDER
        if provider_id and provider_id not in uow.providers
        else None
    )


def _place_order(uow: UnitOfWork, command: PlaceOrder, at: datetime) -> Outcome:
    refusal = _placement_refusal(uow, command, at)
    if refusal is not None:
        return rejected(refusal)
    fact = offers.freeze_terms(command, uow.policy, at)
    return applied(uow.add_order(command.order_id, fact, at, cause_of(command)))


def _placement_refusal(
    uow: UnitOfWork, command: PlaceOrder, at: datetime
) -> RejectionReason | None:
    """Say why an order cannot be placed, in order of precedence."""
    if command.order_id in uow.orders:
        return RejectionReason.ORDER_EXISTS
    if command.by.role not in command.roles:
        return RejectionReason.NOT_ALLOWED
    if uow.policy.require_registered_clients and command.by.id not in uow.clients:
        return RejectionReason.UNKNOWN_CLIENT
    if command.creator_id not in uow.creators:
        return RejectionReason.UNKNOWN_CREATOR
    standing = uow.creators[command.creator_id].standing_at(at)
    if not standing.admitted or standing.banned:
        return (
            RejectionReason.CREATOR_BANNED
            if standing.admitted
            else RejectionReason.CREATOR_NOT_ADMITTED
        )
    calendar_known = calendar.is_calendar_known(uow.policy, at, command.expected_publish_at)
    return None if calendar_known else RejectionReason.CALENDAR_UNKNOWN


_HANDLERS: dict[type, Callable[[UnitOfWork, Any, datetime], Outcome]] = {
    RegisterMcn: party_handlers.register_mcn,
    RegisterCreator: party_handlers.register_creator,
    RegisterClient: party_handlers.register_client,
    RegisterProvider: party_handlers.register_provider,
    EndContract: party_handlers.end_contract,
    ReportViolation: party_handlers.report_violation,
    OverturnViolation: party_handlers.overturn_violation,
    PlaceOrder: _place_order,
    ConfirmPayment: payment_handlers.confirm_payment,
    ConfirmRefund: payment_handlers.confirm_refund,
    ConfirmPayout: payment_handlers.confirm_payout,
    ResolveSuspense: payment_handlers.resolve_suspense,
}
