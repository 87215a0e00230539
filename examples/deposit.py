"""Deposit: commands about an order until everything is paid, and ways to walk away."""

from __future__ import annotations

from examples.plot import Options, Plot, Verb
from examples.stage import GATEWAY, instant, shanghai_text
from examples.talk import DECLINED, WITHDREW
from models import money
from models.orders.endings import cancellation_cost_at, cancellation_tier_at

EIGHT_HOURS_S = 8 * 3_600


def place(plot: Plot, at: float, options: Options) -> None:
    """Place the order; `today` plans the publication for a few seconds later."""
    dated = (
        {"expected_publish_at": shanghai_text(at + float(options["today"]))}
        if "today" in options
        else {}
    )
    plot.ask(at, "place_order", plot.for_client({}), **plot.terms | dated)


def due(plot: Plot, at: float) -> int:
    """Return what the order waits for at some second, or would if it still did."""
    order = plot.order(at)
    if order.offered_at is None:
        return order.first_payment_fen
    paid_fen = (
        sum(holding.amount_fen for holding in (*order.held, *order.forfeited)) or order.deposit_fen
    )
    return order.total_fen - paid_fen or order.total_fen


def pay(plot: Plot, at: float, options: Options) -> None:
    """Pay what is due, or with `old` what was due under the first quote.

    The notice may be wrong: `yuan` are told as fen, `zone` takes the local time for that of
    Greenwich, `typo` names an order that nobody knows, and `from` another client. With `right` it
    is the last one, put right. `for` says what it is meant for.
    """
    amount_fen = due(plot, at)
    if "old" in options:
        order = plot.order(at)
        total_fen = money.total(order.original_amount_fen, order.policy.service_fee_bps)
        amount_fen = total_fen - order.held_fen
    paid_at = at - plot.stage.between(0, 0.4)
    if "paid" in options:
        name, _, delay_s = options["paid"].partition("+")
        paid_at = plot.moment(name) + float(delay_s)
    previous = plot.body or {}
    body = plot.stage.pay(
        at,
        at + EIGHT_HOURS_S if "zone" in options else paid_at,
        {plot.order_id + ("x" if "typo" in options else ""): amount_fen},
    )
    if "yuan" in options:
        body["amount_fen"] = body["shares"][0]["amount_fen"] = max(1, amount_fen // 100)
    if "from" in options:
        body["client_id"] = f"client-{options['from']}"
    if "for" in options:
        body["shares"][0]["due"] = options["for"]
    if "right" in options:
        body["payment_id"] = previous["payment_id"]
    plot.rehearse(at, body)


def accept(plot: Plot, at: float, options: Options) -> None:
    plot.ask(
        at, "accept_order", plot.for_creator(options), revised_amount_fen=_quote(plot, options)
    )


def revise(plot: Plot, at: float, options: Options) -> None:
    plot.ask(at, "revise_quote", plot.for_creator(options), amount_fen=_quote(plot, options))


def _quote(plot: Plot, options: Options) -> int | None:
    """Work out a new quote in percent of the first, rounded towards it."""
    percent, amount_fen = int(options.get("quote", 0)), int(plot.terms["amount_fen"])
    return amount_fen - int(amount_fen * (100 - percent) / 100) if percent else None


def restore(plot: Plot, at: float, _: Options) -> None:
    plot.ask(at, "restore_quote", plot.for_client({}))


def decline(plot: Plot, at: float, options: Options) -> None:
    reason = plot.pick(DECLINED)
    plot.ask(at, "decline_order", plot.for_creator(options), reason=reason)


def withdraw(plot: Plot, at: float, options: Options) -> None:
    reason = plot.pick(WITHDREW)
    plot.ask(at, "withdraw_order", plot.for_creator(options), reason=reason)


def cancel(plot: Plot, at: float, options: Options) -> None:
    """Cancel; with `forfeit` at the price of the deposit, with `cost` at that of the work."""
    by = ("operator", "operator-7") if options.get("by") == "operator" else plot.for_client({})
    order = plot.order(at)
    cost_fen = (
        cancellation_cost_at(order, cancellation_tier_at(order, instant(at))).cost_fen
        if "cost" in options
        else None
    )
    accept_forfeit = "forfeit" in options or None
    plot.ask(at, "cancel_order", by, accept_forfeit=accept_forfeit, accept_cost_fen=cost_fen)


def nudge(plot: Plot, at: float, _: Options) -> None:
    plot.ask(at, "nudge_creator", plot.for_client({}))


def unpaid(plot: Plot, at: float, _: Options) -> None:
    plot.ask(at, "confirm_unpaid", GATEWAY)


VERBS: dict[str, Verb] = {
    "place": place,
    "pay": pay,
    "accept": accept,
    "revise": revise,
    "restore": restore,
    "decline": decline,
    "withdraw": withdraw,
    "cancel": cancel,
    "nudge": nudge,
    "unpaid": unpaid,
}
