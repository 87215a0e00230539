"""Handlers: handle any command within a unit of work, once for each command id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from models import calendar
from models.commands import AnyCommand
from models.commands.command import OrderCommand
from models.commands.operators import (
    HoldPayout,
    OperatorAct,
    ReleasePayout,
    RescheduleOrder,
    ResolveSuspense,
    ReversePayout,
    VoidPayment,
)
from models.commands.orders import AgreeSchedule, PlaceOrder, ProposeSchedule, PublishWork
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
from models.commands.payments import (
    ConfirmPayment,
    ConfirmPayout,
    ConfirmRefund,
    FailPayout,
    FailRefund,
)
from models.errors import FieldError
from models.events.notifications import CommandSettled
from models.obligations import SuspenseItem
from models.orders import fulfilment, offers, schedules
from models.orders.decide import decide
from models.policy import Policy
from models.reasons import RejectionReason
from models.service import debt_handlers, party_handlers, payment_handlers
from models.service.outcome import (
    JudgedCommand,
    Outcome,
    Receipt,
    applied,
    cause_of,
    rejected,
    repeated,
)
from models.service.parked import ParkedCommand, ReceiptOrder, find_awaited_order
from models.service.unit_of_work import RecordedEvents, UnitOfWork


def handle(uow: UnitOfWork, command: AnyCommand, at: datetime, number: int) -> list[JudgedCommand]:
    """Handle a command received at `at`, and record all that follows in the unit of work.

    `number` is its number of receipt. First comes the command itself, then what its coming has
    answered. Nothing comes where it is parked: it waits for an order that may yet be placed.
    """
    if uow.parked and str(number) in uow.parked:
        # Delivered again: it waits already.
        return []
    answered: list[JudgedCommand] = []
    namesakes = uow.parked_under_id(command)
    if namesakes and at > namesakes[0].answer_at:
        answered += _judge_parked(uow, namesakes, namesakes[0].answer_at)
        namesakes = []
    wait = _find_wait(uow, command, namesakes, at)
    # What is malformed is so at its receipt, and waits for nothing.
    if wait is not None and find_field_error(command, uow.policy, at) is None:
        order_id, answer_at = wait
        waiting = ParkedCommand(
            command=command, order_id=order_id, received_at=at, number=number, answer_at=answer_at
        )
        return [*_park(uow, waiting, is_repeat=bool(namesakes)), *answered]
    if isinstance(command, PlaceOrder):
        answered += _answer_overdue(uow, command.order_id, at)
    outcome = _judge(uow, command, at, number, received_at=at)
    if isinstance(command, PlaceOrder) and outcome.outcome == "applied":
        events, released = _release(uow, command, at)
        outcome = replace(outcome, events=outcome.events + events) if events else outcome
        answered += released
    return [JudgedCommand(command, number, at, at, outcome), *answered]


def _find_wait(
    uow: UnitOfWork, command: AnyCommand, namesakes: list[ParkedCommand], at: datetime
) -> tuple[str, datetime] | None:
    """Say for which order a command waits, and until when; None where it can be judged now.

    A repeat waits behind the command that it repeats, for the same order.
    """
    if namesakes:
        return namesakes[0].order_id, namesakes[0].answer_at
    order_id = find_awaited_order(command)
    if order_id is None or order_id in uow.orders or command.key in uow.receipts:
        return None
    return order_id, at + uow.policy.placement_grace


def handle_without_waiting(
    uow: UnitOfWork, command: AnyCommand, at: datetime, number: int = 0
) -> Outcome:
    """Handle a command as if its order, where nobody knows it, were never placed."""
    judged = handle(uow, command, at, number) or expire_parked(
        uow, str(number), datetime.max.replace(tzinfo=UTC)
    )
    return next(judged.outcome for judged in judged if judged.number == number)


def expire_parked(uow: UnitOfWork, key: str, now: datetime) -> list[JudgedCommand]:
    """Answer a parked command whose order was not placed in time, and its repeats behind it."""
    waiting = uow.parked.get(key)
    if waiting is None or now <= waiting.answer_at:
        return []
    return _judge_parked(uow, uow.parked_under_id(waiting.command), waiting.answer_at)


def _park(uow: UnitOfWork, waiting: ParkedCommand, *, is_repeat: bool) -> list[JudgedCommand]:
    """Let a command wait; of a sender that has too many waiting, answer it at once."""
    if uow.has_room_to_park(waiting.sender, waiting.received_at):
        uow.park(waiting)
        return []
    command, at, number = waiting.command, waiting.received_at, waiting.number
    # A repeat leaves no receipt: the outcome of the command that it repeats is still to come.
    outcome = (
        rejected(RejectionReason.UNKNOWN_ORDER)
        if is_repeat
        else _judge(uow, command, at, number, received_at=at)
    )
    return [JudgedCommand(command, number, at, at, outcome)]


def _judge_parked(uow: UnitOfWork, group: list[ParkedCommand], at: datetime) -> list[JudgedCommand]:
    """Judge a command that waited, and its repeats right after it, as of `at`."""
    judged = []
    for waiting in group:
        uow.unpark(waiting)
        command, number, received_at = waiting.command, waiting.number, waiting.received_at
        outcome = _judge(uow, command, at, number, received_at=received_at)
        judged.append(JudgedCommand(command, number, received_at, at, outcome))
    return judged


def _answer_overdue(uow: UnitOfWork, order_id: str, before: datetime) -> list[JudgedCommand]:
    """Answer what waited for an order in vain, where no wake-up has done so yet."""
    return [
        judged
        for group in uow.parked_for(order_id)
        if group[0].answer_at < before
        for judged in _judge_parked(uow, group, group[0].answer_at)
    ]


def _release(
    uow: UnitOfWork, placement: PlaceOrder, at: datetime
) -> tuple[RecordedEvents, list[JudgedCommand]]:
    """Judge all that waited for an order just placed, in the order of its receipt.

    Return the events of shares in suspense, which stand in the placement's line, and the commands.
    """
    events, released = RecordedEvents(), list[JudgedCommand]()
    if not (uow.suspended or uow.parked):
        return events, released
    waiting: list[tuple[ReceiptOrder, SuspenseItem | list[ParkedCommand]]] = [
        *((item.receipt_order, item) for item in uow.suspended_for(placement.order_id)),
        *((group[0].receipt_order, group) for group in uow.parked_for(placement.order_id)),
    ]
    for _, item in sorted(waiting, key=itemgetter(0)):
        if isinstance(item, SuspenseItem):
            events += payment_handlers.apply_suspended_share(uow, item, placement, at)
        else:
            released += _judge_parked(uow, item, at)
    return events, released


def _judge(
    uow: UnitOfWork, command: AnyCommand, at: datetime, number: int, *, received_at: datetime
) -> Outcome:
    """Judge a command as of `at`; a command id is judged once: a repeat changes nothing."""
    receipt = uow.receipts.get(command.key)
    if receipt is not None and receipt.fingerprint == command.fingerprint():
        return repeated(receipt)
    field_error = find_field_error(command, uow.policy, received_at)
    if field_error is not None:
        return rejected(RejectionReason.MALFORMED, detail=str(field_error))
    if receipt is not None:
        return rejected(RejectionReason.ID_REUSED)
    if isinstance(command, ConfirmPayment):
        outcome = payment_handlers.confirm_payment(uow, command, at, number)
    else:
        outcome = _HANDLERS.get(type(command), _handle_order_command)(uow, command, at)
    uow.receipts[command.key] = Receipt(
        sender=command.sender,
        command_id=command.id,
        fingerprint=command.fingerprint(),
        outcome=outcome.outcome,
        reason=outcome.reason,
        received_at=received_at,
        about=order_id_of(command),
        limits=outcome.limits,
    )
    return outcome


def find_field_error(command: AnyCommand, policy: Policy, at: datetime) -> FieldError | None:
    """Say which field no command received at `at` may have: such a command is malformed."""
    match command:
        case PlaceOrder():
            return offers.find_terms_error(command, policy, at)
        case PublishWork():
            return fulfilment.find_publication_error(command, policy, at)
        case ProposeSchedule() | AgreeSchedule() | RescheduleOrder():
            return schedules.find_schedule_error(command.expected_publish_at, at)
        case OperatorAct():
            error = find_field_error(command.command, policy, at)
            return None if error is None else FieldError(f"command.{error.field}", error.detail)
        case _:
            return None


def order_id_of(command: AnyCommand) -> str | None:
    """Return the order that a command is about, if it is about one."""
    return command.order_id if isinstance(command, OrderCommand | OperatorAct) else None


def describe_outcome(
    sender: str | None, command_id: str | None, command: AnyCommand | None, outcome: Outcome
) -> CommandSettled:
    """Describe an outcome for the sender: the fact that is published for every command."""
    return CommandSettled(
        sender=sender,
        command_id=command_id,
        kind=command.kind if command else None,
        outcome=outcome.outcome,
        reason=outcome.reason,
        detail=outcome.detail,
        about=order_id_of(command) if command else None,
        cost_fen=outcome.cost_fen,
        first=outcome.first,
        limits=outcome.limits,
        shares=outcome.shares,
    )


def _handle_order_command(
    uow: UnitOfWork, command: OrderCommand | OperatorAct, at: datetime
) -> Outcome:
    order = uow.orders.get(command.order_id)
    if order is None:
        return rejected(RejectionReason.UNKNOWN_ORDER)
    creator = uow.creator_at(order.creator_id, at)
    decision = decide(order, command, at, creator, _unknown_party_reason(uow, command))
    events = uow.record_decision(decision)
    if decision.reason is None:
        return applied(events)
    return rejected(decision.reason, events, limits=decision.limits)


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
    if refusal is RejectionReason.TOO_MANY_UNPAID:
        return rejected(refusal, limits={"limit": uow.policy.unpaid_orders_limit})
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
    return _offer_refusal(uow, command, at)


def _offer_refusal(uow: UnitOfWork, command: PlaceOrder, at: datetime) -> RejectionReason | None:
    """Say why nothing may be offered to this creator by this client now, if so."""
    creator = uow.creator_at(command.creator_id, at)
    if creator is None:
        return RejectionReason.UNKNOWN_CREATOR
    standing = creator.standing_at(at)
    if not standing.admitted:
        return RejectionReason.CREATOR_NOT_ADMITTED
    if not uow.has_room_for_unpaid(command.by.id, at):
        return RejectionReason.TOO_MANY_UNPAID
    if standing.banned:
        return RejectionReason.CREATOR_BANNED
    calendar_known = calendar.is_calendar_known(uow.policy, at)
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
    ConfirmRefund: debt_handlers.handle_refund,
    FailRefund: debt_handlers.handle_refund,
    ConfirmPayout: debt_handlers.handle_payout,
    FailPayout: debt_handlers.handle_payout,
    HoldPayout: debt_handlers.handle_payout,
    ReleasePayout: debt_handlers.handle_payout,
    ReversePayout: debt_handlers.handle_payout,
    ResolveSuspense: payment_handlers.resolve_suspense,
    VoidPayment: payment_handlers.void_payment,
}
