"""Examples: an honest command of every kind, as the gateway's document shows them."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]

CLIENT = {"role": "client", "id": "cl_aurora"}
CREATOR = {"role": "creator", "id": "cr_lin"}
PROVIDER = {"role": "provider", "id": "sp_nova"}
PLATFORM = {"role": "platform", "id": "admin"}
PAYMENTS = {"role": "payments", "id": "psp"}
OPERATOR = {"role": "operator", "id": "op_wang"}
ORDER = {"order_id": "ord_20260302_0001"}
LINKS = {"links": ["https://pan.example.com/s/9f2c"]}

PARTIES: dict[str, Body] = {
    "register_mcn": {"by": PLATFORM, "mcn_id": "mcn_qingwu", "name": "青梧传媒"},
    "register_creator": {
        "by": PLATFORM,
        "creator_id": "cr_lin",
        "name": "林小鹿",
        "contract": "mcn",
        "mcn_id": "mcn_qingwu",
        "mcn_share_bps": 3_000,
    },
    "register_client": {"by": PLATFORM, "client_id": "cl_aurora", "name": "极光日化"},
    "register_provider": {"by": PLATFORM, "provider_id": "sp_nova", "name": "新星代运营"},
    "end_contract": {"by": CREATOR, "creator_id": "cr_lin", "reason": "合约到期"},
    "report_violation": {
        "by": PLATFORM,
        "violation_id": "vio_0007",
        "creator_id": "cr_lin",
        "url": "https://elsewhere.example.com/p/42",
        "seen_at": "2026-03-02T09:30:00+08:00",
        "evidence": "截图见附件 24-031",
    },
    "overturn_violation": {"by": OPERATOR, "violation_id": "vio_0007", "reason": "系转发 非广告"},
}

DEPOSIT_PHASE: dict[str, Body] = {
    "place_order": {
        "by": CLIENT,
        **ORDER,
        "creator_id": "cr_lin",
        "name": "春季新品推广",
        "task_type": "douyin_video",
        "industry": "美妆",
        "brief": "15 秒口播 突出防晒与轻薄",
        "amount_fen": 100_000,
        "prepay_deposit": True,
    },
    "confirm_payment": {
        "by": PAYMENTS,
        "payment_id": "pay_778899",
        "paid_at": "2026-03-02T10:00:00+08:00",
        "amount_fen": 10_500,
        "shares": [{**ORDER, "amount_fen": 10_500}],
    },
    "accept_order": {"by": CREATOR, **ORDER, "revised_amount_fen": 110_000},
    "decline_order": {"by": CREATOR, **ORDER, "reason": "档期已满"},
    "revise_quote": {"by": CREATOR, **ORDER, "amount_fen": 95_000},
    "restore_quote": {"by": CLIENT, **ORDER},
    "cancel_order": {"by": CLIENT, **ORDER, "accept_forfeit": False},
    "withdraw_order": {"by": CREATOR, **ORDER, "reason": "身体不适"},
    "nudge_creator": {"by": CLIENT, **ORDER},
    "confirm_unpaid": {"by": PAYMENTS, **ORDER},
    "confirm_refund": {"by": PAYMENTS, "refund_id": "rf_pay_778899_ord_20260302_0001"},
    "confirm_payout": {"by": PAYMENTS, "payout_id": "po_ord_20260302_0001_creator"},
}

WORK: dict[str, Body] = {
    "submit_script": {"by": CREATOR, **ORDER, **LINKS, "note": "第一稿"},
    "submit_content": {"by": CREATOR, **ORDER, **LINKS},
    "approve_script": {"by": CLIENT, **ORDER},
    "reject_script": {"by": CLIENT, **ORDER, "comment": "开头太长"},
    "approve_content": {"by": PROVIDER, **ORDER},
    "reject_content": {"by": PROVIDER, **ORDER, "comment": "画面偏暗"},
    "publish_work": {
        "by": CREATOR,
        **ORDER,
        "url": "https://www.douyin.com/video/7312345678901234567",
        "published_at": "2026-03-20T20:00:00+08:00",
    },
    "confirm_delivery": {"by": CLIENT, **ORDER},
    "dispute_order": {"by": CLIENT, **ORDER, "reason": "未露出产品"},
    "rate_order": {"by": CLIENT, **ORDER, "rating": 5, "comment": "沟通顺畅"},
    "appoint_provider": {"by": CLIENT, **ORDER, "provider_id": "sp_nova"},
}

POWERS: dict[str, Body] = {
    "resolve_dispute": {
        "by": OPERATOR,
        **ORDER,
        "outcome": "cancel",
        "creator_bps": 2_500,
        "reason": "双方同意",
    },
    "operator_act": {
        "by": OPERATOR,
        "command": {"kind": "approve_script", **ORDER},
        "reason": "客户来电确认",
    },
    "extend_deadline": {
        "by": OPERATOR,
        **ORDER,
        "until": "2026-03-12T18:00:00+08:00",
        "reason": "创作者住院",
    },
    "pause_clock": {"by": OPERATOR, **ORDER, "reason": "等待法务意见"},
    "resume_clock": {"by": OPERATOR, **ORDER, "reason": "法务已答复"},
    "reinstate_order": {
        "by": OPERATOR,
        **ORDER,
        "until": "2026-03-12T18:00:00+08:00",
        "reason": "银行故障",
    },
    "release_forfeit": {
        "by": OPERATOR,
        **ORDER,
        "parts": [
            {"to": "creator", "amount_fen": 8_000},
            {"to": "platform", "amount_fen": 2_500},
        ],
        "reason": "补偿档期",
    },
    "resolve_suspense": {
        "by": OPERATOR,
        "payment_id": "pay_778899",
        **ORDER,
        "to": "cl_aurora",
        "reason": "客户填错单号",
    },
}

EXAMPLES: dict[str, Body] = PARTIES | DEPOSIT_PHASE | WORK | POWERS
"""An honest command of every kind, but for its id and its kind."""


def example(kind: str) -> Body:
    """Return an example of a kind, whole."""
    return {"id": f"{kind.replace('_', '-')}-0001", "kind": kind, **EXAMPLES[kind]}
