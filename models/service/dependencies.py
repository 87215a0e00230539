"""Dependencies: what commands need loaded before they are handled."""

from __future__ import annotations

from collections.abc import Iterable

from models.commands import AnyCommand
from models.commands.command import Dependencies
from models.creators import ViolationReport
from models.ids import (
    make_refund_base_id,
    parse_wake_subject,
    split_share_id,
    strip_refund_number,
)
from models.obligations import Payout, Refund, SuspenseItem
from models.orders.order import Order
from models.service.parked import ParkedCommand, find_awaited_order


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
        kind, subject_id = parse_wake_subject(subject)
        if kind == "creator":
            dependencies.creators_with_open_orders.add(subject_id)
        elif kind == "refund":
            dependencies.refund_base_ids.add(strip_refund_number(subject_id))
        elif kind == "payout":
            dependencies.payouts.add(subject_id)
        elif kind == "suspense":
            dependencies.suspended.add(subject_id)
            dependencies.payments.add(split_share_id(subject_id)[0])
        elif kind == "parked":
            dependencies.parked.add(subject_id)
        else:
            dependencies.orders.add(subject_id)


def add_violations(dependencies: Dependencies, reports: Iterable[ViolationReport]) -> None:
    """Add what reported violations lead to: their creators."""
    dependencies.creators_changing.update(report.creator_id for report in reports)


def add_orders(dependencies: Dependencies, orders: Iterable[Order]) -> None:
    """Add what the orders themselves lead to: their creators, their refunds."""
    for order in orders:
        dependencies.creators.add(order.creator_id)
        holdings = (*order.held, *order.forfeited)
        dependencies.refund_base_ids.update(
            make_refund_base_id(holding.payment_id, order.order_id) for holding in holdings
        )


def add_debts(dependencies: Dependencies, debts: Iterable[Refund | Payout]) -> None:
    """Add what is needed to judge those debts that references name: as if their ids were named."""
    stems = {reference.stem for reference in dependencies.references}
    if not stems:
        return
    for debt in debts:
        if debt.reference_stem not in stems:
            continue
        if isinstance(debt, Payout):
            dependencies.orders.add(debt.order_id)
            dependencies.payouts.add(debt.payout_id)
            continue
        dependencies.refund_base_ids.add(strip_refund_number(debt.refund_id))
        dependencies.orders |= {debt.order_id or "", debt.for_order_id or ""} - {""}
        dependencies.payments |= {debt.payment_id or ""} - {""}


def add_parked(dependencies: Dependencies, parked: Iterable[ParkedCommand]) -> None:
    """Add what is needed to judge the commands that wait for an order which is being placed."""
    for waiting in parked:
        # A repeat needs nothing: it is a duplicate, or its id is in use.
        if waiting.order_id == find_awaited_order(waiting.command):
            waiting.command.add_dependencies(dependencies)


def add_suspended(dependencies: Dependencies, items: Iterable[SuspenseItem]) -> None:
    """Add what is needed to judge shares in suspense once more: their payments, their refunds."""
    for item in items:
        dependencies.payments.add(item.payment_id)
        dependencies.refund_base_ids.add(make_refund_base_id(item.payment_id, item.order_id))
