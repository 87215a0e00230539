"""Payment events: payments, refunds, payouts and suspense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.events.event import Fact, register_event
from models.reasons import UnappliedReason


@register_event("payment.applied")
class PaymentApplied(Fact):
    """A share was exactly what the order waited for, and is held for it.

    `source` tells where it was: with the provider, or in suspense until the order was placed.
    """

    payment_id: str
    client_id: str
    amount_fen: int
    source: Literal["psp", "suspense"] = "psp"


@register_event("payment.unapplied")
class PaymentUnapplied(Fact):
    """A share, or a whole payment, cannot be used: it goes back, or waits in suspense.

    `for_order_id` names the order the sender meant where nobody knows it.
    """

    payment_id: str
    client_id: str | None
    amount_fen: int
    reason: UnappliedReason
    for_order_id: str | None = None


@register_event("refund.requested")
class RefundRequested(Fact):
    """Money is owed back; `source` tells where it was.

    It was held for the order, never applied, left over from a cancellation at a cost, released
    from a forfeit, kept in suspense, or taken back from the creator's side: of all but the first
    another event has moved it already. `payment_id` is None where it is of no payment: a transfer.
    `reference` is what to send it under, at this attempt; events from before references have none.
    """

    refund_id: str
    payment_id: str | None
    client_id: str
    amount_fen: int
    source: Literal["escrow", "unapplied", "cancellation", "forfeit", "suspense", "payout"]
    for_order_id: str | None = None
    reference: str | None = None
    attempt: int = 1


@register_event("refund.confirmed")
class RefundConfirmed(Fact):
    """The refund has left, at this attempt."""

    refund_id: str
    payment_id: str | None
    client_id: str
    amount_fen: int
    reference: str | None = None
    attempt: int = 1


@register_event("refund.failed")
class RefundFailed(Fact):
    """The refund did not arrive and is owed still, or again: send it under `reference` next.

    `came_back` tells whether it had left, so that the money came back; `note` is why.
    """

    refund_id: str
    payment_id: str | None
    client_id: str
    amount_fen: int
    came_back: bool
    note: str
    failed_reference: str
    reference: str
    attempt: int


@register_event("refund.voided")
class RefundVoided(Fact):
    """The refund is owed no longer: its payment was reported by mistake, and is voided."""

    refund_id: str
    payment_id: str
    client_id: str
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidedPart:
    """What is taken back of a voided payment: owed to a client, or, to None, held in suspense."""

    client_id: str | None
    amount_fen: int


@register_event("payment.voided")
class PaymentVoided(Fact):
    """An operator said that a notice of payment was wrong: the money of all its parts never came.

    The payment may be reported anew, with another content.
    """

    payment_id: str
    amount_fen: int
    parts: tuple[VoidedPart, ...]
    by: str
    note: str


@register_event("payout.requested")
class PayoutRequested(Fact):
    """Money is owed to the creator's side; `party` is who gets it.

    `reference` is what to send it under, at this attempt; events from before references have none.
    """

    payout_id: str
    party: str
    amount_fen: int
    reference: str | None = None
    attempt: int = 1


@register_event("payout.confirmed")
class PayoutConfirmed(Fact):
    """The payout has left, at this attempt."""

    payout_id: str
    party: str
    amount_fen: int
    reference: str | None = None
    attempt: int = 1


@register_event("payout.failed")
class PayoutFailed(Fact):
    """The payout did not arrive and is owed still, or again: send it under `reference` next.

    `came_back` tells whether it had left, so that the money came back; `note` is why.
    """

    payout_id: str
    party: str
    amount_fen: int
    came_back: bool
    note: str
    failed_reference: str
    reference: str
    attempt: int


@register_event("payout.held")
class PayoutHeld(Fact):
    """An operator wants the payout not to be sent for now, under any reference."""

    payout_id: str
    party: str
    amount_fen: int
    by: str
    note: str


@register_event("payout.released")
class PayoutReleased(Fact):
    """The payout may be sent again, under `reference`."""

    payout_id: str
    party: str
    amount_fen: int
    by: str
    note: str
    reference: str
    attempt: int


@register_event("payout.reversed")
class PayoutReversed(Fact):
    """A payout that was held is never to leave: the order's client gets it, or the platform."""

    payout_id: str
    party: str
    amount_fen: int
    to: Literal["client", "platform"]
    client_id: str
    by: str
    note: str


BY_PLACEMENT = "placement"
"""Who takes a share out of suspense without being asked."""


@register_event("suspense.resolved")
class SuspenseResolved(Fact):
    """A share for an order that nobody knew leaves suspense: it goes back, or to an order.

    `to` is `refund`, owed to `client_id`, or `order`: `target_order_id`, by an operator, or because
    the order was placed in time; then `by` is `placement`. In events from before there was a choice
    `to` is for whom an operator meant what went back to a client unknown.
    """

    payment_id: str
    for_order_id: str
    amount_fen: int
    to: str
    by: str
    note: str
    client_id: str | None = None
    target_order_id: str | None = None

    @property
    def goes_to_order(self) -> bool:
        """Tell whether the share goes to an order: the event that applies it there moves it."""
        return self.by == BY_PLACEMENT or self.target_order_id is not None
