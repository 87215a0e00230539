"""Order events: what happens to an order, its quote, its work, its disputes and its clock."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.calendar import CountingMethod
from models.events.event import Fact, register_event
from models.fields import Duration, TaskType
from models.lifecycle import PausedBy, State

Side = Literal["client", "creator"]
"""The two sides of an order; agencies and providers act for one of them."""


@register_event("order.placed")
class OrderPlaced(Fact):
    """A client offered a task; `due_fen` is wanted until `due_at`."""

    client_id: str
    creator_id: str
    name: str
    task_type: TaskType
    industry: str
    brief: str
    amount_fen: int
    total_fen: int
    deposit_fen: int
    prepay_deposit: bool
    due_fen: int
    due_at: datetime
    policy_version: str
    expected_publish_at: datetime | None
    needs_script: bool = True


@register_event("order.deposit_overdue")
class OrderDepositOverdue(Fact):
    """The window for the first payment closed: notices of one made in time count until `due_at`."""

    client_id: str
    creator_id: str
    amount_fen: int
    due_at: datetime


@register_event("order.offered")
class OrderOffered(Fact):
    """The first payment arrived: the creator may answer until `due_at`."""

    client_id: str
    creator_id: str
    due_at: datetime


@register_event("order.accepted")
class OrderAccepted(Fact):
    """The creator took the task; the balance is wanted until `due_at`, if one is left."""

    client_id: str
    creator_id: str
    by: str
    amount_fen: int
    total_fen: int
    balance_due_fen: int
    due_at: datetime | None
    counted: CountingMethod = "elapsed"
    mcn_id: str | None = None
    mcn_share_bps: int = 0


@register_event("order.declined")
class OrderDeclined(Fact):
    """The creator refused the task, or may no longer take it."""

    client_id: str
    creator_id: str
    by: str
    reason: str
    note: str | None


@register_event("order.expired")
class OrderExpired(Fact):
    """Nobody did in time what the order waited for."""

    client_id: str
    creator_id: str
    reason: str


@register_event("order.cancelled")
class OrderCancelled(Fact):
    """It is over; the client's money goes back, less `cost_fen` where work had begun.

    Of the cost `creator_part_fen` goes to the creator's side and `fee_part_fen` to the platform.
    """

    client_id: str
    creator_id: str
    by: str
    reason: str
    note: str | None
    cost_fen: int = 0
    creator_part_fen: int = 0
    fee_part_fen: int = 0
    refund_fen: int = 0
    mcn_id: str | None = None
    mcn_fen: int = 0


@register_event("order.balance_overdue")
class OrderBalanceOverdue(Fact):
    """The window for the balance closed; notices of payments made in time count until `due_at`."""

    client_id: str
    creator_id: str
    balance_due_fen: int
    due_at: datetime


@register_event("order.forfeited")
class OrderForfeited(Fact):
    """The client lost the deposit of `amount_fen`."""

    client_id: str
    creator_id: str
    reason: str
    amount_fen: int


@register_event("order.reinstated")
class OrderReinstated(Fact):
    """The forfeit of `amount_fen` is reversed: the balance was paid in time, or has until `due_at`.

    Without `due_at` the payment that proves it follows at once.
    """

    client_id: str
    creator_id: str
    amount_fen: int
    due_at: datetime | None = None


@register_event("order.funded")
class OrderFunded(Fact):
    """Everything is paid: the first work is wanted until `due_at`."""

    client_id: str
    creator_id: str
    held_fen: int
    due_at: datetime | None = None
    counted: CountingMethod = "elapsed"


@register_event("quote.revised")
class QuoteRevised(Fact):
    """The creator moved the quote; the balance moved with it, the deadline did not."""

    client_id: str
    creator_id: str
    amount_fen: int
    total_fen: int
    balance_due_fen: int


@register_event("quote.restored")
class QuoteRestored(Fact):
    """The client went back to the original quote."""

    client_id: str
    creator_id: str
    amount_fen: int
    total_fen: int
    balance_due_fen: int


@register_event("order.completed")
class OrderCompleted(Fact):
    """The work is delivered and settled: who gets how much of what was held."""

    client_id: str
    creator_id: str
    reason: str
    creator_fen: int
    mcn_id: str | None
    mcn_fen: int
    fee_fen: int


@register_event("forfeit.released")
class ForfeitReleased(Fact):
    """An operator said who finally gets the forfeited deposit."""

    client_id: str
    creator_id: str
    by: str
    note: str
    platform_fen: int
    creator_fen: int
    mcn_id: str | None
    mcn_fen: int
    client_fen: int


@register_event("script.submitted")
class ScriptSubmitted(Fact):
    """The creator handed in the `version`-th script; the client may answer until `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    links: tuple[str, ...]
    note: str | None
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("content.submitted")
class ContentSubmitted(Fact):
    """The creator handed in the `version`-th work; the client may answer until `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    links: tuple[str, ...]
    note: str | None
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("script.approved")
class ScriptApproved(Fact):
    """The client, silence or an operator agreed to the script; what is next is due at `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("content.approved")
class ContentApproved(Fact):
    """The client, silence or an operator agreed to the work: publish it until `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("script.rejected")
class ScriptRejected(Fact):
    """The client wants another script until `due_at`, and may still reject so many."""

    client_id: str
    creator_id: str
    by: str
    version: int
    comment: str
    rejections_left: int
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("content.rejected")
class ContentRejected(Fact):
    """The client wants the work done again until `due_at`, and may still reject so many."""

    client_id: str
    creator_id: str
    by: str
    version: int
    comment: str
    rejections_left: int
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("work.published")
class WorkPublished(Fact):
    """The work is out, or the broadcast took place: without a word by `due_at` it is accepted."""

    client_id: str
    creator_id: str
    by: str
    url: str
    published_at: datetime
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("delivery.accepted")
class DeliveryAccepted(Fact):
    """The client, silence or an operator accepted what was published; settled at `due_at`."""

    client_id: str
    creator_id: str
    by: str
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("schedule.proposed")
class ScheduleProposed(Fact):
    """One side proposes another day for the publication; the other may agree until `open_until`."""

    client_id: str
    creator_id: str
    by: str
    side: Side
    expected_publish_at: datetime
    open_until: datetime


@register_event("order.rescheduled")
class OrderRescheduled(Fact):
    """The publication is expected at `after`, not `before`: both sides agreed, or an operator.

    The present state waits until `due_at`, not `old_due_at`; while its clock is stopped there is
    neither, and more time is `left`.
    """

    client_id: str
    creator_id: str
    by: str
    note: str | None
    before: datetime | None
    after: datetime
    old_due_at: datetime | None
    due_at: datetime | None
    left: Duration | None = None
    counted: CountingMethod = "elapsed"


@register_event("order.in_arbitration")
class OrderInArbitration(Fact):
    """An operator must decide; until then the client may leave at `cost_fen`, if no work is out."""

    client_id: str
    creator_id: str
    by: str
    reason: str
    note: str | None
    came_from: State
    cost_bps: int
    cost_fen: int
    due_at: datetime
    counted: CountingMethod = "elapsed"


@register_event("dispute.resolved")
class DisputeResolved(Fact):
    """An operator decided: the work counts as approved, or it ends, or goes on until `until`."""

    client_id: str
    creator_id: str
    by: str
    outcome: Literal["approve", "cancel", "extend"]
    came_from: State
    creator_bps: int | None
    until: datetime | None
    note: str


@register_event("order.rated")
class OrderRated(Fact):
    """The client rated the completed order, with 1 to 5."""

    client_id: str
    creator_id: str
    by: str
    rating: int
    comment: str | None


@register_event("provider.appointed")
class ProviderAppointed(Fact):
    """One side lets a service provider act for it, or, with None, no longer does."""

    client_id: str
    creator_id: str
    by: str
    side: Side
    provider_id: str | None


@register_event("clock.stopped")
class ClockStopped(Fact):
    """The order's clock stands still: the deadline `old_due_at` no longer holds."""

    client_id: str
    creator_id: str
    stopper: PausedBy
    left: Duration
    old_due_at: datetime | None
    until: datetime | None


@register_event("clock.resumed")
class ClockResumed(Fact):
    """One stopper less: if none is left the clock runs again, until `due_at`."""

    client_id: str
    creator_id: str
    stopper: PausedBy
    left: Duration
    due_at: datetime | None


@register_event("deadline.extended")
class DeadlineExtended(Fact):
    """Whoever is waited for has more time: until `due_at`, not `old_due_at`."""

    client_id: str
    creator_id: str
    old_due_at: datetime | None
    due_at: datetime
