"""Payment events: payments, refunds, payouts and suspense."""

from __future__ import annotations

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
    from a forfeit, or kept in suspense: of all but the first another event has moved it already.
    """

    refund_id: str
    payment_id: str
    client_id: str
    amount_fen: int
    source: Literal["escrow", "unapplied", "cancellation", "forfeit", "suspense"]
    for_order_id: str | None = None


@register_event("refund.confirmed")
class RefundConfirmed(Fact):
    """The refund has left."""

    refund_id: str
    payment_id: str
    client_id: str
    amount_fen: int


@register_event("payout.requested")
class PayoutRequested(Fact):
    """Money is owed to the creator's side; `party` is who gets it."""

    payout_id: str
    party: str
    amount_fen: int


@register_event("payout.confirmed")
class PayoutConfirmed(Fact):
    """The payout has left."""

    payout_id: str
    party: str
    amount_fen: int


BY_PLACEMENT, TO_ORDER = "placement", "order"
"""Who takes a share out of suspense without being asked, and what for."""


@register_event("suspense.resolved")
class SuspenseResolved(Fact):
    """A share for an order that nobody knew leaves suspense: it goes back, or to that order.

    `to` is for whom the operator means it; where the order was placed in time it is `order`, and
    `by` is `placement`.
    """

    payment_id: str
    for_order_id: str
    amount_fen: int
    to: str
    by: str
    note: str

    @property
    def is_by_placement(self) -> bool:
        """Tell whether the share goes to its order, which was placed in time."""
        return self.by == BY_PLACEMENT
