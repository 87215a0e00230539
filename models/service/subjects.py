"""Subjects: what a command is about. Of two about the same, the one received first comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

from models.commands import AnyCommand
from models.commands.command import Dependencies
from models.ids import parse_wake_subject, strip_refund_number
from models.lifecycle import State
from models.orders.order import Order
from models.service.dependencies import add_debts, dependencies_of
from models.service.unit_of_work import UnitOfWork

ANY_CREATOR = "creator:*"
"""What a command is about that changes a creator whom it does not name."""


class Subjects(NamedTuple):
    """What a command is about, as `kind:id`.

    It waits for every earlier command that changes one of these, and where it changes one itself,
    for those that read it. What it only `observes` is kept as of every instant: whoever changes
    that need not wait for it.
    """

    changes: frozenset[str]
    reads: frozenset[str] = frozenset()
    observes: frozenset[str] = frozenset()


def subjects_of(command: AnyCommand) -> Subjects:
    """Say what a command is about, as far as its own text tells."""
    needs = command.dependencies
    changes = {f"command:{command.key}", *needs.registered}
    for kind, ids in (
        ("order", needs.orders),
        ("creator", needs.creators_changing),
        ("creator", needs.creators_with_open_orders),
        ("payment", needs.payments),
        ("refund", needs.refund_base_ids),
        ("payout", needs.payouts),
        ("suspense", needs.suspended),
        ("violation", needs.violations),
    ):
        for subject_id in ids:
            changes.add(f"{kind}:{subject_id}")
    for reference in needs.references:
        changes.add(reference.home)
    if needs.violations and not (needs.creators_changing or needs.creators_with_open_orders):
        changes.add(ANY_CREATOR)
    reads = {_unpaid_subject(client_id) for client_id in needs.placing_clients}
    for kind, ids in (
        ("mcn", needs.mcns),
        ("client", needs.clients),
        ("provider", needs.providers),
    ):
        for subject_id in ids:
            reads.add(f"{kind}:{subject_id}")
    observes = {f"creator:{creator_id}" for creator_id in needs.creators_held_unchanged}
    return Subjects(frozenset(changes), frozenset(reads - needs.registered), frozenset(observes))


def _unpaid_subject(client_id: str) -> str:
    """Name all that a client has placed and not paid for.

    Placing only reads it, so that placements need not wait for each other: see `subjects_counted`.
    """
    return f"unpaid:{client_id}"


CountInFlight = Callable[[str], int]
"""How many unsettled commands elsewhere read a subject."""


def subjects_counted(
    uow: UnitOfWork, command: AnyCommand, in_flight: CountInFlight
) -> frozenset[str]:
    """Say whose unpaid orders a command adds to or takes from, where these are to be counted.

    They are where the placements in flight could reach the limit: whoever adds to them or takes
    from them then waits for every earlier placement of the same client.
    """
    needs = _needs_of(uow, command)
    orders = (uow.orders.get(order_id) for order_id in needs.orders)
    client_ids = {*needs.placing_clients, *_clients_awaited(filter(None, orders))}
    return _subjects_near_limit(uow, client_ids, in_flight)


def wakeup_subjects_counted(
    uow: UnitOfWork, subject: str, in_flight: CountInFlight
) -> frozenset[str]:
    """Say whose unpaid orders a wake-up may take from, where these are to be counted."""
    kind, subject_id = parse_wake_subject(subject)
    if kind == "creator":
        orders = [order for order in uow.orders.values() if order.creator_id == subject_id]
    else:
        orders = list(filter(None, [uow.orders.get(subject_id)]))
    return _subjects_near_limit(uow, set(_clients_awaited(orders)), in_flight)


def _clients_awaited(orders: Iterable[Order]) -> Iterable[str]:
    """Name the clients of those orders that wait for their first payment."""
    return (order.client_id for order in orders if order.state is State.AWAITING_DEPOSIT)


def _subjects_near_limit(
    uow: UnitOfWork, client_ids: Iterable[str], in_flight: CountInFlight
) -> frozenset[str]:
    subjects = ((client_id, _unpaid_subject(client_id)) for client_id in client_ids)
    return frozenset(
        subject
        for client_id, subject in subjects
        if uow.may_reach_unpaid_limit(client_id, in_flight(subject))
    )


def _needs_of(uow: UnitOfWork, command: AnyCommand) -> Dependencies:
    """Return what a command is about, with what the references lead to that it names."""
    if not command.dependencies.references:
        return command.dependencies
    needs = dependencies_of([command])
    add_debts(needs, (*uow.refunds.values(), *uow.payouts.values()))
    return needs


def subjects_concerned(uow: UnitOfWork, command: AnyCommand) -> frozenset[str]:
    """Say what else a command is about, now that it is known what it names.

    The order and the payment of a refund or payout that a reference names; an order's creator, and
    a violation's; of a payment the orders that its money waits for, and, if it is to be voided,
    would go back from, of an order the payments whose money waits for it, and whatever its parked
    commands are about; of a repeat the order that the command which it repeats is parked for; of a
    placement the client's unpaid orders, where these are at the limit.
    """
    needs = _needs_of(uow, command)
    refunds = [
        refund for payment_id in needs.payments_to_void for refund in uow.refunds_of(payment_id)
    ]
    order_ids = needs.orders
    if refunds:
        order_ids = order_ids.union(refund.order_id for refund in refunds if refund.order_id)
    orders, reports = uow.orders, uow.violations
    concerned = {f"creator:{orders[key].creator_id}" for key in order_ids if key in orders}
    if needs.violations:
        reported = needs.violations & reports.keys()
        concerned.update(f"creator:{reports[key].creator_id}" for key in reported)
    if needs.references or refunds:
        concerned.update(f"order:{order_id}" for order_id in order_ids)
        concerned.update(f"payment:{payment_id}" for payment_id in needs.payments)
    for client_id in filter(uow.may_reach_unpaid_limit, needs.placing_clients):
        for order in uow.unpaid_of(client_id):
            concerned |= {f"order:{order.order_id}", f"creator:{order.creator_id}"}
    if uow.parked:
        concerned.update(_concerned_by_parked(uow, command, needs))
    if not uow.suspended:
        return frozenset(concerned)
    waiting = [item for item in uow.suspended.values() if item.resolved_at is None]
    payment_ids = {item.payment_id for item in waiting if item.order_id in needs.orders}
    return frozenset(
        {
            *concerned,
            *(f"payment:{payment_id}" for payment_id in payment_ids),
            *(
                f"order:{item.order_id}"
                for item in waiting
                if item.payment_id in payment_ids | needs.payments
            ),
        }
    )


def _concerned_by_parked(
    uow: UnitOfWork, command: AnyCommand, needs: Dependencies
) -> Iterable[str]:
    yield from (f"order:{waiting.order_id}" for waiting in uow.parked_under_id(command))
    for order_id in needs.placements:
        for waiting in chain.from_iterable(uow.parked_for(order_id)):
            subjects = subjects_of(waiting.command)
            yield from subjects.changes | subjects.reads


def wakeup_subjects(uow: UnitOfWork, subject: str) -> tuple[str, ...]:
    """Name what a wake-up of `subject` is about, as commands name it; a bare id is an order's."""
    kind, subject_id = parse_wake_subject(subject)
    match kind:
        case "order":
            order = uow.orders.get(subject_id)
            creators = () if order is None else (f"creator:{order.creator_id}",)
            return (f"order:{subject_id}", *creators)
        case "refund" | "payout":
            return _debt_wakeup_subjects(uow, kind, subject_id)
        case "parked":
            waiting = uow.parked.get(subject_id)
            if waiting is None:
                return ()
            return (f"order:{waiting.order_id}", f"command:{waiting.command.key}")
        case "suspense":
            item = uow.suspended.get(subject_id)
            return () if item is None else (f"order:{item.order_id}", f"payment:{item.payment_id}")
        case _:
            return (subject,)


def _debt_wakeup_subjects(uow: UnitOfWork, kind: str, debt_id: str) -> tuple[str, ...]:
    """Name a refund or payout as its id does, and what commands are about that name a reference."""
    debt = uow.refunds.get(debt_id) if kind == "refund" else uow.payouts.get(debt_id)
    homes = () if debt is None else (debt.home,)
    return (f"{kind}:{strip_refund_number(debt_id)}", *homes)
