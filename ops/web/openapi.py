"""OpenAPI: what the gateway promises, with every command and an honest example of each."""

from __future__ import annotations

import json

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ops.contract import schemas
from ops.json_schema import JsonObject, Schema
from ops.web.errors import ProblemShown

ABOUT = """\
Hand in commands about fixed-price orders that carry an earnest-money deposit, and read what became
of them. A command is answered with **202** after it is durably kept; its outcome comes a moment
later, at `GET /commands/{id}?wait=5`. Sending a command again under the same id is always safe.

Tokens are bearer tokens; each speaks for one role, and perhaps for one party of that role. What a
command says in `by` is held against the token, never believed. A token of an `observer` reads
everything and hands in nothing. Instants are ISO 8601 with an
offset, amounts are whole fen (1/100 CNY).
"""


CLIENT = {"role": "client", "id": "cl_aurora"}
CREATOR = {"role": "creator", "id": "cr_lin"}
PROVIDER = {"role": "provider", "id": "sp_nova"}
PAYMENTS = {"role": "payments", "id": "psp"}
PLATFORM = {"role": "platform", "id": "admin"}
OPERATOR = {"role": "operator", "id": "op_wang"}

ORDER = {"order_id": "ord_20260302_0001"}
LINKS = {"links": ["https://pan.example.com/s/9f2c"]}

PARTY_EXAMPLES: dict[str, JsonObject] = {
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

PAYOUT = {"payout_id": "po_ord_20260302_0001_creator"}
DEPOSIT_EXAMPLES: dict[str, JsonObject] = {
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
        "shares": [{**ORDER, "amount_fen": 10_500, "due": "deposit"}],
        "client_id": "cl_aurora",
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
    "fail_refund": {
        "by": PAYMENTS,
        "refund_id": "rf_pay_778899_ord_20260302_0001",
        "reason": "收款卡已注销",
    },
    "confirm_payout": {"by": PAYMENTS, **PAYOUT},
    "fail_payout": {"by": PAYMENTS, **PAYOUT, "reason": "账户名不符"},
}

WORK_EXAMPLES: dict[str, JsonObject] = {
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
    "propose_schedule": {
        "by": CREATOR,
        **ORDER,
        "expected_publish_at": "2026-03-28T20:00:00+08:00",
    },
    "agree_schedule": {
        "by": CLIENT,
        **ORDER,
        "expected_publish_at": "2026-03-28T20:00:00+08:00",
    },
    "dispute_order": {"by": CLIENT, **ORDER, "reason": "未露出产品"},
    "rate_order": {"by": CLIENT, **ORDER, "rating": 5, "comment": "沟通顺畅"},
    "appoint_provider": {"by": CLIENT, **ORDER, "provider_id": "sp_nova"},
}

OPERATOR_EXAMPLES: dict[str, JsonObject] = {
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
    "reschedule_order": {
        "by": OPERATOR,
        **ORDER,
        "expected_publish_at": "2026-03-28T20:00:00+08:00",
        "reason": "双方电话同意改期",
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
        "to": "order",
        "target_order_id": "ord_20260302_0002",
        "reason": "客户填错单号",
    },
    "hold_payout": {"by": OPERATOR, **PAYOUT, "reason": "涉嫌刷量"},
    "release_payout": {"by": OPERATOR, **PAYOUT, "reason": "核查无误"},
    "reverse_payout": {"by": OPERATOR, **PAYOUT, "to": "client", "reason": "刷量属实"},
    "void_payment": {"by": OPERATOR, "payment_id": "pay_778899", "reason": "元误报为分"},
}

EXAMPLES: dict[str, JsonObject] = (
    PARTY_EXAMPLES | DEPOSIT_EXAMPLES | WORK_EXAMPLES | OPERATOR_EXAMPLES
)
"""An honest command of every kind, but for its id and its kind."""


def example(kind: str) -> JsonObject:
    """Return an example of a kind, whole."""
    return {"id": f"{kind.replace('_', '-')}-0001", "kind": kind, **EXAMPLES[kind]}


def _command_schemas() -> dict[str, Schema]:
    schemas_by_name = {}
    for kind, schema in schemas.command_schemas().items():
        plain_schema = {name: value for name, value in schema.items() if not name.startswith("$")}
        schemas_by_name[_schema_name(kind)] = plain_schema | {"examples": [example(kind)]}
    return schemas_by_name


def _schema_name(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("_"))


COMMAND_SCHEMAS = _command_schemas()
ANY_COMMAND: Schema = {"$ref": "#/components/schemas/Command"}

COMMANDS_BODY: Schema = {
    "required": True,
    "description": "One command, or a list of them.",
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    ANY_COMMAND,
                    {"type": "array", "items": ANY_COMMAND, "minItems": 1, "maxItems": 500},
                ]
            },
            "examples": {
                **{kind: {"summary": kind, "value": example(kind)} for kind in EXAMPLES},
                "several": {
                    "summary": "several at once",
                    "value": [example("register_mcn"), example("register_creator")],
                },
            },
        }
    },
}


def openapi_document(app: FastAPI, version: str) -> Schema:
    """Write the whole document, once."""
    if app.openapi_schema is None:
        spec = get_openapi(
            title="Earnest",
            version=version,
            description=ABOUT,
            routes=app.routes,
            license_info={"name": "MIT", "identifier": "MIT"},
        )
        component_schemas = spec["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            component_schemas.pop(unused, None)
        refs = [{"$ref": f"#/components/schemas/{name}"} for name in COMMAND_SCHEMAS]
        mapping = {kind: f"#/components/schemas/{_schema_name(kind)}" for kind in EXAMPLES}
        discriminator = {"propertyName": "kind", "mapping": mapping}
        problem = ProblemShown.model_json_schema(ref_template="#/components/schemas/{model}")
        component_schemas |= problem.pop("$defs") | COMMAND_SCHEMAS
        component_schemas |= {
            "Problem": problem,
            "Command": {"oneOf": refs, "discriminator": discriminator},
        }
        spec["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        spec["security"] = [{"token": []}, {}]
        app.openapi_schema = _with_published_names(spec)
    return app.openapi_schema


PUBLISHED_NAMES = {"Grouping": "By", "ReportName": "Name"}
"""Types that are called otherwise in the document than here: generated clients use those names."""


def _with_published_names(spec: Schema) -> Schema:
    schemas = spec["components"]["schemas"]
    for name, published_name in PUBLISHED_NAMES.items():
        schemas[published_name] = schemas.pop(name) | {"title": published_name}
    text = json.dumps(spec)
    for name, published_name in PUBLISHED_NAMES.items():
        reference = "#/components/schemas/{}"
        text = text.replace(f'"{reference.format(name)}"', f'"{reference.format(published_name)}"')
    published: Schema = json.loads(text)
    return published
