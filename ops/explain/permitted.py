"""Permitted: what each party may ask about an order now, within what limits, and at what cost.

The rows are those of the lifecycle table; what each comes to is what `decide` itself answers to a
sample command, of which nothing is kept. So what is shown here cannot differ from what would
happen.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from models import calendar
from models.commands import COMMAND_ADAPTER
from models.commands.operators import ON_BEHALF_KINDS
from models.commands.payments import ConfirmPayment
from models.creators import Creator
from models.events.event import Fact
from models.events.orders import OrderCancelled, OrderCompleted, OrderForfeited
from models.events.payments import PayoutRequested, RefundRequested
from models.fields import MICROSECOND, format_instant
from models.lifecycle import (
    REVIEW_COMMANDS,
    STATES_BEFORE_PUBLICATION,
    SYSTEM_REQUESTS,
    TRANSITIONS,
    EndReason,
    Role,
    State,
)
from models.orders import endings
from models.orders import payments as order_payments
from models.orders.decide import decide
from models.orders.decision import Decision
from models.orders.offers import quote_range
from models.orders.order import Order
from models.orders.schedules import MAX_PUBLICATION_LEAD
from models.reasons import RejectionReason, UnappliedReason
from ops.json_schema import JsonObject

Explanation = dict[str, Any]
CommandLimits = dict[str, Any]

ANY_PARTY = "-"
"""In a sample command, the id of an operator or of the payment side: the rules do not care."""

OBVIOUS_REASONS = frozenset(
    {
        RejectionReason.WRONG_STATE,
        RejectionReason.CLOCK_RUNNING,
        RejectionReason.NOTHING_TO_RESTORE,
        RejectionReason.NOTHING_PROPOSED,
        # Of what the table lists for a side, only its own proposal.
        RejectionReason.NOT_ALLOWED,
    }
)
"""Refusals of what nobody would ask: no work, pause, revision or proposal is there for it."""

LIMITS_OF_REFUSALS = ("left", "not_before", "not_after")
"""Terms that say why something is refused, or from when it is not."""


def permitted_actions(order: Order, creator: Creator, at: datetime) -> list[Explanation]:
    """List what may be asked about an order on which time has been enforced until `at`.

    What would be refused for a reason worth knowing is listed with that reason.
    """
    rows: list[Explanation] = []
    for transition in TRANSITIONS:
        if transition.source is not order.state or transition.command in SYSTEM_REQUESTS:
            continue
        for role in (role for role in Role if role in transition.roles):
            party_id = party_in_role(order, creator, role, transition.command)
            row = _try_row(order, creator, at, transition.command, (role, party_id or ANY_PARTY))
            if row is not None and (party_id is not None or role in UNNAMED_ROLES):
                _add_row(rows, row, {"role": role.value, "id": party_id})
    rows += _on_behalf_row(order, rows)
    return sorted(rows, key=lambda row: list(Role).index(Role(row["who"][0]["role"])))


UNNAMED_ROLES = (Role.OPERATOR, Role.PAYMENTS, Role.PLATFORM)


def party_in_role(order: Order, creator: Creator, role: Role, command: str) -> str | None:
    """Name the one who may speak in a role, or return None where there is nobody, or anybody."""
    provider_id = order.client_provider if command in REVIEW_COMMANDS else order.creator_provider
    return {
        Role.CLIENT: order.client_id,
        Role.CREATOR: order.creator_id,
        Role.MCN: creator.agency,
        Role.PROVIDER: provider_id,
    }.get(role)


def _try_row(
    order: Order, creator: Creator, at: datetime, kind: str, requester: tuple[Role, str]
) -> Explanation | None:
    if kind == "confirm_payment":
        return _payment_row(order, at)
    decision = try_command(order, creator, at, kind, requester)
    arguments: Explanation = {}
    if decision.reason is RejectionReason.COST_MISMATCH:
        arguments = {"accept_cost_fen": (decision.limits or {}).get("cost_fen")}
    elif decision.reason is RejectionReason.WOULD_FORFEIT:
        arguments = {"accept_forfeit": True}
    if arguments:
        decision = try_command(order, creator, at, kind, requester, **arguments)
    if decision.reason in OBVIOUS_REASONS:
        return None
    return _action_row(order, kind, decision, arguments | command_limits(order, creator, at, kind))


def _action_row(order: Order, kind: str, decision: Decision, limits: Explanation) -> Explanation:
    if decision.reason is not None:
        lasting_limits = {
            name: value for name, value in limits.items() if name in LIMITS_OF_REFUSALS
        }
        return {"command": kind, "refused": decision.reason.value, "terms": lasting_limits}
    effects = decision_effect(decision, order)
    becomes = [effects.pop("becomes")]
    effects.pop("reason", None)
    if "outcomes" in limits:
        # Of what an operator may decide, the sample was only one.
        becomes, effects = sorted(set(limits["outcomes"].values())), {}
    if kind == "reinstate_order":
        del effects["due_at"]
    return {"command": kind, "becomes": becomes, "refused": None, "terms": limits | effects}


def _payment_row(order: Order, at: datetime) -> Explanation:
    decision = try_payment(order, at)
    if isinstance(decision, UnappliedReason):
        return {"command": "confirm_payment", "refused": decision.value, "terms": {}}
    limits: Explanation = {"amount_fen": usable_payment_fen(order)}
    if order.state is not State.OFFERED and not order.stoppers:
        limits["paid_until"] = format_instant(order.pay_by)
    if order.state is State.FORFEITED:
        noticed_by = order.entered_at + order.policy.late_notice_window
        limits["noticed_until"] = format_instant(noticed_by)
    return _action_row(order, "confirm_payment", decision, limits)


def _add_row(rows: list[Explanation], new_row: Explanation, party: Explanation) -> None:
    """Add a row, or another who may ask the same and with the same effect."""
    for row in rows:
        if all(row.get(key) == new_row.get(key) for key in ("command", "refused", "terms")):
            row["who"].append(party)
            return
    rows.append({"command": new_row["command"], "who": [party], "becomes": []} | new_row)


def _on_behalf_row(order: Order, rows: list[Explanation]) -> list[Explanation]:
    """Say for what an operator may stand in; not for what operators may ask themselves."""
    sides = {Role.CLIENT.value, Role.CREATOR.value}
    kinds = [
        row["command"]
        for row in rows
        if row["refused"] is None and any(party["role"] in sides for party in row["who"])
    ]
    acted_kinds = list(dict.fromkeys(kind for kind in kinds if kind in ON_BEHALF_KINDS))
    if order.is_final or not acted_kinds:
        return []
    parties = [{"role": Role.OPERATOR.value, "id": None}]
    return [
        {
            "command": "operator_act",
            "who": parties,
            "becomes": [],
            "refused": None,
            "terms": {"stands_in_for": acted_kinds},
        }
    ]


def command_limits(order: Order, creator: Creator, at: datetime, kind: str) -> CommandLimits:
    """Return the limits of a command, by the names of what it says or of what limits it."""
    limits_of = _LIMITS_BY_KIND.get(kind)
    return limits_of(order, creator, at) if limits_of else {}


def _accept_limits(order: Order, creator: Creator, at: datetime) -> CommandLimits:
    min_fen, max_fen = quote_range(order)
    requester = (Role.CREATOR, order.creator_id)
    decision = try_command(
        order, creator, at, "accept_order", requester, revised_amount_fen=min_fen
    )
    if decision.reason is not None or min_fen == max_fen:
        return {}
    return {"revised_amount_fen": [min_fen, max_fen]}


def _revise_limits(order: Order, _: Creator, __: datetime) -> CommandLimits:
    return {"amount_fen": list(quote_range(order)), "not_after": format_instant(order.accept_by)}


def _nudge_limits(order: Order, _: Creator, __: datetime) -> CommandLimits:
    nudges_left = order.policy.nudge_limit - order.nudges
    if order.nudged_at is None:
        return {"left": nudges_left}
    return {
        "left": nudges_left,
        "not_before": format_instant(order.nudged_at + order.policy.nudge_interval),
    }


def _reject_script_limits(order: Order, _: Creator, __: datetime) -> CommandLimits:
    return {"left": order.policy.script_rejections - order.scripts_rejected}


def _reject_content_limits(order: Order, _: Creator, __: datetime) -> CommandLimits:
    return {"left": order.policy.content_rejections - order.contents_rejected}


def _extend_limits(order: Order, _: Creator, at: datetime) -> CommandLimits:
    due_at = order.due_at or at
    latest_at = due_at + order.policy.longest_extension
    return {"until": [format_instant(max(at, due_at)), format_instant(latest_at)]}


def _reinstate_limits(order: Order, _: Creator, at: datetime) -> CommandLimits:
    return {"until": [format_instant(at), format_instant(at + order.policy.longest_extension)]}


def _schedule_limits(_: Order, __: Creator, at: datetime) -> CommandLimits:
    latest_text = format_instant(at + MAX_PUBLICATION_LEAD)
    return {"expected_publish_at": [format_instant(at), latest_text]}


def _agree_limits(order: Order, _: Creator, __: datetime) -> CommandLimits:
    if order.proposal is None:
        return {}
    return {
        "agreed_publish_at": format_instant(order.proposal.expected_publish_at),
        "not_after": format_instant(order.proposal.open_until),
    }


def _pause_limits(order: Order, _: Creator, at: datetime) -> CommandLimits:
    return {"no_longer_than": format_instant(at + order.policy.longest_pause)}


def _release_limits(order: Order, _: Creator, __: datetime) -> CommandLimits:
    if order.released:
        return {}
    limits = {"parts_fen": sum(holding.amount_fen for holding in order.forfeited)}
    if order.reason != EndReason.BALANCE_NOT_PAID:
        return limits
    # A payment that was made in time may still be noticed, and undoes the forfeiture.
    noticed_by = order.entered_at + order.policy.late_notice_window
    return limits | {"not_before": format_instant(noticed_by)}


def _resolve_limits(order: Order, creator: Creator, at: datetime) -> CommandLimits:
    requester = (Role.OPERATOR, ANY_PARTY)
    arguments_by_outcome: dict[str, CommandLimits] = {
        "approve": {"creator_bps": None},
        "cancel": {},
        "extend": {"creator_bps": None, "until": at + order.policy.longest_extension},
    }
    states: CommandLimits = {}
    for outcome, arguments in arguments_by_outcome.items():
        decision = try_command(
            order, creator, at, "resolve_dispute", requester, **({"outcome": outcome} | arguments)
        )
        if decision.reason is None:
            states[outcome] = decision.order.state.value
    latest_text = format_instant(at + order.policy.longest_extension)
    return {
        "outcomes": states,
        "creator_bps": [0, 10_000],
        "until": [format_instant(at), latest_text],
    }


def _cancel_limits(order: Order, _: Creator, at: datetime) -> CommandLimits:
    """Tell the tier of the price now, and those still ahead."""
    if order.state not in (State.IN_FULFILMENT, *STATES_BEFORE_PUBLICATION, State.IN_ARBITRATION):
        return {}
    bps = endings.cancellation_tier_at(order, at)
    tiers_ahead = {} if order.state is State.IN_ARBITRATION else _price_tiers(order)
    rises = {condition: tier_bps for condition, tier_bps in tiers_ahead.items() if tier_bps > bps}
    return {"cost_bps": bps} | ({"rises": rises} if rises else {})


def _price_tiers(order: Order) -> dict[str, int]:
    """Name every tier of an order's kind, in basis points, by what it takes to reach it."""
    policy = order.policy
    tiers = {"once a script is handed in": policy.script_cost_bps} if order.needs_script else {}
    if order.is_live:
        tiers["once the script is approved"] = policy.live_approved_cost_bps
        if order.expected_publish_at is not None:
            day = calendar.start_of_day(calendar.day_of(order.expected_publish_at))
            condition = f"with an approved script from {format_instant(day)}"
            tiers[condition] = policy.live_day_cost_bps
        return tiers
    rejected_condition = f"once the content is sent back {policy.rejected_cost_from} times"
    return tiers | {
        "once the content is handed in": policy.content_cost_bps,
        rejected_condition: policy.rejected_cost_bps,
    }


_LIMITS_BY_KIND: dict[str, Callable[[Order, Creator, datetime], CommandLimits]] = {
    "accept_order": _accept_limits,
    "cancel_order": _cancel_limits,
    "revise_quote": _revise_limits,
    "nudge_creator": _nudge_limits,
    "reject_script": _reject_script_limits,
    "reject_content": _reject_content_limits,
    "extend_deadline": _extend_limits,
    "propose_schedule": _schedule_limits,
    "agree_schedule": _agree_limits,
    "reschedule_order": _schedule_limits,
    "reinstate_order": _reinstate_limits,
    "pause_clock": _pause_limits,
    "release_forfeit": _release_limits,
    "resolve_dispute": _resolve_limits,
}


SAMPLE_LINK = "https://example.com/"
SAMPLE_ID = "only-a-trial"


def try_command(
    order: Order,
    creator: Creator,
    at: datetime,
    kind: str,
    requester: tuple[Role, str],
    **arguments: object,
) -> Decision:
    """Decide a sample command as if it were received at `at`; `arguments` are fields of its own."""
    sample = SAMPLES.get(kind)
    body: JsonObject = {
        "id": SAMPLE_ID,
        "kind": kind,
        "by": {"role": requester[0].value, "id": requester[1]},
    }
    body |= {"order_id": order.order_id} | (sample(order, at) if sample else {}) | arguments
    command: Any = COMMAND_ADAPTER.validate_python(body)
    return decide(order, command, at, creator)


def _sample_extension(order: Order, at: datetime) -> JsonObject:
    return {"until": max(at, order.due_at or at) + MICROSECOND, "reason": "-"}


def _sample_release(order: Order, _: datetime) -> JsonObject:
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    return {"parts": [{"to": "platform", "amount_fen": forfeited_fen or 1}], "reason": "-"}


def _sample_agreement(order: Order, at: datetime) -> JsonObject:
    publish_at = order.proposal.expected_publish_at if order.proposal else at
    return {"expected_publish_at": publish_at}


SAMPLES: dict[str, Callable[[Order, datetime], JsonObject]] = {
    "revise_quote": lambda order, _: {"amount_fen": quote_range(order)[0]},
    **dict.fromkeys(("submit_script", "submit_content"), lambda *_: {"links": [SAMPLE_LINK]}),
    **dict.fromkeys(("reject_script", "reject_content"), lambda *_: {"comment": "-"}),
    "publish_work": lambda _, at: {"url": SAMPLE_LINK, "published_at": at},
    "rate_order": lambda *_: {"rating": 5},
    "propose_schedule": lambda _, at: {"expected_publish_at": at},
    "agree_schedule": _sample_agreement,
    "reschedule_order": lambda _, at: {"expected_publish_at": at, "reason": "-"},
    "appoint_provider": lambda *_: {"provider_id": None},
    **dict.fromkeys(("dispute_order", "pause_clock", "resume_clock"), lambda *_: {"reason": "-"}),
    **dict.fromkeys(("extend_deadline", "reinstate_order"), _sample_extension),
    "release_forfeit": _sample_release,
    "resolve_dispute": lambda *_: {"outcome": "cancel", "creator_bps": 0, "reason": "-"},
}
"""What a command of some kind needs besides the order it is about."""


def try_payment(order: Order, at: datetime) -> Decision | UnappliedReason:
    """Record the payment that the order would take, or say why it would take none."""
    amount_fen = usable_payment_fen(order)
    paid_at = at if order.stoppers else min(at, order.pay_by)
    reason = order_payments.find_unapplied_reason(order, amount_fen, paid_at, at)
    if reason is not None:
        return reason
    share = {"order_id": order.order_id, "amount_fen": amount_fen}
    body = {"id": SAMPLE_ID, "kind": "confirm_payment", "by": {"role": "payments", "id": "-"}}
    details = {
        "payment_id": SAMPLE_ID,
        "paid_at": paid_at,
        "amount_fen": amount_fen,
        "shares": [share],
    }
    command = ConfirmPayment.model_validate(body | details)
    facts = order_payments.apply_or_refund_share(order, command, command.shares[0], at)
    return Decision(order).then(facts, at, f"command:{SAMPLE_ID}")


def usable_payment_fen(order: Order) -> int:
    """Return what a payment must be to be of use: what is due, or would have been."""
    forfeited_fen = sum(holding.amount_fen for holding in order.forfeited)
    return order.balance_due_fen or (order.total_fen - forfeited_fen if forfeited_fen else 0)


def decision_effect(decision: Decision, before: Order) -> JsonObject:
    """Say what becomes of an order, and of whose money."""
    after = decision.order
    effects: JsonObject = {"becomes": after.state.value, "reason": after.reason}
    for event in decision.events:
        for name, amount_fen in _amounts(event.fact):
            effects[name] = effects.get(name, 0) + amount_fen
    is_waiting = after.state not in (before.state, State.IN_ARBITRATION)
    if is_waiting and after.due_at is not None:
        effects["due_at"] = format_instant(after.due_at)
    return {name: value for name, value in effects.items() if value}


def _amounts(fact: Fact) -> tuple[tuple[str, int], ...]:
    match fact:
        case RefundRequested():
            return (("back_fen", fact.amount_fen),)
        case PayoutRequested():
            return (("creators_side_fen", fact.amount_fen),)
        case OrderCancelled():
            return (("cost_fen", fact.cost_fen), ("fee_fen", fact.fee_part_fen))
        case OrderCompleted():
            return (("fee_fen", fact.fee_fen),)
        case OrderForfeited():
            return (("forfeited_fen", fact.amount_fen),)
        case _:
            return ()
