"""Accounts: what `explain` reads from a database, made from a story's book instead."""

from __future__ import annotations

from typing import Any

from ops.explain import account
from ops.narrate import as_text
from tests.unit.controls import Story
from workers.history import STANDING, History


def history_of(story: Story, order_id: str = "o1") -> History:
    """Collect everything that is known about an order."""
    book, order = story.book, story.order(order_id)
    subject, creator = f"order:{order_id}", f"creator:{order.creator_id}"
    mine = [one for one in story.events if one.subject == subject]
    causes = {one.caused_by.removeprefix("command:") for one in mine}
    about = [one for one in book.receipts.values() if one.about == order_id]
    told = [one for one in about if one.outcome == "rejected" or one.command_id in causes]
    known = {one.command_id: one for one in told}
    known |= {name: book.receipts[name] for name in causes & book.receipts.keys()}
    standing = [one for one in story.events if one.subject == creator]
    return History(
        order=order,
        name="春季新品推广",
        events=tuple((one, one.at) for one in mine),
        receipts=known,
        asked_by={},
        refunds=tuple(one for one in book.refunds.values() if one.order_id == order_id),
        payouts=tuple(one for one in book.payouts.values() if one.order_id == order_id),
        creator=book.creators[order.creator_id],
        standing=tuple(one for one in standing if one.fact.type in STANDING),
        policy_adopted_at=None,
    )


def accounted(story: Story, order_id: str = "o1") -> dict[str, Any]:
    """Account for an order, now."""
    return account(history_of(story, order_id), at=story.now, watermark=story.now)


def narrated(story: Story, order_id: str = "o1") -> str:
    """Tell a person of an order, now."""
    return as_text(accounted(story, order_id))
