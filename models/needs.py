"""Needs: what must be in the book before commands can be judged."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models.book import Book
from models.command import OrderCommand
from models.commands import (
    AnyCommand,
    AppointProvider,
    ConfirmPayment,
    ConfirmPayout,
    ConfirmRefund,
    EndContract,
    OperatorAct,
    OverturnViolation,
    PlaceOrder,
    RegisterClient,
    RegisterCreator,
    RegisterMcn,
    RegisterProvider,
    ReportViolation,
    ResolveSuspense,
)
from models.debts import order_paid_out, share_id
from models.order import Order
from models.parties import Report
from models.refunds import base_id, base_of, orders_spelt

INSTANT = timedelta(microseconds=1)


@dataclass(slots=True)
class Needs:
    """Ids to look up; `bases` are spellings of refund ids, whose pairs may collide.

    `admitting` are creators that must not change meanwhile, `changing` those that will, and
    `rosters` those among them whose open orders all learn of it.
    """

    orders: set[str] = field(default_factory=set)
    creators: set[str] = field(default_factory=set)
    admitting: set[str] = field(default_factory=set)
    changing: set[str] = field(default_factory=set)
    rosters: set[str] = field(default_factory=set)
    mcns: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    violations: set[str] = field(default_factory=set)
    payments: set[str] = field(default_factory=set)
    bases: set[str] = field(default_factory=set)
    payouts: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)

    def trace(self, reports: Iterable[Report]) -> None:
        """Add what reported violations lead to: their creators, and all that concerns them."""
        self.rosters.update(one.creator_id for one in reports)
        self.changing |= self.rosters

    def follow(self, orders: Iterable[Order]) -> None:
        """Add what the orders themselves lead to: their creators, their refunds."""
        for order in orders:
            self.creators.add(order.creator_id)
            paid = (*order.held, *order.forfeited)
            self.bases.update(base_id(one.payment_id, order.order_id) for one in paid)

    def stir(self, subjects: Iterable[str]) -> None:
        """Add what is to be told that time has passed."""
        for subject in subjects:
            kind, _, name = subject.rpartition(":")
            if kind == "creator":
                self.rosters.add(name)
            elif kind == "refund":
                self.bases.add(base_of(name))
            elif kind == "payout":
                self.payouts.add(name)
            else:
                self.orders.add(name)
        self.changing |= self.rosters


def needs(commands: Iterable[AnyCommand], wakes: Iterable[str] = ()) -> Needs:
    """Collect what some commands, and some wake-ups, may concern."""
    wanted = Needs()
    wanted.stir(wakes)
    for command in commands:
        wanted.orders.update(concerned(command))
        _add_parties(wanted, command)
        _add_money(wanted, command)
    wanted.changing |= wanted.rosters
    return wanted


def _add_parties(wanted: Needs, command: AnyCommand) -> None:
    asked = command.command if isinstance(command, OperatorAct) else command
    match asked:
        case PlaceOrder():
            wanted.admitting.add(asked.creator_id)
            wanted.clients.add(asked.by.id)
        case RegisterCreator():
            wanted.changing.add(asked.creator_id)
            wanted.mcns.update(filter(None, (asked.mcn_id,)))
        case RegisterMcn():
            wanted.mcns.add(asked.mcn_id)
        case RegisterClient():
            wanted.clients.add(asked.client_id)
        case RegisterProvider():
            wanted.providers.add(asked.provider_id)
        case AppointProvider():
            wanted.providers.update(filter(None, (asked.provider_id,)))
        case EndContract():
            wanted.rosters.add(asked.creator_id)
        case ReportViolation():
            wanted.rosters.add(asked.creator_id)
            wanted.violations.add(asked.violation_id)
        case OverturnViolation():
            wanted.violations.add(asked.violation_id)
        case _:
            pass


def _add_money(wanted: Needs, command: AnyCommand) -> None:
    match command:
        case ConfirmPayment():
            wanted.payments.add(command.payment_id)
            pairs = (None, *concerned(command))
            wanted.bases.update(base_id(command.payment_id, order_id) for order_id in pairs)
        case ConfirmRefund():
            wanted.bases.add(base_of(command.refund_id))
        case ConfirmPayout():
            wanted.payouts.add(command.payout_id)
        case ResolveSuspense():
            wanted.payments.add(command.payment_id)
            wanted.bases.add(base_id(command.payment_id, command.order_id))
            wanted.suspended.add(share_id(command.payment_id, command.order_id))
        case _:
            pass


def concerned(command: AnyCommand) -> tuple[str, ...]:
    """Return the ids of the orders a command may concern."""
    if isinstance(command, OrderCommand | OperatorAct):
        return (command.order_id,)
    if isinstance(command, ConfirmPayment):
        return tuple(share.order_id for share in command.shares)
    if isinstance(command, ConfirmPayout):
        return tuple(filter(None, (order_paid_out(command.payout_id),)))
    return orders_spelt(command.refund_id) if isinstance(command, ConfirmRefund) else ()


def stands_behind(book: Book, command: AnyCommand) -> set[str]:
    """Name what a command depends on: it keeps its order behind whatever holds one of these up."""
    about = concerned(command)
    found = {f"order:{order_id}" for order_id in about}
    known = (book.orders[one] for one in about if one in book.orders)
    found.update(f"creator:{order.creator_id}" for order in known)
    if isinstance(command, PlaceOrder):
        found.add(f"creator:{command.creator_id}")
    return found | _of_a_creator(book, command)


def holds_up(book: Book, command: AnyCommand) -> set[str]:
    """Name what nobody may go past a command about: its orders, or a creator with all orders."""
    found = {f"order:{order_id}" for order_id in concerned(command)}
    return found | _of_a_creator(book, command)


def _of_a_creator(book: Book, command: AnyCommand) -> set[str]:
    if isinstance(command, RegisterCreator | EndContract | ReportViolation):
        return {f"creator:{command.creator_id}"}
    if isinstance(command, OverturnViolation) and command.violation_id in book.violations:
        return {f"creator:{book.violations[command.violation_id].creator_id}"}
    return set()


def missing(command: AnyCommand, known: Container[str]) -> bool:
    """Tell whether a command speaks of an order that may simply not have been placed yet."""
    if isinstance(command, PlaceOrder | ConfirmRefund | ConfirmPayout):
        return False
    return any(order_id not in known for order_id in concerned(command))


def overtakes(book: Book, command: AnyCommand, at: datetime) -> datetime | None:
    """Return the last instant up to which all that was received must be heard before this is.

    None where it overtakes nobody. A command ends the waits that were over when it came, and what
    it says of a creator ends the waits of others: who came in time for them comes first.
    """
    if isinstance(command, ReportViolation | OverturnViolation | EndContract):
        return at - INSTANT
    orders = (book.orders[one] for one in concerned(command) if one in book.orders)
    return max((end for order in orders for end in _ends(book, order, at)), default=None)


def _ends(book: Book, order: Order, at: datetime) -> Iterable[datetime]:
    if order.lapses_at is not None and order.lapses_at < at:
        yield order.lapses_at
    yield from (turn.at for turn in book.turns(order, at))
