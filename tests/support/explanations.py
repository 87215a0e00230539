"""Explanations: what `explain` reads from a database, made from a story in memory instead."""

from __future__ import annotations

from typing import Any

from ops.explain.account import account_for
from ops.explain.render import render_text
from tests.support.stories import OrderStory
from workers.queries.reader import STANDING_EVENTS, OrderHistory


def history_of(story: OrderStory, order_id: str = "o1") -> OrderHistory:
    """Collect the events, receipts, refunds and payouts of an order."""
    uow, order = story.uow, story.order(order_id)
    order_subject, creator_subject = f"order:{order_id}", f"creator:{order.creator_id}"
    order_events = [event for event in story.events if event.subject == order_subject]
    causes = {event.caused_by.removeprefix("command:") for event in order_events}
    relevant_receipts = {
        key: receipt
        for key, receipt in uow.receipts.items()
        if key in causes or (receipt.about == order_id and receipt.outcome == "rejected")
    }
    creator_events = [event for event in story.events if event.subject == creator_subject]
    return OrderHistory(
        order=order,
        name="春季新品推广",
        events=tuple((event, event.at) for event in order_events),
        receipts=relevant_receipts,
        refunds=tuple(refund for refund in uow.refunds.values() if refund.order_id == order_id),
        payouts=tuple(payout for payout in uow.payouts.values() if payout.order_id == order_id),
        creator=uow.creators[order.creator_id],
        standing=tuple(event for event in creator_events if event.fact.type in STANDING_EVENTS),
        policy_adopted_at=None,
    )


def account_of(story: OrderStory, order_id: str = "o1") -> dict[str, Any]:
    """Account for an order, now."""
    return account_for(history_of(story, order_id), at=story.now, watermark=story.now)


def explanation_text(story: OrderStory, order_id: str = "o1") -> str:
    """Tell a person of an order, now."""
    return render_text(account_of(story, order_id))
