"""Texts: each event that can happen to an order or its creator, as a clause for people to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models.calendar import CountingMethod
from models.events import notifications
from models.events import orders as order_events
from models.events import parties as party_events
from models.events import payments as payment_events
from models.events.event import Fact
from models.events.parties import OperatorActed
from models.fields import format_duration, format_instant
from models.lifecycle import STATES_AFTER_PUBLICATION


def event_text(fact: Fact) -> str:
    """Say what happened, without saying when, or because of what."""
    return EVENT_TEXTS[type(fact)](fact)


def _placed(fact: order_events.OrderPlaced) -> str:
    first = "a deposit" if fact.prepay_deposit else "all"
    return (
        f"placed with creator {fact.creator_id} at {fen_text(fact.amount_fen)}, "
        f"{fen_text(fact.total_fen)} with the fee; {first} of {fen_text(fact.due_fen)} is due "
        f"until {format_instant(fact.due_at)}"
    )


def _deposit_overdue(fact: order_events.OrderDepositOverdue) -> str:
    return (
        f"the first payment of {fen_text(fact.amount_fen)} had not come; notices of a payment "
        f"made in time count until {format_instant(fact.due_at)}"
    )


def _offered(fact: order_events.OrderOffered) -> str:
    return f"offered: creator {fact.creator_id} may answer until {format_instant(fact.due_at)}"


def _accepted(fact: order_events.OrderAccepted) -> str:
    part = f"; of it {percent_text(fact.mcn_share_bps)} goes to agency {fact.mcn_id}"
    agency = part if fact.mcn_share_bps else ""
    balance = "nothing is left to pay"
    if fact.due_at is not None:
        balance = f"{fen_text(fact.balance_due_fen)} are due until {_order_due(fact, fact.due_at)}"
    return f"accepted by {fact.by} at {fen_text(fact.amount_fen)}{agency}; {balance}"


def _order_due(fact: Any, due_at: datetime) -> str:  # noqa: ANN401 - any fact that arms a deadline
    return format_instant(due_at) + day_count_text(fact.counted)


def _declined(fact: order_events.OrderDeclined) -> str:
    return f"declined by {actor_text(fact.by)} ({fact.reason}){quoted_note(fact.note)}"


def _expired(fact: order_events.OrderExpired) -> str:
    explanation = {
        "deposit_not_paid": "nobody had paid",
        "not_accepted": f"creator {fact.creator_id} had not answered",
    }[fact.reason]
    return f"expired: {explanation}"


def _cancelled(fact: order_events.OrderCancelled) -> str:
    head = f"cancelled by {actor_text(fact.by)} ({fact.reason}){quoted_note(fact.note)}"
    if not fact.cost_fen:
        refund = (
            f"{fen_text(fact.refund_fen)}, everything, go back"
            if fact.refund_fen
            else "nothing was held"
        )
        return f"{head}; {refund}"
    return (
        f"{head} at a cost of {fen_text(fact.cost_fen)}: {fen_text(fact.creator_part_fen)} to "
        f"the creator's side, {fen_text(fact.fee_part_fen)} to the platform; "
        f"{fen_text(fact.refund_fen)} go back"
    )


def _overdue(fact: order_events.OrderBalanceOverdue) -> str:
    return (
        f"the balance of {fen_text(fact.balance_due_fen)} had not come; notices of a payment "
        f"made in time count until {format_instant(fact.due_at)}"
    )


def _forfeited(fact: order_events.OrderForfeited) -> str:
    explanation = {
        "balance_not_paid": "the balance was not paid in time",
        "client_cancelled": "the client left after the creator had accepted",
    }[fact.reason]
    return f"the deposit of {fen_text(fact.amount_fen)} is forfeited: {explanation}"


def _reinstated(fact: order_events.OrderReinstated) -> str:
    explanation = "the balance had been paid in time"
    if fact.due_at is not None:
        explanation = f"the balance may be paid until {format_instant(fact.due_at)}"
    return f"reinstated, the deposit of {fen_text(fact.amount_fen)} is held again: {explanation}"


def _funded(fact: order_events.OrderFunded) -> str:
    until = (
        ""
        if fact.due_at is None
        else f", the first work is wanted until {_order_due(fact, fact.due_at)}"
    )
    return f"everything is paid, {fen_text(fact.held_fen)} are held{until}"


def _quoted(fact: order_events.QuoteRevised | order_events.QuoteRestored) -> str:
    direction = "moved" if isinstance(fact, order_events.QuoteRevised) else "back"
    return (
        f"the quote is {direction} to {fen_text(fact.amount_fen)}, "
        f"{fen_text(fact.balance_due_fen)} are due"
    )


def _completed(fact: order_events.OrderCompleted) -> str:
    agency = f"{fen_text(fact.mcn_fen)} to agency {fact.mcn_id}, " if fact.mcn_fen else ""
    return (
        f"completed and settled: {agency}{fen_text(fact.creator_fen)} to creator "
        f"{fact.creator_id}, {fen_text(fact.fee_fen)} to the platform"
    )


def _forfeit_released(fact: order_events.ForfeitReleased) -> str:
    parts = {
        "the platform": fact.platform_fen,
        f"agency {fact.mcn_id}": fact.mcn_fen,
        f"creator {fact.creator_id}": fact.creator_fen,
        f"client {fact.client_id}": fact.client_fen,
    }
    share_texts = ", ".join(f"{fen_text(part)} to {payee}" for payee, part in parts.items() if part)
    return f"the forfeited deposit is released by {fact.by}{quoted_note(fact.note)}: {share_texts}"


def _applied(fact: payment_events.PaymentApplied) -> str:
    source = ", out of suspense" if fact.source == "suspense" else ""
    return f"payment {fact.payment_id} of {fen_text(fact.amount_fen)} is held{source}"


def _unapplied(fact: payment_events.PaymentUnapplied) -> str:
    return f"payment {fact.payment_id} of {fen_text(fact.amount_fen)} is not used ({fact.reason})"


def _refund(fact: payment_events.RefundRequested) -> str:
    return (
        f"refund {fact.refund_id} of {fen_text(fact.amount_fen)} is owed to client {fact.client_id}"
    )


def _refunded(fact: payment_events.RefundConfirmed) -> str:
    return f"refund {fact.refund_id} of {fen_text(fact.amount_fen)} has left"


def _refund_voided(fact: payment_events.RefundVoided) -> str:
    return f"refund {fact.refund_id} of {fen_text(fact.amount_fen)} is void, as its payment is"


def _refund_failed(fact: payment_events.RefundFailed) -> str:
    return f"refund {fact.refund_id} of {_failure_text(fact)}"


def _payout_failed(fact: payment_events.PayoutFailed) -> str:
    return f"payout {fact.payout_id} of {_failure_text(fact)}"


def _failure_text(fact: payment_events.RefundFailed | payment_events.PayoutFailed) -> str:
    came_back = "came back and is owed again" if fact.came_back else "did not leave and is owed"
    next_attempt = f"attempt {fact.attempt} is {fact.reference}"
    return f"{fen_text(fact.amount_fen)} {came_back}{quoted_note(fact.note)}; {next_attempt}"


def _payout_held(fact: payment_events.PayoutHeld) -> str:
    return f"payout {fact.payout_id} is held by {fact.by}{quoted_note(fact.note)}"


def _payout_released(fact: payment_events.PayoutReleased) -> str:
    return f"payout {fact.payout_id} is released by {fact.by}{quoted_note(fact.note)}"


def _payout_reversed(fact: payment_events.PayoutReversed) -> str:
    payee = "the platform" if fact.to == "platform" else f"client {fact.client_id}"
    return (
        f"payout {fact.payout_id} is reversed by {fact.by}{quoted_note(fact.note)}: "
        f"{fen_text(fact.amount_fen)} to {payee}"
    )


def _payout(fact: payment_events.PayoutRequested) -> str:
    return f"payout {fact.payout_id} of {fen_text(fact.amount_fen)} is owed to {fact.party}"


def _paid_out(fact: payment_events.PayoutConfirmed) -> str:
    return f"payout {fact.payout_id} of {fen_text(fact.amount_fen)} has left"


def _reminded(fact: notifications.CreatorReminded | notifications.ClientReminded) -> str:
    side = "creator" if isinstance(fact, notifications.CreatorReminded) else "client"
    if fact.lead is None:
        return f"{side} {fact.recipient_id} is nudged"
    return f"{side} {fact.recipient_id} is reminded, {format_duration(fact.lead)} ahead"


def _alerted(fact: notifications.OperatorAlerted) -> str:
    debt_id = fact.refund_id or fact.payout_id
    about = "" if debt_id is None else f" of {debt_id}"
    return f"an operator is told: {fact.alert}{about}, {fen_text(fact.amount_fen)} at stake"


def _acted(fact: OperatorActed) -> str:
    return f"done with an operator's power, {fact.act}{quoted_note(fact.note)}"


def _submitted(fact: order_events.ScriptSubmitted | order_events.ContentSubmitted) -> str:
    kind = "script" if isinstance(fact, order_events.ScriptSubmitted) else "content"
    return (
        f"{kind} {fact.version} handed in by {fact.by}{quoted_note(fact.note)} "
        f"({', '.join(fact.links)}); "
        f"the client may answer until {_work_due(fact)}, after that it is approved"
    )


def _script_approved(fact: order_events.ScriptApproved) -> str:
    return (
        f"script {fact.version} approved {_approver(fact.by)}; the next step is due "
        f"{_work_due(fact)}"
    )


def _content_approved(fact: order_events.ContentApproved) -> str:
    return (
        f"content {fact.version} approved {_approver(fact.by)}; to be published until "
        f"{_work_due(fact)}"
    )


def _rejected(fact: order_events.ScriptRejected | order_events.ContentRejected) -> str:
    kind = "script" if isinstance(fact, order_events.ScriptRejected) else "content"
    return (
        f"{kind} {fact.version} sent back by {fact.by}{quoted_note(fact.comment)}; "
        f"{fact.rejections_left} more may be sent back; another is due {_work_due(fact)}"
    )


def _published(fact: order_events.WorkPublished) -> str:
    return (
        f"published by {fact.by} at {fact.url} (it says: {format_instant(fact.published_at)}); "
        f"without a word by {_work_due(fact)} it is accepted"
    )


def _delivered(fact: order_events.DeliveryAccepted) -> str:
    return f"delivery accepted {_approver(fact.by)}; to be settled after {_work_due(fact)}"


def _arbitrated(fact: order_events.OrderInArbitration) -> str:
    cost = (
        "nothing"
        if not fact.cost_fen
        else f"{fen_text(fact.cost_fen)} ({percent_text(fact.cost_bps)})"
    )
    leaving = (
        "the work is out, so nobody leaves until it is decided"
        if fact.came_from in STATES_AFTER_PUBLICATION
        else f"until it is decided, leaving costs the client {cost}"
    )
    return (
        f"put before an operator by {actor_text(fact.by)} ({fact.reason})"
        f"{quoted_note(fact.note)}, out of {fact.came_from}; {leaving}"
    )


def _resolved(fact: order_events.DisputeResolved) -> str:
    resolution = {
        "approve": "it counts as approved",
        "cancel": f"it ends, {percent_text(fact.creator_bps or 0)} of the amount to the "
        "creator's side",
        "extend": f"back to {fact.came_from} until {_optional_instant(fact.until)}",
    }[fact.outcome]
    return f"the dispute is resolved by {fact.by}{quoted_note(fact.note)}: {resolution}"


def _rated(fact: order_events.OrderRated) -> str:
    return f"rated {fact.rating} of 5 by {fact.by}{quoted_note(fact.comment)}"


def _appointed(fact: order_events.ProviderAppointed) -> str:
    if fact.provider_id is None:
        return f"the {fact.side}'s side no longer has a service provider"
    return f"provider {fact.provider_id} may act for the {fact.side}'s side"


def _stopped(fact: order_events.ClockStopped) -> str:
    stopper = "a ban of the creator" if fact.stopper == "ban" else "an operator"
    until = "" if fact.until is None else f", for no longer than {format_instant(fact.until)}"
    return f"the clock is stopped by {stopper}, with {format_duration(fact.left)} left{until}"


def _resumed(fact: order_events.ClockResumed) -> str:
    stopper = "the ban" if fact.stopper == "ban" else "the operator"
    if fact.due_at is None:
        return f"{stopper} no longer stops the clock, but it is stopped still"
    return f"{stopper} no longer stops the clock: what was due is due {format_instant(fact.due_at)}"


def _extended(fact: order_events.DeadlineExtended) -> str:
    before = "" if fact.old_due_at is None else f", not {format_instant(fact.old_due_at)}"
    return f"the deadline is {format_instant(fact.due_at)}{before}"


def _schedule_proposed(fact: order_events.ScheduleProposed) -> str:
    return (
        f"{fact.by} proposes to publish at {format_instant(fact.expected_publish_at)}; the other "
        f"side may agree until {format_instant(fact.open_until)}"
    )


def _rescheduled(fact: order_events.OrderRescheduled) -> str:
    before = "" if fact.before is None else f", not {format_instant(fact.before)}"
    due = ""
    if fact.due_at is not None and fact.due_at != fact.old_due_at:
        due = f"; the deadline is {format_instant(fact.due_at)}{day_count_text(fact.counted)}"
    elif fact.left is not None:
        due = f"; {format_duration(fact.left)} are left when the clock runs on"
    agreement = f"set by {fact.by}" if fact.note is not None else f"agreed to by {fact.by}"
    return (
        f"another day is {agreement}{quoted_note(fact.note)}: to be published at "
        f"{format_instant(fact.after)}{before}{due}"
    )


WORK_TEXTS: dict[type[Fact], Callable[[Any], str]] = {
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
    order_events.ScheduleProposed: _schedule_proposed,
    order_events.OrderRescheduled: _rescheduled,
}
"""How each event of the work is said."""

EVENT_TEXTS: dict[type[Fact], Callable[[Any], str]] = {
    order_events.OrderPlaced: _placed,
    order_events.OrderDepositOverdue: _deposit_overdue,
    order_events.OrderOffered: _offered,
    order_events.OrderAccepted: _accepted,
    order_events.OrderDeclined: _declined,
    order_events.OrderExpired: _expired,
    order_events.OrderCancelled: _cancelled,
    order_events.OrderBalanceOverdue: _overdue,
    order_events.OrderForfeited: _forfeited,
    order_events.OrderReinstated: _reinstated,
    order_events.OrderFunded: _funded,
    order_events.QuoteRevised: _quoted,
    order_events.QuoteRestored: _quoted,
    order_events.OrderCompleted: _completed,
    order_events.ForfeitReleased: _forfeit_released,
    payment_events.PaymentApplied: _applied,
    payment_events.PaymentUnapplied: _unapplied,
    payment_events.RefundRequested: _refund,
    payment_events.RefundConfirmed: _refunded,
    payment_events.RefundVoided: _refund_voided,
    payment_events.PayoutRequested: _payout,
    payment_events.PayoutConfirmed: _paid_out,
    payment_events.RefundFailed: _refund_failed,
    payment_events.PayoutFailed: _payout_failed,
    payment_events.PayoutHeld: _payout_held,
    payment_events.PayoutReleased: _payout_released,
    payment_events.PayoutReversed: _payout_reversed,
    notifications.CreatorReminded: _reminded,
    notifications.ClientReminded: _reminded,
    notifications.OperatorAlerted: _alerted,
    OperatorActed: _acted,
    **WORK_TEXTS,
}
"""How each event of an order is said."""


def _work_due(fact: Any) -> str:  # noqa: ANN401 - any fact of the work that arms a deadline
    return format_instant(fact.due_at) + day_count_text(fact.counted)


def _approver(name: str) -> str:
    return "by silence: the client had said nothing" if name == "silence" else f"by {name}"


def _optional_instant(at: datetime | None) -> str:
    return "" if at is None else format_instant(at)


def party_event_text(fact: Fact) -> str:
    """Say what happened to a creator, without saying when."""
    return PARTY_TEXTS[type(fact)](fact)


def _registered(fact: party_events.CreatorRegistered) -> str:
    contract = "directly" if fact.mcn_id is None else f"with agency {fact.mcn_id}"
    return f"creator {fact.creator_id} is signed {contract}"


def _contract_ended(fact: party_events.ContractEnded) -> str:
    return (
        f"the contract of creator {fact.creator_id} is ended by {fact.by}{quoted_note(fact.note)}"
    )


def _reported(fact: party_events.ViolationReported) -> str:
    return (
        f"violation {fact.violation_id} is reported, number {fact.step} that counts: "
        f"{fact.url}, seen {format_instant(fact.seen_at)}{quoted_note(fact.evidence)}"
    )


def _banned(fact: party_events.CreatorBanned) -> str:
    duration = _until(fact.until)
    return (
        f"creator {fact.creator_id} is banned from {format_instant(fact.since)} {duration}, "
        f"for violation {fact.violation_id}, number {fact.step}"
    )


def _until(until: datetime | None) -> str:
    return "for good" if until is None else f"until {format_instant(until)}"


def _lifted(fact: party_events.CreatorBanLifted) -> str:
    next_ban = ", and the next one begins" if fact.still_banned else ""
    return (
        f"the ban of creator {fact.creator_id} for violation {fact.violation_id} is over{next_ban}"
    )


def _overturned(fact: party_events.ViolationOverturned) -> str:
    remaining_bans = f"{len(fact.bans)} bans stand" if fact.bans else "no ban stands"
    return (
        f"violation {fact.violation_id} is void, by {fact.by}{quoted_note(fact.note)}: "
        f"{remaining_bans}"
    )


PARTY_TEXTS: dict[type[Fact], Callable[[Any], str]] = {
    party_events.CreatorRegistered: _registered,
    party_events.ContractEnded: _contract_ended,
    party_events.ViolationReported: _reported,
    party_events.CreatorBanned: _banned,
    party_events.CreatorBanLifted: _lifted,
    party_events.ViolationOverturned: _overturned,
}
"""How each event of a creator's standing is said."""


def fen_text(amount_fen: int) -> str:
    """Write an amount."""
    return f"{amount_fen:,} fen"


def percent_text(bps: int) -> str:
    """Write basis points as per cent."""
    return f"{bps / 100:g} %"


def actor_text(party: str) -> str:
    """Name who did something, where that is nobody who asked."""
    return {"clock": "time alone", "platform": "the platform"}.get(party, party)


def quoted_note(note: str | None) -> str:
    """Quote what somebody said, if anything, behind what was done."""
    return f", saying “{note}”" if note else ""


def day_count_text(counting: CountingMethod) -> str:
    """Say how a deadline was counted, where that is not by the elapsing of time."""
    return {
        "elapsed": "",
        "civil_cn": " (24:00 in Shanghai of a working day)",
        "unknown_year": " (in elapsed time: the calendar does not know the year)",
    }[counting]
