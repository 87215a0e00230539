"""Deposit: what can be said of an order until everything is paid, and how to walk away."""

from __future__ import annotations

from examples.plot import How, Plot, Verb
from examples.stage import GATEWAY, instant, told
from examples.talk import DECLINED, WITHDREW
from models import money
from models.settlement import price, tier


def place(plot: Plot, at: float, how: How) -> None:
    """Place the order; `today` plans the publication for a few seconds later."""
    dated = {"expected_publish_at": told(at + float(how["today"]))} if "today" in how else {}
    plot.ask(at, "place_order", plot.for_client({}), **plot.terms | dated)


def due(plot: Plot, at: float) -> int:
    """Return what the order waits for at some second, or would if it still did."""
    order = plot.order(at)
    if order.offered_at is None:
        return order.first_payment_fen
    kept = sum(one.amount_fen for one in (*order.held, *order.forfeited)) or order.deposit_fen
    return order.total_fen - kept or order.total_fen


def pay(plot: Plot, at: float, how: How) -> None:
    """Pay what is due, or with `old` what was due under the first quote."""
    fen = due(plot, at)
    if "old" in how:
        order = plot.order(at)
        total = money.total(order.original_amount_fen, order.policy.service_fee_bps)
        fen = total - order.held_fen
    paid = at - plot.stage.between(0, 0.4)
    if "paid" in how:
        name, _, after = how["paid"].partition("+")
        paid = plot.moment(name) + float(after)
    plot.heard(at, plot.stage.pay(at, paid, {plot.order_id: fen}))


def accept(plot: Plot, at: float, how: How) -> None:
    plot.ask(at, "accept_order", plot.for_creator(how), revised_amount_fen=_quote(plot, how))


def revise(plot: Plot, at: float, how: How) -> None:
    plot.ask(at, "revise_quote", plot.for_creator(how), amount_fen=_quote(plot, how))


def _quote(plot: Plot, how: How) -> int | None:
    """Work out a new quote in percent of the first, rounded towards it."""
    percent, amount = int(how.get("quote", 0)), int(plot.terms["amount_fen"])
    return amount - int(amount * (100 - percent) / 100) if percent else None


def restore(plot: Plot, at: float, _: How) -> None:
    plot.ask(at, "restore_quote", plot.for_client({}))


def decline(plot: Plot, at: float, how: How) -> None:
    reason = plot.pick(DECLINED)
    plot.ask(at, "decline_order", plot.for_creator(how), reason=reason)


def withdraw(plot: Plot, at: float, how: How) -> None:
    reason = plot.pick(WITHDREW)
    plot.ask(at, "withdraw_order", plot.for_creator(how), reason=reason)


def cancel(plot: Plot, at: float, how: How) -> None:
    """Cancel; with `forfeit` at the price of the deposit, with `cost` at that of the work."""
    by = ("operator", "operator-7") if how.get("by") == "operator" else plot.for_client({})
    order = plot.order(at)
    cost = price(order, tier(order, instant(at))).cost_fen if "cost" in how else None
    ready = "forfeit" in how or None
    plot.ask(at, "cancel_order", by, accept_forfeit=ready, accept_cost_fen=cost)


def nudge(plot: Plot, at: float, _: How) -> None:
    plot.ask(at, "nudge_creator", plot.for_client({}))


def unpaid(plot: Plot, at: float, _: How) -> None:
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
