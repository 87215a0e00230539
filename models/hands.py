"""Hands: an operator's, lent to a side of an order, and the trail that they leave."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from models.command import OrderCommand, Party
from models.commands import OperatorAct
from models.creator import Creator
from models.events import Fact
from models.judges import Judgement, said_by
from models.lifecycle import ROLES, Role
from models.order import Order
from models.order_events import OrderAccepted
from models.party_events import Glimpse, OperatorActed


def lent(command: OperatorAct, order: Order) -> OrderCommand:
    """Return the command as the side that the operator stands in for would have asked it.

    Where both sides may ask the same, the operator stands in for the client.
    """
    order_command: OrderCommand = command.command
    client = Role.CLIENT in ROLES[order_command.kind]
    side = (Role.CLIENT, order.client_id) if client else (Role.CREATOR, order.creator_id)
    by = Party.model_validate({"role": side[0].value, "id": side[1]})
    return order_command.model_copy(update={"id": command.id, "by": by})


def signed(
    judgement: Judgement, command: OrderCommand | OperatorAct, creator: Creator | None
) -> Judgement:
    """Name who really asked, and freeze to whom an acceptance owes what."""
    if not isinstance(judgement, tuple):
        return judgement
    if isinstance(command, OperatorAct):
        judgement = tuple(_named(fact, said_by(command)) for fact in judgement)
    return tuple(_owing(fact, creator) for fact in judgement)


def _named(fact: Fact, by: str) -> Fact:
    body: Any = fact
    has_by = any(field.name == "by" for field in fields(body))
    return replace(body, by=by) if has_by else fact


def _owing(fact: Fact, creator: Creator | None) -> Fact:
    if not isinstance(fact, OrderAccepted) or creator is None:
        return fact
    return replace(fact, mcn_id=creator.agency, mcn_share_bps=creator.mcn_share_bps)


def trail(
    command: OrderCommand | OperatorAct, before: Order, after: Order
) -> tuple[OperatorActed, ...]:
    """Tell who used an operator's power, why, and how things stood before and after."""
    reason = getattr(command, "reason", None)
    if command.by.role != Role.OPERATOR.value or reason is None:
        return ()
    command_kind = command.command.kind if isinstance(command, OperatorAct) else command.kind
    snapshots = {"before": glimpse(before), "after": glimpse(after)}
    return (OperatorActed(by=said_by(command), note=reason, act=command_kind, **snapshots),)


def glimpse(order: Order) -> Glimpse:
    """Say how an order stands, as far as an operator may change it."""
    return Glimpse(
        status=order.state.value,
        reason=order.reason,
        due_at=order.due_at,
        amount_fen=order.amount_fen,
        held_fen=order.held_fen,
    )
