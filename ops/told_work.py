"""Told of work: versions, reviews, publications, disputes and clocks, as clauses to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models.events import orders as order_events
from models.events.event import Fact
from models.fields import duration_text, instant_text
from ops.wording import counted, fen, said, share, who


def _due(fact: Any) -> str:  # noqa: ANN401 - any fact of the work that arms a deadline
    return instant_text(fact.due_at) + counted(fact.counted)


def _submitted(fact: order_events.ScriptSubmitted | order_events.ContentSubmitted) -> str:
    kind = "script" if isinstance(fact, order_events.ScriptSubmitted) else "content"
    return (
        f"{kind} {fact.version} handed in by {fact.by}{said(fact.note)} ({', '.join(fact.links)}); "
        f"the client may answer until {_due(fact)}, after that it is approved"
    )


def _script_approved(fact: order_events.ScriptApproved) -> str:
    return f"script {fact.version} approved {_by(fact.by)}; the next step is due {_due(fact)}"


def _content_approved(fact: order_events.ContentApproved) -> str:
    return f"content {fact.version} approved {_by(fact.by)}; to be published until {_due(fact)}"


def _by(name: str) -> str:
    return "by silence: the client had said nothing" if name == "silence" else f"by {name}"


def _rejected(fact: order_events.ScriptRejected | order_events.ContentRejected) -> str:
    kind = "script" if isinstance(fact, order_events.ScriptRejected) else "content"
    return (
        f"{kind} {fact.version} sent back by {fact.by}{said(fact.comment)}; "
        f"{fact.rejections_left} more may be sent back; another is due {_due(fact)}"
    )


def _published(fact: order_events.WorkPublished) -> str:
    return (
        f"published by {fact.by} at {fact.url} (it says: {instant_text(fact.published_at)}); "
        f"without a word by {_due(fact)} it is accepted"
    )


def _delivered(fact: order_events.DeliveryAccepted) -> str:
    return f"delivery accepted {_by(fact.by)}; to be settled after {_due(fact)}"


def _arbitrated(fact: order_events.OrderInArbitration) -> str:
    cost = "nothing" if not fact.cost_fen else f"{fen(fact.cost_fen)} ({share(fact.cost_bps)})"
    return (
        f"put before an operator by {who(fact.by)} ({fact.reason}){said(fact.note)}, out of "
        f"{fact.came_from}; until it is decided, leaving costs the client {cost}"
    )


def _resolved(fact: order_events.DisputeResolved) -> str:
    resolution = {
        "approve": "it counts as approved",
        "cancel": f"it ends, {share(fact.creator_bps or 0)} of the amount to the creator's side",
        "extend": f"back to {fact.came_from} until {_text(fact.until)}",
    }[fact.outcome]
    return f"the dispute is resolved by {fact.by}{said(fact.note)}: {resolution}"


def _rated(fact: order_events.OrderRated) -> str:
    return f"rated {fact.rating} of 5 by {fact.by}{said(fact.comment)}"


def _appointed(fact: order_events.ProviderAppointed) -> str:
    if fact.provider_id is None:
        return f"the {fact.side}'s side no longer has a service provider"
    return f"provider {fact.provider_id} may act for the {fact.side}'s side"


def _stopped(fact: order_events.ClockStopped) -> str:
    stopper = "a ban of the creator" if fact.stopper == "ban" else "an operator"
    until = "" if fact.until is None else f", for no longer than {instant_text(fact.until)}"
    return f"the clock is stopped by {stopper}, with {duration_text(fact.left)} left{until}"


def _resumed(fact: order_events.ClockResumed) -> str:
    stopper = "the ban" if fact.stopper == "ban" else "the operator"
    if fact.due_at is None:
        return f"{stopper} no longer stops the clock, but it is stopped still"
    return f"{stopper} no longer stops the clock: what was due is due {instant_text(fact.due_at)}"


def _extended(fact: order_events.DeadlineExtended) -> str:
    before = "" if fact.old_due_at is None else f", not {instant_text(fact.old_due_at)}"
    return f"the deadline is {instant_text(fact.due_at)}{before}"


def _text(at: datetime | None) -> str:
    return "" if at is None else instant_text(at)


WORK: dict[type[Fact], Callable[[Any], str]] = {
    order_events.ScriptSubmitted: _submitted,
    order_events.ContentSubmitted: _submitted,
    order_events.ScriptApproved: _script_approved,
    order_events.ContentApproved: _content_approved,
    order_events.ScriptRejected: _rejected,
    order_events.ContentRejected: _rejected,
    order_events.WorkPublished: _published,
    order_events.DeliveryAccepted: _delivered,
    order_events.OrderInArbitration: _arbitrated,
    order_events.DisputeResolved: _resolved,
    order_events.OrderRated: _rated,
    order_events.ProviderAppointed: _appointed,
    order_events.ClockStopped: _stopped,
    order_events.ClockResumed: _resumed,
    order_events.DeadlineExtended: _extended,
}
"""How each event of the work is told."""
