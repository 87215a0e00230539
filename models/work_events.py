"""Work events: versions and what is said of them, publications, disputes and clocks."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.clocks import Counted
from models.events import Fact, fact
from models.fields import Duration
from models.lifecycle import State
from models.order import Stopper


@fact("script.submitted")
class ScriptSubmitted(Fact):
    """The creator handed in the `version`-th script; the client may answer until `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    links: tuple[str, ...]
    note: str | None
    due_at: datetime
    counted: Counted = "elapsed"


@fact("content.submitted")
class ContentSubmitted(Fact):
    """The creator handed in the `version`-th work; the client may answer until `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    links: tuple[str, ...]
    note: str | None
    due_at: datetime
    counted: Counted = "elapsed"


@fact("script.approved")
class ScriptApproved(Fact):
    """The client, silence or an operator agreed to the script; what is next is due at `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    due_at: datetime
    counted: Counted = "elapsed"


@fact("content.approved")
class ContentApproved(Fact):
    """The client, silence or an operator agreed to the work: publish it until `due_at`."""

    client_id: str
    creator_id: str
    by: str
    version: int
    due_at: datetime
    counted: Counted = "elapsed"


@fact("script.rejected")
class ScriptRejected(Fact):
    """The client wants another script until `due_at`, and may still reject so many."""

    client_id: str
    creator_id: str
    by: str
    version: int
    comment: str
    rejections_left: int
    due_at: datetime
    counted: Counted = "elapsed"


@fact("content.rejected")
class ContentRejected(Fact):
    """The client wants the work done again until `due_at`, and may still reject so many."""

    client_id: str
    creator_id: str
    by: str
    version: int
    comment: str
    rejections_left: int
    due_at: datetime
    counted: Counted = "elapsed"


@fact("work.published")
class WorkPublished(Fact):
    """The work is out, or the broadcast took place: without a word by `due_at` it is accepted."""

    client_id: str
    creator_id: str
    by: str
    url: str
    published_at: datetime
    due_at: datetime
    counted: Counted = "elapsed"


@fact("delivery.accepted")
class DeliveryAccepted(Fact):
    """The client, silence or an operator accepted what was published; settled at `due_at`."""

    client_id: str
    creator_id: str
    by: str
    due_at: datetime
    counted: Counted = "elapsed"


@fact("order.in_arbitration")
class OrderInArbitration(Fact):
    """An operator must decide; until then the client may leave at `cost_fen`."""

    client_id: str
    creator_id: str
    by: str
    reason: str
    note: str | None
    came_from: State
    cost_bps: int
    cost_fen: int
    due_at: datetime
    counted: Counted = "elapsed"


@fact("dispute.resolved")
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


@fact("order.rated")
class OrderRated(Fact):
    """The client rated the completed order, with 1 to 5."""

    client_id: str
    creator_id: str
    by: str
    rating: int
    comment: str | None


@fact("provider.appointed")
class ProviderAppointed(Fact):
    """One side lets a service provider act for it, or, with None, no longer does."""

    client_id: str
    creator_id: str
    by: str
    side: Literal["client", "creator"]
    provider_id: str | None


@fact("clock.stopped")
class ClockStopped(Fact):
    """The order's clock stands still: the deadline `old_due_at` no longer holds."""

    client_id: str
    creator_id: str
    stopper: Stopper
    left: Duration
    old_due_at: datetime | None
    until: datetime | None


@fact("clock.resumed")
class ClockResumed(Fact):
    """One stopper less: if none is left the clock runs again, until `due_at`."""

    client_id: str
    creator_id: str
    stopper: Stopper
    left: Duration
    due_at: datetime | None


@fact("deadline.extended")
class DeadlineExtended(Fact):
    """Whoever is waited for has more time: until `due_at`, not `old_due_at`."""

    client_id: str
    creator_id: str
    old_due_at: datetime | None
    due_at: datetime
