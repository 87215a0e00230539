"""Commands: everything that may be asked, checked to the last field before anyone judges it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from models.command import Command, OrderCommand, Party
from models.money_commands import ConfirmPayment, ConfirmPayout, ConfirmRefund, Share
from models.operator_commands import (
    ExtendDeadline,
    OperatorAct,
    PauseClock,
    ReinstateOrder,
    ReleaseForfeit,
    ResolveDispute,
    ResolveSuspense,
    ResumeClock,
)
from models.order_commands import (
    AcceptOrder,
    CancelOrder,
    ConfirmUnpaid,
    DeclineOrder,
    NudgeCreator,
    PlaceOrder,
    RestoreQuote,
    ReviseQuote,
    WithdrawOrder,
)
from models.party_commands import (
    AppointProvider,
    EndContract,
    OverturnViolation,
    RegisterClient,
    RegisterCreator,
    RegisterMcn,
    RegisterProvider,
    ReportViolation,
)
from models.work_commands import (
    ApproveContent,
    ApproveScript,
    ConfirmDelivery,
    DisputeOrder,
    PublishWork,
    RateOrder,
    RejectContent,
    RejectScript,
    SubmitContent,
    SubmitScript,
)

__all__ = [
    "COMMANDS",
    "KINDS",
    "AcceptOrder",
    "AnyCommand",
    "AppointProvider",
    "ApproveContent",
    "ApproveScript",
    "CancelOrder",
    "Command",
    "ConfirmDelivery",
    "ConfirmPayment",
    "ConfirmPayout",
    "ConfirmRefund",
    "ConfirmUnpaid",
    "DeclineOrder",
    "DisputeOrder",
    "EndContract",
    "ExtendDeadline",
    "NudgeCreator",
    "OperatorAct",
    "OrderCommand",
    "OverturnViolation",
    "Party",
    "PauseClock",
    "PlaceOrder",
    "PublishWork",
    "RateOrder",
    "RegisterClient",
    "RegisterCreator",
    "RegisterMcn",
    "RegisterProvider",
    "ReinstateOrder",
    "RejectContent",
    "RejectScript",
    "ReleaseForfeit",
    "ReportViolation",
    "ResolveDispute",
    "ResolveSuspense",
    "RestoreQuote",
    "ResumeClock",
    "ReviseQuote",
    "Share",
    "SubmitContent",
    "SubmitScript",
    "WithdrawOrder",
]

AnyCommand = (
    RegisterMcn
    | RegisterCreator
    | RegisterClient
    | RegisterProvider
    | EndContract
    | ReportViolation
    | OverturnViolation
    | PlaceOrder
    | ConfirmPayment
    | AcceptOrder
    | DeclineOrder
    | ReviseQuote
    | RestoreQuote
    | CancelOrder
    | WithdrawOrder
    | NudgeCreator
    | ConfirmUnpaid
    | ConfirmRefund
    | ConfirmPayout
    | SubmitScript
    | SubmitContent
    | ApproveScript
    | RejectScript
    | ApproveContent
    | RejectContent
    | PublishWork
    | ConfirmDelivery
    | DisputeOrder
    | RateOrder
    | AppointProvider
    | ResolveDispute
    | OperatorAct
    | ExtendDeadline
    | PauseClock
    | ResumeClock
    | ReinstateOrder
    | ReleaseForfeit
    | ResolveSuspense
)
COMMANDS: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="kind")])
KINDS: frozenset[str] = frozenset(COMMANDS.core_schema.get("choices", ()))
"""Every kind of command."""
