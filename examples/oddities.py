"""Oddities: commands about nothing that exists, from nobody who may, or that are none at all."""

from __future__ import annotations

from examples.powers import OPERATOR
from examples.stage import CONSOLE, GATEWAY, Body, Stage, shanghai_text

CLIENT = ("client", "client-01")
TERMS: Body = {
    "creator_id": "creator-01",
    "name": "青梧岭茶事·春季上新",
    "task_type": "douyin_video",
    "industry": "食品饮料",
    "brief": "拍一条60秒以内的竖屏短视频。",
    "amount_fen": 1_200_000,
    "prepay_deposit": True,
}


def tell(stage: Stage) -> None:
    """Write them all, spread over the campaign."""
    for write in (_unknown, _not_allowed, _strays, _malformed, _malformed_work):
        write(stage)


ANY_PERIOD, UNKNOWN_PERIOD = (4.0, 32.0), (3.0, 5.5)
RESOLVE_PERIOD, REFUND_PERIOD = (8.0, 12.0), (14.0, 20.0)
"""When oddities are sent, and when operators have looked at the stray money among them.

A command for an order that nobody knows waits a moment for it, and the clock waits with it: so
those come before the first reminder, which would otherwise be late.
"""

UNRESOLVED_ORDER = "ord-7001"
"""The order that never turns up, and whose money stays where it is."""


def _at(stage: Stage, period: tuple[float, float] = ANY_PERIOD) -> float:
    return stage.between(*period)


def _unknown(stage: Stage) -> None:
    """Write commands about what nobody knows."""
    for kind in ("cancel_order", "nudge_creator"):
        stage.say(_at(stage, UNKNOWN_PERIOD), kind, CLIENT, order_id="ord-8888")
    stage.say(
        _at(stage, UNKNOWN_PERIOD), "accept_order", ("creator", "creator-07"), order_id="ord-8889"
    )
    unknown_creator = TERMS | {"creator_id": "creator-98"}
    stage.say(_at(stage), "place_order", CLIENT, order_id="ord-8890", **unknown_creator)
    stage.say(_at(stage), "place_order", ("client", "client-77"), order_id="ord-8892", **TERMS)
    unknown_agency = {
        "creator_id": "creator-99",
        "name": "夜航船长",
        "contract": "mcn",
        "mcn_id": "mcn-77",
    }
    stage.say(_at(stage), "register_creator", CONSOLE, **unknown_agency)
    stage.say(_at(stage), "end_contract", CONSOLE, creator_id="creator-98")
    stage.say(_at(stage), "confirm_refund", GATEWAY, refund_id="rf_pay-7777_ord-7777")
    stage.say(_at(stage), "confirm_payout", GATEWAY, payout_id="po_ord-7777_creator")
    reason = "渠道误报，作废。"
    stage.say(_at(stage), "void_payment", OPERATOR, payment_id="pay-7777", reason=reason)


def _not_allowed(stage: Stage) -> None:
    """Write commands that somebody else may give."""
    stage.say(_at(stage), "place_order", CONSOLE, order_id="ord-8891", **TERMS)
    stage.say(_at(stage), "register_mcn", CLIENT, mcn_id="mcn-78", name="自荐文化")
    stage.say(_at(stage), "register_client", CLIENT, client_id="client-78", name="自荐茶铺")
    stage.say(_at(stage), "register_provider", CLIENT, provider_id="provider-78", name="自荐审校")
    stage.say(_at(stage), "end_contract", ("creator", "creator-08"), creator_id="creator-07")
    stage.say(_at(stage), "confirm_payout", CLIENT, payout_id="po_ord-0001_creator")


def _strays(stage: Stage) -> None:
    """Write money for orders that nobody knows, and what an operator makes of some of it."""
    for order_id in ("ord-7001", "ord-7002", "ord-7003"):
        at = _at(stage, UNKNOWN_PERIOD)
        body = stage.pay(at, at - 0.3, {order_id: 105_000})
        if order_id != UNRESOLVED_ORDER:
            _resolve(stage, _at(stage, RESOLVE_PERIOD), (body["payment_id"], order_id))
            last = f"rf_{body['payment_id']}_{order_id}"
    _resolve(stage, _at(stage), ("pay-7777", "ord-7777"))
    stage.say(_at(stage, REFUND_PERIOD), "confirm_refund", GATEWAY, refund_id=last)
    at = _at(stage)
    stage.pay(at, at - 0.3, {}, plus=66_600)


def _resolve(stage: Stage, at: float, share: tuple[str, str]) -> None:
    """Send a stray share back, since a client has proved the payment."""
    share_fields = dict(zip(("payment_id", "order_id"), share, strict=True))
    reason = "客户提供了付款回单，订单号填错，原路退回。"
    stage.say(at, "resolve_suspense", OPERATOR, **share_fields, to="refund", reason=reason)


def _malformed(stage: Stage) -> None:
    """Write what looks like commands and is not."""
    amounts: tuple[object, ...] = ("100", 100.0, True, -1, 0, 2**53)
    for amount in amounts:
        _place(stage, amount_fen=amount)
    _place(stage, brief="")
    _place(stage, brief="一段含有\0的要求")
    _place(stage, brief="半个表情\ud83d")
    _place(stage, prepay_deposit="yes")
    _place(stage, expected_publish_at=shanghai_text(-86_400))
    _place(stage, discount_bps=500)
    stage.say(_at(stage), "enforce_deadline", CONSOLE, order_id="ord-8887")
    stage.say(_at(stage), "cancel_order", ("clock", "scheduler"), order_id="ord-8887")
    stage.say(_at(stage), "confirm_refund", GATEWAY, refund_id="不是编号")


def _malformed_work(stage: Stage) -> None:
    """Write what looks like work and decisions, and is not."""
    order: Body = {"order_id": "ord-8886"}
    creator = ("creator", "creator-03")
    _place(stage, task_type="douyin_live", needs_script=False)
    stage.say(_at(stage), "submit_script", creator, **order, links=["http://pan.example/a.docx"])
    stage.say(_at(stage), "submit_content", creator, **order, links=[])
    stage.say(_at(stage), "reject_content", CLIENT, **order, comment="")
    stage.say(
        _at(stage), "publish_work", creator, **order, url="https://a.example", published_at="昨天"
    )
    stage.say(_at(stage), "rate_order", CLIENT, **order, rating=6)
    odd: tuple[Body, ...] = ({"outcome": "cancel"}, {"outcome": "approve", "creator_bps": 100})
    for decision in odd:
        stage.say(_at(stage), "resolve_dispute", OPERATOR, **order, **decision, reason="协商一致")
    stage.say(_at(stage), "release_forfeit", OPERATOR, **order, parts=[], reason="协商一致")
    nested = {"kind": "operator_act", "command": {"kind": "rate_order", **order, "rating": 5}}
    stage.say(_at(stage), "operator_act", OPERATOR, command=nested, reason="协商一致")


def _place(stage: Stage, **wrong: object) -> None:
    order_id = f"ord-{9000 + len(stage.commands) % 1000}"
    stage.say(_at(stage), "place_order", CLIENT, order_id=order_id, **(TERMS | wrong))
