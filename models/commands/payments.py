"""Payment commands: payments, refunds and payouts that the payment side reports."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

from pydantic import Field

from models.commands.command import Command, Dependencies
from models.fields import (
    Fen,
    Id,
    Instant,
    PaymentPurpose,
    PayoutName,
    RefundName,
    RequiredNote,
    StrictModel,
    format_instant,
)
from models.ids import (
    make_refund_base_id,
    parse_payout_order_id,
    parse_reference,
    parse_refund_order_ids,
    parse_refund_payment_ids,
    strip_refund_number,
)
from models.lifecycle import Role


class PaymentShare(StrictModel):
    """One order's part of a payment; `due` is what it was meant for, if the payer said so."""

    order_id: Id
    amount_fen: Fen
    # Left out where it is absent: what was sent before the field existed is still the same command.
    due: PaymentPurpose | None = Field(default=None, exclude_if=lambda due: due is None)


class ConfirmPayment(Command):
    """Record money that has arrived, from `client_id` if the provider knows who paid.

    How many shares make sense is judged, not parsed.
    """

    kind: Literal["confirm_payment"]
    payment_id: Id
    paid_at: Instant
    amount_fen: Fen
    shares: tuple[PaymentShare, ...] = Field(strict=False)
    client_id: Id | None = None
    roles: ClassVar[frozenset[str]] = frozenset({Role.PAYMENTS})
    fields_added_later: ClassVar[frozenset[str]] = frozenset({"client_id"})

    def content(self) -> bytes:
        """Return 16 bytes that two notices share exactly when they report the same payment.

        What is absent adds nothing: payments from before a field existed have the content they had.
        """
        shares = sorted(
            (share.order_id, share.amount_fen, *filter(None, (share.due,))) for share in self.shares
        )
        client = () if self.client_id is None else (self.client_id,)
        content = (self.payment_id, format_instant(self.paid_at), self.amount_fen, shares, *client)
        return hashlib.blake2b(repr(content).encode(), digest_size=16).digest()

    def add_dependencies(self, dependencies: Dependencies) -> None:
        order_ids = {share.order_id for share in self.shares}
        dependencies.orders |= order_ids
        dependencies.payments.add(self.payment_id)
        dependencies.refund_base_ids.update(
            make_refund_base_id(self.payment_id, order_id) for order_id in (None, *order_ids)
        )


class RefundCommand(Command):
    """A command about one refund, named by its id or by a reference.

    Where two ids would be spelt the same, the later one ends in `~2`, `~3` and so on.
    """

    refund_id: RefundName
    roles: ClassVar[frozenset[str]]

    def add_dependencies(self, dependencies: Dependencies) -> None:
        reference = parse_reference(self.refund_id)
        if reference is not None:
            dependencies.references.add(reference)
            return
        dependencies.orders.update(parse_refund_order_ids(self.refund_id))
        dependencies.payments.update(parse_refund_payment_ids(self.refund_id))
        dependencies.refund_base_ids.add(strip_refund_number(self.refund_id))


class PayoutCommand(Command):
    """A command about one payout, named by its id or by a reference."""

    payout_id: PayoutName
    roles: ClassVar[frozenset[str]]

    def add_dependencies(self, dependencies: Dependencies) -> None:
        reference = parse_reference(self.payout_id)
        if reference is not None:
            dependencies.references.add(reference)
            return
        order_id = parse_payout_order_id(self.payout_id)
        if order_id is not None:
            dependencies.orders.add(order_id)
        dependencies.payouts.add(self.payout_id)


class ConfirmRefund(RefundCommand):
    """Record that a refund has left; an id means the present attempt, a reference its own."""

    kind: Literal["confirm_refund"]
    roles: ClassVar[frozenset[str]] = frozenset({Role.PAYMENTS})


class FailRefund(RefundCommand):
    """Record that a refund did not arrive: not sent, or come back. It is owed, and tried again."""

    kind: Literal["fail_refund"]
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.PAYMENTS})


class ConfirmPayout(PayoutCommand):
    """Record that a payout has left; an id means the present attempt, a reference its own."""

    kind: Literal["confirm_payout"]
    roles: ClassVar[frozenset[str]] = frozenset({Role.PAYMENTS})


class FailPayout(PayoutCommand):
    """Record that a payout did not arrive: not sent, or come back. It is owed, and tried again."""

    kind: Literal["fail_payout"]
    reason: RequiredNote
    roles: ClassVar[frozenset[str]] = frozenset({Role.PAYMENTS})
