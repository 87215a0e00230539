"""Debts over HTTP: refunds and payouts, and what to send each of them under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from models.fields import PayoutName, RefundName
from models.lifecycle import DebtStatus
from models.obligations import Payout, Refund
from ops.serializers import serialize_payout, serialize_refund
from ops.web.auth import Caller
from ops.web.dependencies import Context, CurrentCaller
from ops.web.errors import Problem, error_responses
from ops.web.routes.orders import ID_PATTERN
from workers.queries import debts
from workers.queries.debts import DebtFilter

router = APIRouter(tags=["money"])

PARTY_PATTERN = r"^(creator|mcn):[A-Za-z0-9_-]{1,64}$"

CANNOT_LIST_REFUNDS = "refunds are for their clients, the payment side and the staff"
CANNOT_LIST_PAYOUTS = "payouts are for creators, agencies, the payment side and the staff"

RefundInPath = Annotated[RefundName, Path(description="The refund's id, or a reference of it.")]
PayoutInPath = Annotated[PayoutName, Path(description="The payout's id, or a reference of it.")]


class DebtShown(BaseModel):
    """What is owed, and how far it is. Amounts are fen; instants are UTC."""

    amount_fen: int
    status: DebtStatus
    attempt: Annotated[int, Field(description="The present attempt, from 1.")]
    reference: Annotated[str, Field(description="What to send it under at this attempt.")]
    requested_at: str
    waits_since: Annotated[
        str | None, Field(description="Since when it waits to be confirmed, or null.")
    ]
    confirmed_at: Annotated[str | None, Field(description="When this attempt left.")]


class RefundShown(DebtShown):
    """A refund; without a payment it is a payout that was reversed."""

    refund_id: str
    payment_id: str | None
    order_id: str | None
    for_order_id: Annotated[
        str | None, Field(description="The order that a share was for, where nobody knew it.")
    ]
    client_id: str


class PayoutShown(DebtShown):
    """A payout."""

    payout_id: str
    order_id: str
    party: str
    held_at: Annotated[str | None, Field(description="Since when it is not to be sent.")]


class RefundPage(BaseModel):
    """Refunds by id; `next` is the cursor of the page after, or null."""

    refunds: list[RefundShown]
    next: str | None


class PayoutPage(BaseModel):
    """Payouts by id; `next` is the cursor of the page after, or null."""

    payouts: list[PayoutShown]
    next: str | None


class RefundQuery(BaseModel):
    """What refunds are wanted; everything that is given must fit."""

    model_config = ConfigDict(extra="forbid")

    client: Annotated[str | None, Field(pattern=ID_PATTERN)] = None
    status: DebtStatus | None = None
    cursor: Annotated[str, Field(max_length=160, description="`next` before.")] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class PayoutQuery(BaseModel):
    """What payouts are wanted; everything that is given must fit."""

    model_config = ConfigDict(extra="forbid")

    party: Annotated[
        str | None, Field(pattern=PARTY_PATTERN, description="Like `creator:cr_lin`.")
    ] = None
    status: DebtStatus | None = None
    held: Annotated[bool | None, Field(strict=False, description="Held by an operator.")] = None
    cursor: Annotated[str, Field(max_length=160, description="`next` before.")] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get(
    "/refunds",
    response_model=RefundPage,
    responses=error_responses(401, 403, 422, 503),
    operation_id="list_refunds",
)
def list_refunds(
    context: Context, caller: CurrentCaller, filters: Annotated[RefundQuery, Query()]
) -> dict[str, Any]:
    """List refunds, a page at a time. A client's token lists that client's only."""
    own = _own_parties(caller, ("client",))
    payee = _restrict(
        caller, filters.client, [party_id for _, party_id in own], CANNOT_LIST_REFUNDS
    )
    debt_filter = DebtFilter(status=filters.status, payee=payee)
    page = debts.list_refunds(
        context.engine, debt_filter, after=filters.cursor, limit=filters.limit + 1
    )
    return {
        "refunds": list(map(serialize_refund, page[: filters.limit])),
        "next": _next_cursor(page, filters.limit),
    }


@router.get(
    "/payouts",
    response_model=PayoutPage,
    responses=error_responses(401, 403, 422, 503),
    operation_id="list_payouts",
)
def list_payouts(
    context: Context, caller: CurrentCaller, filters: Annotated[PayoutQuery, Query()]
) -> dict[str, Any]:
    """List payouts, a page at a time. A creator's or an agency's token lists its own only."""
    own = [f"{role}:{party_id}" for role, party_id in _own_parties(caller, ("creator", "mcn"))]
    payee = _restrict(caller, filters.party, own, CANNOT_LIST_PAYOUTS)
    debt_filter = DebtFilter(status=filters.status, payee=payee, held=filters.held)
    page = debts.list_payouts(
        context.engine, debt_filter, after=filters.cursor, limit=filters.limit + 1
    )
    return {
        "payouts": list(map(serialize_payout, page[: filters.limit])),
        "next": _next_cursor(page, filters.limit),
    }


@router.get(
    "/refunds/{refund_id}",
    response_model=RefundShown,
    responses=error_responses(401, 404, 422, 503),
    operation_id="get_refund",
)
def get_refund(context: Context, caller: CurrentCaller, refund_id: RefundInPath) -> dict[str, Any]:
    """Return one refund, by its id or a reference."""
    refund = debts.find_refund(context.engine, refund_id)
    if refund is None or not _may_see(caller, ("client", refund.client_id)):
        raise Problem(404, "no such refund")
    return serialize_refund(refund)


@router.get(
    "/payouts/{payout_id}",
    response_model=PayoutShown,
    responses=error_responses(401, 404, 422, 503),
    operation_id="get_payout",
)
def get_payout(context: Context, caller: CurrentCaller, payout_id: PayoutInPath) -> dict[str, Any]:
    """Return one payout, by its id or a reference."""
    payout = debts.find_payout(context.engine, payout_id)
    role, _, party_id = ("", "", "") if payout is None else payout.party.partition(":")
    if payout is None or not _may_see(caller, (role, party_id)):
        raise Problem(404, "no such payout")
    return serialize_payout(payout)


PartyName = tuple[str, str]


def _may_see(caller: Caller, payee: PartyName) -> bool:
    """Tell whether a debt is a caller's business: its payee's, and of whoever sees everything."""
    return caller.may_see_all() or payee in _own_parties(caller, ("client", "creator", "mcn"))


def _own_parties(
    caller: Caller, roles: tuple[Literal["client", "creator", "mcn"], ...]
) -> list[PartyName]:
    return [
        (grant.role, grant.id)
        for grant in caller.grants
        if grant.role in roles and grant.id is not None
    ]


def _next_cursor(page: Sequence[Refund | Payout], limit: int) -> str | None:
    """Return where the next page begins, given one debt more than `limit` if there is one."""
    return page[limit - 1].debt_id if len(page) > limit else None


def _restrict(caller: Caller, payee: str | None, own: list[str], refusal: str) -> str | None:
    """Return whose debts are listed; raise `Problem` 403 where none of them may be, or which."""
    if caller.may_see_all():
        return payee
    if payee is None and len(own) == 1:
        return own[0]
    if payee in own:
        return payee
    raise Problem(403, refusal)
