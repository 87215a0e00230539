"""Dependencies: what a command needs loaded, what blocks it, and what must come before it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
from models.creators import ViolationReport
from models.obligations import (
    make_refund_base_id,
    parse_payout_order_id,
    parse_refund_order_ids,
    share_id,
    strip_refund_number,
)
from models.orders.order import Order
from models.service.unit_of_work import UnitOfWork

MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class Dependencies:
    """Ids to look up; `bases` are spellings of refund ids, whose pairs may collide.

    `admitting` are creators that must not change meanwhile, `changing` those that will, and
    `rosters` those among them whose open orders all learn of it.
    """

    orders: set[str] = field(default_factory=set)
    creators: set[str] = field(default_factory=set)
    creators_held_unchanged: set[str] = field(default_factory=set)
    creators_changing: set[str] = field(default_factory=set)
    creators_with_open_orders: set[str] = field(default_factory=set)
    mcns: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    violations: set[str] = field(default_factory=set)
    payments: set[str] = field(default_factory=set)
    refund_base_ids: set[str] = field(default_factory=set)
    payouts: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)

    def add_violations(self, reports: Iterable[ViolationReport]) -> None:
        """Add what reported violations lead to: their creators, and all that concerns them."""
        self.creators_with_open_orders.update(report.creator_id for report in reports)
        self.creators_changing |= self.creators_with_open_orders

    def add_orders(self, orders: Iterable[Order]) -> None:
        """Add what the orders themselves lead to: their creators, their refunds."""
        for order in orders:
            self.creators.add(order.creator_id)
            holdings = (*order.held, *order.forfeited)
            self.refund_base_ids.update(
                make_refund_base_id(holding.payment_id, order.order_id) for holding in holdings
            )

    def add_wakeups(self, subjects: Iterable[str]) -> None:
        """Add what is to be told that time has passed."""
        for subject in subjects:
            kind, _, name = subject.rpartition(":")
            if kind == "creator":
                self.creators_with_open_orders.add(name)
            elif kind == "refund":
                self.refund_base_ids.add(strip_refund_number(name))
            elif kind == "payout":
                self.payouts.add(name)
            else:
                self.orders.add(name)
        self.creators_changing |= self.creators_with_open_orders


def dependencies_of(commands: Iterable[AnyCommand], wakes: Iterable[str] = ()) -> Dependencies:
    """Collect what some commands, and some wake-ups, may concern."""
    dependencies = Dependencies()
    dependencies.add_wakeups(wakes)
    for command in commands:
        dependencies.orders.update(related_order_ids_of(command))
        _add_parties(dependencies, command)
        _add_payments(dependencies, command)
    dependencies.creators_changing |= dependencies.creators_with_open_orders
    return dependencies


def _add_parties(dependencies: Dependencies, command: AnyCommand) -> None:
    inner_command = command.command if isinstance(command, OperatorAct) else command
    match inner_command:
        case PlaceOrder():
            dependencies.creators_held_unchanged.add(inner_command.creator_id)
            dependencies.clients.add(inner_command.by.id)
        case RegisterCreator():
            dependencies.creators_changing.add(inner_command.creator_id)
            dependencies.mcns.update(filter(None, (inner_command.mcn_id,)))
        case RegisterMcn():
            dependencies.mcns.add(inner_command.mcn_id)
        case RegisterClient():
            dependencies.clients.add(inner_command.client_id)
        case RegisterProvider():
            dependencies.providers.add(inner_command.provider_id)
        case AppointProvider():
            dependencies.providers.update(filter(None, (inner_command.provider_id,)))
        case EndContract():
            dependencies.creators_with_open_orders.add(inner_command.creator_id)
        case ReportViolation():
            dependencies.creators_with_open_orders.add(inner_command.creator_id)
            dependencies.violations.add(inner_command.violation_id)
        case OverturnViolation():
            dependencies.violations.add(inner_command.violation_id)
        case _:
            pass


def _add_payments(dependencies: Dependencies, command: AnyCommand) -> None:
    match command:
        case ConfirmPayment():
            dependencies.payments.add(command.payment_id)
            order_ids = (None, *related_order_ids_of(command))
            dependencies.refund_base_ids.update(
                make_refund_base_id(command.payment_id, order_id) for order_id in order_ids
            )
        case ConfirmRefund():
            dependencies.refund_base_ids.add(strip_refund_number(command.refund_id))
        case ConfirmPayout():
            dependencies.payouts.add(command.payout_id)
        case ResolveSuspense():
            dependencies.payments.add(command.payment_id)
            dependencies.refund_base_ids.add(
                make_refund_base_id(command.payment_id, command.order_id)
            )
            dependencies.suspended.add(share_id(command.payment_id, command.order_id))
        case _:
            pass


def related_order_ids_of(command: AnyCommand) -> tuple[str, ...]:
    """Return the ids of the orders a command may concern."""
    if isinstance(command, OrderCommand | OperatorAct):
        return (command.order_id,)
    if isinstance(command, ConfirmPayment):
        return tuple(share.order_id for share in command.shares)
    if isinstance(command, ConfirmPayout):
        return tuple(filter(None, (parse_payout_order_id(command.payout_id),)))
    return parse_refund_order_ids(command.refund_id) if isinstance(command, ConfirmRefund) else ()


def blocked_by(book: UnitOfWork, command: AnyCommand) -> set[str]:
    """Name what a command depends on: it keeps its order behind whatever holds one of these up."""
    order_ids = related_order_ids_of(command)
    subjects = {f"order:{order_id}" for order_id in order_ids}
    orders = (book.orders[order_id] for order_id in order_ids if order_id in book.orders)
    subjects.update(f"creator:{order.creator_id}" for order in orders)
    if isinstance(command, PlaceOrder):
        subjects.add(f"creator:{command.creator_id}")
    return subjects | _creator_subjects(book, command)


def blocks(book: UnitOfWork, command: AnyCommand) -> set[str]:
    """Name what nobody may go past a command about: its orders, or a creator with all orders."""
    subjects = {f"order:{order_id}" for order_id in related_order_ids_of(command)}
    return subjects | _creator_subjects(book, command)


def _creator_subjects(book: UnitOfWork, command: AnyCommand) -> set[str]:
    if isinstance(command, RegisterCreator | EndContract | ReportViolation):
        return {f"creator:{command.creator_id}"}
    if isinstance(command, OverturnViolation) and command.violation_id in book.violations:
        return {f"creator:{book.violations[command.violation_id].creator_id}"}
    return set()


def names_unknown_order(command: AnyCommand, known_order_ids: Container[str]) -> bool:
    """Tell whether a command speaks of an order that may simply not have been placed yet."""
    if isinstance(command, PlaceOrder | ConfirmRefund | ConfirmPayout):
        return False
    return any(order_id not in known_order_ids for order_id in related_order_ids_of(command))


def must_wait_until(book: UnitOfWork, command: AnyCommand, at: datetime) -> datetime | None:
    """Return the last instant up to which all that was received must be heard before this is.

    None where it overtakes nobody. A command ends the waits that were over when it came, and what
    it says of a creator ends the waits of others: who came in time for them comes first.
    """
    if isinstance(command, ReportViolation | OverturnViolation | EndContract):
        return at - MICROSECOND
    orders = (
        book.orders[order_id]
        for order_id in related_order_ids_of(command)
        if order_id in book.orders
    )
    return max(
        (ends_at for order in orders for ends_at in _waits_ended_before(book, order, at)),
        default=None,
    )


def _waits_ended_before(book: UnitOfWork, order: Order, at: datetime) -> Iterable[datetime]:
    if order.lapses_at is not None and order.lapses_at < at:
        yield order.lapses_at
    yield from (change.at for change in book.standing_changes(order, at))
