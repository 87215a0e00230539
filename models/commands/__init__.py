"""Commands: the union of everything that may be asked, checked to the last field."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from models.commands.operators import (
    ExtendDeadline,
    HoldPayout,
    OperatorAct,
    PauseClock,
    ReinstateOrder,
    ReleaseForfeit,
    ReleasePayout,
    RescheduleOrder,
    ResolveDispute,
    ResolveSuspense,
    ResumeClock,
    ReversePayout,
    VoidPayment,
)
from models.commands.orders import (
    AcceptOrder,
    AgreeSchedule,
    ApproveContent,
    ApproveScript,
    CancelOrder,
    ConfirmDelivery,
    ConfirmUnpaid,
    DeclineOrder,
    DisputeOrder,
    NudgeCreator,
    PlaceOrder,
    ProposeSchedule,
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
from models.commands.parties import (
    AppointProvider,
    EndContract,
    OverturnViolation,
    RegisterClient,
    RegisterCreator,
    RegisterMcn,
    RegisterProvider,
    ReportViolation,
)
from models.commands.payments import (
    ConfirmPayment,
    ConfirmPayout,
    ConfirmRefund,
    FailPayout,
    FailRefund,
)

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
    | FailRefund
    | FailPayout
    | SubmitScript
    | SubmitContent
    | ApproveScript
    | RejectScript
    | ApproveContent
    | RejectContent
    | PublishWork
    | ConfirmDelivery
    | ProposeSchedule
    | AgreeSchedule
    | DisputeOrder
    | RateOrder
    | AppointProvider
    | ResolveDispute
    | OperatorAct
    | ExtendDeadline
    | PauseClock
    | ResumeClock
    | RescheduleOrder
    | ReinstateOrder
    | ReleaseForfeit
    | ResolveSuspense
    | HoldPayout
    | ReleasePayout
    | ReversePayout
    | VoidPayment
)

COMMAND_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(
    Annotated[AnyCommand, Field(discriminator="kind")]
)

COMMAND_KINDS: frozenset[str] = frozenset(COMMAND_ADAPTER.core_schema.get("choices", ()))
"""The kinds of command, as `kind` names them."""
