"""Dependencies: what commands need loaded, what blocks them, and what must come before them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime, timedelta

from models.commands import AnyCommand
from models.commands.command import Dependencies
from models.creators import ViolationReport
from models.ids import make_refund_base_id, strip_refund_number
from models.orders.order import Order
from models.service.unit_of_work import UnitOfWork

MICROSECOND = timedelta(microseconds=1)


def dependencies_of(commands: Iterable[AnyCommand], wakeups: Iterable[str] = ()) -> Dependencies:
    """Collect what some commands, and some wake-ups, may concern."""
    dependencies = Dependencies()
    add_wakeups(dependencies, wakeups)
    for command in commands:
        command.add_dependencies(dependencies)
    dependencies.creators_changing |= dependencies.creators_with_open_orders
    return dependencies


def add_wakeups(dependencies: Dependencies, subjects: Iterable[str]) -> None:
    """Add the subjects that are to be told that time has passed; a bare id is an order's."""
    for subject in subjects:
        kind, _, subject_id = subject.rpartition(":")
        if kind == "creator":
            dependencies.creators_with_open_orders.add(subject_id)
        elif kind == "refund":
            dependencies.refund_base_ids.add(strip_refund_number(subject_id))
        elif kind == "payout":
            dependencies.payouts.add(subject_id)
        else:
            dependencies.orders.add(subject_id)


def add_violations(dependencies: Dependencies, reports: Iterable[ViolationReport]) -> None:
    """Add what reported violations lead to: their creators, and all that concerns them."""
    dependencies.creators_with_open_orders.update(report.creator_id for report in reports)
    dependencies.creators_changing |= dependencies.creators_with_open_orders


def add_orders(dependencies: Dependencies, orders: Iterable[Order]) -> None:
    """Add what the orders themselves lead to: their creators, their refunds."""
    for order in orders:
        dependencies.creators.add(order.creator_id)
        holdings = (*order.held, *order.forfeited)
        dependencies.refund_base_ids.update(
            make_refund_base_id(holding.payment_id, order.order_id) for holding in holdings
        )


def names_unknown_order(dependencies: Dependencies, known_order_ids: Container[str]) -> bool:
    """Tell whether a command names an order that may simply not have been placed yet."""
    return any(order_id not in known_order_ids for order_id in dependencies.placed_orders)


def blocked_by(uow: UnitOfWork, dependencies: Dependencies) -> set[str]:
    """Name what a command depends on: it may not overtake whatever blocks one of these."""
    creator_ids = {
        uow.orders[order_id].creator_id
        for order_id in dependencies.orders
        if order_id in uow.orders
    }
    creator_ids |= dependencies.creators_held_unchanged
    return _subjects(dependencies.orders, creator_ids | _changing_creators(uow, dependencies))


def blocks(uow: UnitOfWork, dependencies: Dependencies) -> set[str]:
    """Name what a command blocks while it waits: its orders, or a creator with all orders."""
    return _subjects(dependencies.orders, _changing_creators(uow, dependencies))


def _subjects(order_ids: Iterable[str], creator_ids: Iterable[str]) -> set[str]:
    return {
        *(f"order:{order_id}" for order_id in order_ids),
        *(f"creator:{creator_id}" for creator_id in creator_ids),
    }


def _changing_creators(uow: UnitOfWork, dependencies: Dependencies) -> set[str]:
    """Name the creators whose standing may change, those of known violations too."""
    reports = (uow.violations.get(violation_id) for violation_id in dependencies.violations)
    return dependencies.creators_changing | {report.creator_id for report in reports if report}


def must_wait_until(uow: UnitOfWork, dependencies: Dependencies, at: datetime) -> datetime | None:
    """Return the instant up to which all that was received must be handled before this command.

    None where it overtakes nobody. A command ends the waits that were over when it came, and what
    it says of a creator ends the waits of others: who came in time for them comes first.
    """
    if dependencies.creators_with_open_orders or dependencies.violations:
        return at - MICROSECOND
    orders = (uow.orders[order_id] for order_id in dependencies.orders if order_id in uow.orders)
    return max(
        (ends_at for order in orders for ends_at in _waits_ended_before(uow, order, at)),
        default=None,
    )


def _waits_ended_before(uow: UnitOfWork, order: Order, at: datetime) -> Iterable[datetime]:
    if order.lapses_at is not None and order.lapses_at < at:
        yield order.lapses_at
    yield from (change.at for change in uow.standing_changes(order, at))
