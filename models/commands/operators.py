"""Operator commands: what operators may do, always with a reason."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from models.commands.command import Command, Dependencies, OrderCommand
from models.commands.orders import (
    AcceptOrder,
    ApproveContent,
    ApproveScript,
    CancelOrder,
    ConfirmDelivery,
    DeclineOrder,
    DisputeOrder,
    NudgeCreator,
    PublishWork,
    RateOrder,
    RejectContent,
    RejectScript,
    RestoreQuote,
    ReviseQuote,
    SubmitContent,
    SubmitScript,
    WithdrawOrder,
)
from models.commands.parties import AppointProvider
from models.commands.payments import PayoutCommand
from models.fields import Bps, Fen, Id, Instant, RequiredNote, StrictModel, field_error
from models.ids import make_refund_base_id, share_id
from models.lifecycle import ROLES_BY_COMMAND, Role


class ResolveDispute(OrderCommand):
    """Decide a dispute: go on as if approved, end it, or give more time."""

    kind: Literal["resolve_dispute"]
    outcome: Literal["approve", "cancel", "extend"]
    creator_bps: Bps | None = None
    until: Instant | None = None
    reason: RequiredNote

    @model_validator(mode="after")
    def _require_outcome_fields(self) -> ResolveDispute:
        if (self.outcome == "cancel") != (self.creator_bps is not None):
            raise field_error("creator_bps", "wanted with outcome 'cancel', and only then")
        if (self.outcome == "extend") != (self.until is not None):
            raise field_error("until", "wanted with outcome 'extend', and only then")
        return self


class ExtendDeadline(OrderCommand):
    """Give whoever is waited for more time."""

    kind: Literal["extend_deadline"]
    until: Instant
    reason: RequiredNote


class PauseClock(OrderCommand):
    """Stop the order's clock; the time that is left is kept."""

    kind: Literal["pause_clock"]
    reason: RequiredNote


class ResumeClock(OrderCommand):
    """Let the order's clock run again."""

    kind: Literal["resume_clock"]
    reason: RequiredNote


class RescheduleOrder(OrderCommand):
    """Set another day for the publication, with the consent of both sides, which nothing checks."""

    kind: Literal["reschedule_order"]
    expected_publish_at: Instant
    reason: RequiredNote


class ReinstateOrder(OrderCommand):
    """Undo a forfeiture by timeout while its deposit still waits."""

    kind: Literal["reinstate_order"]
    until: Instant
    reason: RequiredNote


class ForfeitPart(StrictModel):
    """One part of a forfeited deposit, and who gets it."""

    to: Literal["platform", "creator", "client"]
    amount_fen: Fen


class ReleaseForfeit(OrderCommand):
    """Say who finally gets a forfeited deposit."""

    kind: Literal["release_forfeit"]
    parts: Annotated[tuple[ForfeitPart, ...], Field(min_length=1, max_length=20, strict=False)]
    reason: RequiredNote


class ResolveSuspense(Command):
    """Take a share for an order that nobody knew out of suspense: back, or to another order."""

    kind: Literal["resolve_suspense"]
    payment_id: Id
    order_id: Id
    to: Literal["refund", "order"]
    target_order_id: Id | None = None
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.OPERATOR})
    fields_added_later: ClassVar[frozenset[str]] = frozenset({"target_order_id"})

    @model_validator(mode="after")
    def _require_target(self) -> ResolveSuspense:
        if (self.to == "order") != (self.target_order_id is not None):
            raise field_error("target_order_id", "wanted with to 'order', and only then")
        return self

    def add_dependencies(self, dependencies: Dependencies) -> None:
        order_ids = set(filter(None, (self.order_id, self.target_order_id)))
        dependencies.orders |= order_ids
        dependencies.payments.add(self.payment_id)
        dependencies.refund_base_ids.update(
            make_refund_base_id(self.payment_id, order_id) for order_id in order_ids
        )
        dependencies.suspended.add(share_id(self.payment_id, self.order_id))


class VoidPayment(Command):
    """Undo a notice of payment that was wrong, as long as no order uses the money."""

    kind: Literal["void_payment"]
    payment_id: Id
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.OPERATOR})

    def add_dependencies(self, dependencies: Dependencies) -> None:
        dependencies.payments.add(self.payment_id)
        dependencies.payments_to_void.add(self.payment_id)


class HoldPayout(PayoutCommand):
    """Keep a payout from being sent, until it is released or reversed."""

    kind: Literal["hold_payout"]
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.OPERATOR})


class ReleasePayout(PayoutCommand):
    """Let a payout that is held be sent after all."""

    kind: Literal["release_payout"]
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.OPERATOR})


class ReversePayout(PayoutCommand):
    """End a payout that is held: the order's client gets the money, or the platform."""

    kind: Literal["reverse_payout"]
    to: Literal["client", "platform"]
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.OPERATOR})


OnBehalfCommand = Annotated[
    AcceptOrder
    | DeclineOrder
    | ReviseQuote
    | RestoreQuote
    | CancelOrder
    | WithdrawOrder
    | NudgeCreator
    | AppointProvider
    | SubmitScript
    | SubmitContent
    | ApproveScript
    | RejectScript
    | ApproveContent
    | RejectContent
    | PublishWork
    | ConfirmDelivery
    | DisputeOrder
    | RateOrder,
    Field(discriminator="kind"),
]


ON_BEHALF_KINDS = frozenset(
    get_args(model.model_fields["kind"].annotation)[0]
    for model in get_args(get_args(OnBehalfCommand)[0])
)
"""What an operator may do in the place of a client or a creator."""


def _add_operator_as_sender(raw: object) -> object:
    """Let the sender be told by the command around it, and by nobody else."""
    if not isinstance(raw, dict) or raw.keys() & {"id", "by"}:
        message = "an object of a kind and its fields is wanted, without id and by"
        raise ValueError(message)
    return raw | {"id": "operator_act", "by": {"role": Role.OPERATOR.value, "id": "operator"}}


class OperatorAct(Command):
    """Stand in for a client or a creator: the same states, clock and amounts."""

    kind: Literal["operator_act"]
    command: Annotated[OnBehalfCommand, BeforeValidator(_add_operator_as_sender)]
    side: Literal["client", "creator"] | None = None
    reason: RequiredNote
    fields_added_later: ClassVar[frozenset[str]] = frozenset({"side"})

    @model_validator(mode="after")
    def _check_side(self) -> OperatorAct:
        if self.side is not None and self.side not in ROLES_BY_COMMAND[self.command.kind]:
            raise field_error("side", f"the {self.side} may not ask {self.command.kind}")
        return self

    @property
    def role(self) -> Role:
        """Return the role that it is asked in: where both sides may ask, the client unless told."""
        default = (
            Role.CLIENT if Role.CLIENT in ROLES_BY_COMMAND[self.command.kind] else Role.CREATOR
        )
        return default if self.side is None else Role(self.side)

    @property
    def order_id(self) -> str:
        """Return the order that it is about."""
        return self.command.order_id

    def add_dependencies(self, dependencies: Dependencies) -> None:
        self.command.add_dependencies(dependencies)
