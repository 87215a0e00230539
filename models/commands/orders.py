"""Order commands: what clients and creators may ask, from placing an order to rating it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from models.commands.command import Dependencies, FlagDefaultFalse, OrderCommand
from models.fields import (
    Brief,
    Fen,
    Id,
    Instant,
    Label,
    Link,
    Note,
    RequiredNote,
    Stars,
    TaskType,
    field_error,
)
from models.lifecycle import Role
from models.money import MAX_FEN

# In an optional field null is absence, and this absent flag is up.
FlagDefaultTrue = Annotated[bool, BeforeValidator(lambda flag: True if flag is None else flag)]


class PlaceOrder(OrderCommand):
    """Offer a creator a task at a fixed price."""

    kind: Literal["place_order"]
    creator_id: Id
    name: Label
    task_type: TaskType
    industry: Label
    brief: Brief
    amount_fen: Fen
    prepay_deposit: bool
    expected_publish_at: Instant | None = None
    needs_script: FlagDefaultTrue = True
    fields_added_later: ClassVar[frozenset[str]] = frozenset({"needs_script"})
    roles: ClassVar[frozenset[str]] = frozenset({Role.CLIENT})

    @model_validator(mode="after")
    def _require_script_for_live(self) -> PlaceOrder:
        if self.task_type == "douyin_live" and not self.needs_script:
            raise field_error("needs_script", "a broadcast cannot be reviewed but by its script")
        return self

    def add_dependencies(self, dependencies: Dependencies) -> None:
        # What it places is not there yet.
        dependencies.orders.add(self.order_id)
        dependencies.placements.add(self.order_id)
        dependencies.creators_held_unchanged.add(self.creator_id)
        dependencies.clients.add(self.by.id)
        if self.by.role == Role.CLIENT.value:
            dependencies.placing_clients.append(self.by.id)


class AcceptOrder(OrderCommand):
    """Take the task, with a new quote if one is given."""

    kind: Literal["accept_order"]
    revised_amount_fen: Fen | None = None


class DeclineOrder(OrderCommand):
    """Refuse the task."""

    kind: Literal["decline_order"]
    reason: Note | None = None


class ReviseQuote(OrderCommand):
    """Move the quote after accepting."""

    kind: Literal["revise_quote"]
    amount_fen: Fen


class RestoreQuote(OrderCommand):
    """Go back to the original quote."""

    kind: Literal["restore_quote"]


class CancelOrder(OrderCommand):
    """Walk away, as the client or for the platform."""

    kind: Literal["cancel_order"]
    accept_forfeit: FlagDefaultFalse = False
    accept_cost_fen: Annotated[int, Field(ge=0, le=MAX_FEN)] | None = None
    reason: Note | None = None
    fields_added_later: ClassVar[frozenset[str]] = frozenset({"accept_cost_fen", "reason"})


class WithdrawOrder(OrderCommand):
    """Walk away, as the creator, after accepting."""

    kind: Literal["withdraw_order"]
    reason: Note | None = None


class NudgeCreator(OrderCommand):
    """Remind a creator who has not answered."""

    kind: Literal["nudge_creator"]


class ConfirmUnpaid(OrderCommand):
    """Declare that nothing is in flight for an overdue balance."""

    kind: Literal["confirm_unpaid"]


Links = Annotated[tuple[Link, ...], Field(min_length=1, max_length=20, strict=False)]


class SubmitScript(OrderCommand):
    """Hand in a version of the script."""

    kind: Literal["submit_script"]
    links: Links
    note: Note | None = None


class SubmitContent(OrderCommand):
    """Hand in a version of the finished work."""

    kind: Literal["submit_content"]
    links: Links
    note: Note | None = None


class ApproveScript(OrderCommand):
    """Agree to the script."""

    kind: Literal["approve_script"]


class RejectScript(OrderCommand):
    """Want another script, and say why."""

    kind: Literal["reject_script"]
    comment: RequiredNote


class ApproveContent(OrderCommand):
    """Agree to the work."""

    kind: Literal["approve_content"]


class RejectContent(OrderCommand):
    """Want the work done again, and say why."""

    kind: Literal["reject_content"]
    comment: RequiredNote


class PublishWork(OrderCommand):
    """Say where the work is published, or that the broadcast took place."""

    kind: Literal["publish_work"]
    url: Link
    published_at: Instant


class ConfirmDelivery(OrderCommand):
    """Accept what was published."""

    kind: Literal["confirm_delivery"]


class ProposeSchedule(OrderCommand):
    """Propose another day for the publication."""

    kind: Literal["propose_schedule"]
    expected_publish_at: Instant


class AgreeSchedule(OrderCommand):
    """Agree to the day that the other side proposed."""

    kind: Literal["agree_schedule"]
    expected_publish_at: Instant


class DisputeOrder(OrderCommand):
    """Ask an operator to decide."""

    kind: Literal["dispute_order"]
    reason: RequiredNote


class RateOrder(OrderCommand):
    """Rate a completed order, once."""

    kind: Literal["rate_order"]
    rating: Stars
    comment: Note | None = None
