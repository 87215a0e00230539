"""Work commands: scripts, contents, publications, and what the client says of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.command import OrderCommand
from models.fields import Cause, Instant, Link, Note, Stars

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
    comment: Cause


class ApproveContent(OrderCommand):
    """Agree to the work."""

    kind: Literal["approve_content"]


class RejectContent(OrderCommand):
    """Want the work done again, and say why."""

    kind: Literal["reject_content"]
    comment: Cause


class PublishWork(OrderCommand):
    """Say where the work is published, or that the broadcast took place."""

    kind: Literal["publish_work"]
    url: Link
    published_at: Instant


class ConfirmDelivery(OrderCommand):
    """Accept what was published."""

    kind: Literal["confirm_delivery"]


class DisputeOrder(OrderCommand):
    """Ask an operator to decide."""

    kind: Literal["dispute_order"]
    reason: Cause


class RateOrder(OrderCommand):
    """Rate a completed order, once."""

    kind: Literal["rate_order"]
    rating: Stars
    comment: Note | None = None
