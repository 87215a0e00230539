"""Explain: why an order is where it is, what happens next, and what each party may do now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models.decide import elapse
from models.fields import instant_text
from ops.rights import rights
from ops.steps import chain, since, text, why
from ops.told_parties import told_party
from ops.upcoming import later, upcoming
from workers.history import History, history
from workers.store import Store

Account = dict[str, Any]


def explain(
    store: Store, order_id: str, *, at: datetime, watermark: datetime | None = None
) -> Account | None:
    """Account for one order as of `at`, or return None if there is none; all of it is JSON.

    `watermark` is the instant before which everything received is settled; deadlines wait for it.
    """
    found = history(store, order_id)
    return None if found is None else account(found, at=at, watermark=watermark)


def account(found: History, *, at: datetime, watermark: datetime | None = None) -> Account:
    """Account for one order from everything that is on record about it."""
    order, steps = found.order, chain(found)
    heard = elapse(order, at, found.creator.turns(at)).order
    return {
        "order_id": order.order_id,
        "name": found.name,
        "status": order.state.value,
        "reason": order.reason,
        "since": instant_text(order.entered_at),
        "why": why(steps),
        "since_then": since(steps),
        "parties": _parties(found),
        "creator": _creator(found),
        "chain": steps,
        "refused": _refused(found),
        "money": _money(found),
        "policy": _policy(found),
        "next": upcoming(found, at, watermark),
        "later": later(found, at),
        "may": rights(heard, found.creator, at),
        # Time is enforced before anyone is heard: this is the state in which rights are judged.
        "judged_as": heard.state.value,
        "clock": {"at": instant_text(at), "watermark": text(watermark)},
    }


def _parties(found: History) -> Account:
    order = found.order
    return {
        "client": order.client_id,
        "creator": order.creator_id,
        "mcn": found.creator.agency,
        "client_provider": order.client_provider,
        "creator_provider": order.creator_provider,
        # To whom money is owed was frozen when the order was accepted.
        "payee_mcn": order.mcn_id,
        "mcn_share_bps": order.mcn_share_bps,
    }


def _creator(found: History) -> Account:
    """Tell the standing of the order's creator, and what led to it."""
    creator = found.creator
    told = [one for one in found.standing if one.fact.type != "creator.registered"]
    return {
        "admitted": creator.admitted,
        "bans": [
            {
                "violation_id": one.violation_id,
                "step": one.step,
                "since": instant_text(one.since),
                "until": text(one.until),
            }
            for one in creator.bans
        ],
        "told": [{"at": instant_text(one.at), "what": told_party(one.fact)} for one in told],
    }


def _refused(found: History) -> list[Account]:
    return [
        {
            "command_id": one.command_id,
            "received_at": instant_text(one.received_at),
            "reason": one.reason,
            "cost_fen": one.cost_fen,
            "by": found.asked_by.get(one.command_id),
        }
        for one in found.receipts.values()
        if one.outcome == "rejected"
    ]


def _money(found: History) -> Account:
    order = found.order
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
            {"refund_id": one.refund_id, "client_id": one.client_id} | _debt(one)
            for one in found.refunds
        ],
        "payouts": [
            {"payout_id": one.payout_id, "party": one.party} | _debt(one) for one in found.payouts
        ],
    }


def _holdings(held: Any) -> list[Account]:  # noqa: ANN401 - a tuple of holdings
    return [{"payment_id": one.payment_id, "amount_fen": one.amount_fen} for one in held]


def _debt(one: Any) -> Account:  # noqa: ANN401 - a refund or a payout
    return {
        "amount_fen": one.amount_fen,
        "requested_at": instant_text(one.requested_at),
        "confirmed_at": text(one.confirmed_at),
    }


def _policy(found: History) -> Account:
    policy = found.order.policy
    told = policy.model_dump(mode="json")
    adopted_at = text(found.policy_adopted_at)
    return {"version": policy.version, "adopted_at": adopted_at, "numbers": told}
