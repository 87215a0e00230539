"""Explain: why an order is where it is, what happens next, and what each party may do now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models.fields import instant_text
from models.orders.decide import elapse
from ops.rights import rights
from ops.steps import chain, since, text, why
from ops.told_parties import told_party
from ops.upcoming import later, upcoming
from workers.database.repository import Store
from workers.queries.reader import History, history

Account = dict[str, Any]


def explain(
    store: Store, order_id: str, *, at: datetime, watermark: datetime | None = None
) -> Account | None:
    """Account for one order as of `at`, or return None if there is none; all of it is JSON.

    `watermark` is the instant before which everything received is settled; deadlines wait for it.
    """
    order_history = history(store, order_id)
    return None if order_history is None else account(order_history, at=at, watermark=watermark)


def account(order_history: History, *, at: datetime, watermark: datetime | None = None) -> Account:
    """Account for one order from everything that is on record about it."""
    order, steps = order_history.order, chain(order_history)
    elapsed_order = elapse(order, at, order_history.creator.turns(at)).order
    return {
        "order_id": order.order_id,
        "name": order_history.name,
        "status": order.state.value,
        "reason": order.reason,
        "since": instant_text(order.entered_at),
        "why": why(steps),
        "since_then": since(steps),
        "parties": _parties(order_history),
        "creator": _creator(order_history),
        "chain": steps,
        "refused": _refused(order_history),
        "money": _money(order_history),
        "policy": _policy(order_history),
        "next": upcoming(order_history, at, watermark),
        "later": later(order_history, at),
        "may": rights(elapsed_order, order_history.creator, at),
        # Time is enforced before anyone is heard: this is the state in which rights are judged.
        "judged_as": elapsed_order.state.value,
        "clock": {"at": instant_text(at), "watermark": text(watermark)},
    }


def _parties(order_history: History) -> Account:
    order = order_history.order
    return {
        "client": order.client_id,
        "creator": order.creator_id,
        "mcn": order_history.creator.agency,
        "client_provider": order.client_provider,
        "creator_provider": order.creator_provider,
        # To whom money is owed was frozen when the order was accepted.
        "payee_mcn": order.mcn_id,
        "mcn_share_bps": order.mcn_share_bps,
    }


def _creator(order_history: History) -> Account:
    """Tell the standing of the order's creator, and what led to it."""
    creator = order_history.creator
    standing_events = [
        event for event in order_history.standing if event.fact.type != "creator.registered"
    ]
    return {
        "admitted": creator.admitted,
        "bans": [
            {
                "violation_id": ban.violation_id,
                "step": ban.step,
                "since": instant_text(ban.since),
                "until": text(ban.until),
            }
            for ban in creator.bans
        ],
        "told": [
            {"at": instant_text(event.at), "what": told_party(event.fact)}
            for event in standing_events
        ],
    }


def _refused(order_history: History) -> list[Account]:
    return [
        {
            "command_id": receipt.command_id,
            "received_at": instant_text(receipt.received_at),
            "reason": receipt.reason,
            "cost_fen": receipt.cost_fen,
            "by": order_history.asked_by.get(receipt.command_id),
        }
        for receipt in order_history.receipts.values()
        if receipt.outcome == "rejected"
    ]


def _money(order_history: History) -> Account:
    order = order_history.order
    return {
        "original_amount_fen": order.original_amount_fen,
        "amount_fen": order.amount_fen,
        "total_fen": order.total_fen,
        "deposit_fen": order.deposit_fen,
        "held_fen": order.held_fen,
        "balance_due_fen": order.balance_due_fen,
        "held": _holdings(order.held),
        "forfeited": _holdings(order.forfeited),
        "refunds": [
            {"refund_id": refund.refund_id, "client_id": refund.client_id} | _debt(refund)
            for refund in order_history.refunds
        ],
        "payouts": [
            {"payout_id": payout.payout_id, "party": payout.party} | _debt(payout)
            for payout in order_history.payouts
        ],
    }


def _holdings(holdings: Any) -> list[Account]:  # noqa: ANN401 - a tuple of holdings
    return [
        {"payment_id": holding.payment_id, "amount_fen": holding.amount_fen} for holding in holdings
    ]


def _debt(debt: Any) -> Account:  # noqa: ANN401 - a refund or a payout
    return {
        "amount_fen": debt.amount_fen,
        "requested_at": instant_text(debt.requested_at),
        "confirmed_at": text(debt.confirmed_at),
    }


def _policy(order_history: History) -> Account:
    policy = order_history.order.policy
    numbers = policy.model_dump(mode="json")
    adopted_at = text(order_history.policy_adopted_at)
    return {"version": policy.version, "adopted_at": adopted_at, "numbers": numbers}
