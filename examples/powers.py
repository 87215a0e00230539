"""Powers: what operators decide, move and undo, always with a reason."""

from __future__ import annotations

from typing import Any

from examples import talk
from examples.plot import Options, Plot, Verb
from examples.stage import Sender, shanghai_text

OPERATOR: Sender = ("operator", "operator-7")
TOOL: Sender = ("operator", "bulk-tool")
"""Whose name stands under what an operator asks of many orders at once."""

SHARES = ("platform", "creator", "client")
"""To whom a forfeited deposit can go."""


def resolve(plot: Plot, at: float, options: Options) -> None:
    """Decide a dispute: `as=approve`, `as=cancel` with `bps`, `as=extend` by `until` seconds."""
    outcome = options["as"]
    fields: dict[str, object] = {"outcome": outcome, "reason": plot.pick(talk.RESOLVED[outcome])}
    if outcome == "cancel":
        fields["creator_bps"] = int(options["bps"])
    if outcome == "extend":
        fields["until"] = shanghai_text(at + float(options["until"]))
    plot.ask(at, "resolve_dispute", OPERATOR, **fields)


def extend(plot: Plot, at: float, options: Options) -> None:
    """Give `until` seconds more than there were, alone or as one of many."""
    is_bulk = options.get("by") == "tool"
    until = shanghai_text(plot.moment("lapse") + float(options["until"]))
    reason = talk.OUTAGE if is_bulk else plot.pick(talk.EXTENDED)
    plot.ask(at, "extend_deadline", TOOL if is_bulk else OPERATOR, until=until, reason=reason)


def pause(plot: Plot, at: float, _: Options) -> None:
    plot.ask(at, "pause_clock", OPERATOR, reason=plot.pick(talk.PAUSED))


def resume(plot: Plot, at: float, _: Options) -> None:
    plot.ask(at, "resume_clock", OPERATOR, reason=plot.pick(talk.RESUMED))


def move(plot: Plot, at: float, options: Options) -> None:
    """Set the publication for `to` seconds from now."""
    publish_at, reason = shanghai_text(at + float(options["to"])), plot.pick(talk.MOVED)
    plot.ask(at, "reschedule_order", OPERATOR, expected_publish_at=publish_at, reason=reason)


def reinstate(plot: Plot, at: float, options: Options) -> None:
    """Undo a forfeiture; the balance may be paid for `until` seconds."""
    until = shanghai_text(at + float(options["until"]))
    plot.ask(at, "reinstate_order", OPERATOR, until=until, reason=plot.pick(talk.REINSTATED))


def release(plot: Plot, at: float, options: Options) -> None:
    """Share out a forfeited deposit, in percent; the last one named gets what is left."""
    order = plot.order(at)
    left_fen = sum(holding.amount_fen for holding in order.forfeited) or order.deposit_fen
    recipients = [recipient for recipient in SHARES if recipient in options]
    parts = []
    for recipient in recipients:
        share_fen = (
            order.deposit_fen * int(options[recipient]) // 100
            if recipient != recipients[-1]
            else left_fen
        )
        parts.append({"to": recipient, "amount_fen": share_fen + int(options.get("plus", 0))})
        left_fen -= share_fen
    plot.ask(at, "release_forfeit", OPERATOR, parts=parts, reason=plot.pick(talk.RELEASED))


def act(plot: Plot, at: float, options: Options) -> None:
    """Stand in for a side, which cannot act itself, by some kind of command."""
    kind = options["kind"]
    fields: dict[str, Any] = {"kind": kind, "order_id": plot.order_id}
    if kind.startswith("submit_"):
        fields["links"] = [f"https://pan.example/{plot.order_id}/by-mail.zip"]
    if kind == "appoint_provider":
        fields["provider_id"] = None
    if kind == "publish_work":
        url = f"https://www.douyin.example/video/{plot.order_id}"
        fields |= {"url": url, "published_at": shanghai_text(at - 0.2)}
    by = plot.for_client({}) if options.get("by") == "client" else OPERATOR
    side = options.get("side")
    plot.say(at, "operator_act", by, command=fields, side=side, reason=plot.pick(talk.ACTED))


def give(plot: Plot, at: float, _: Options) -> None:
    """Give the order the money that came for a number that nobody knows."""
    plot.rehearsal.wait(at)
    stray = next(
        item
        for item in plot.rehearsal.simulation.state.suspended.values()
        if item.resolved_at is None
    )
    plot.say(
        at,
        "resolve_suspense",
        OPERATOR,
        payment_id=stray.payment_id,
        order_id=stray.order_id,
        to="order",
        target_order_id=plot.order_id,
        reason=plot.pick(talk.GIVEN),
    )


def void(plot: Plot, at: float, _: Options) -> None:
    """Void the order's last payment, whose notice was wrong."""
    plot.rehearsal.wait(at)
    payment_id = list(plot.rehearsal.simulation.state.payments)[-1]
    plot.say(at, "void_payment", OPERATOR, payment_id=payment_id, reason=plot.pick(talk.VOIDED))


VERBS: dict[str, Verb] = {
    "give": give,
    "void": void,
    "resolve": resolve,
    "extend": extend,
    "pause": pause,
    "resume": resume,
    "move": move,
    "reinstate": reinstate,
    "release": release,
    "act": act,
}
