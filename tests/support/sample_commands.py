"""Sample commands: commands as their senders write them, each under an id of its own."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from models.fields import instant_text
from tests.support.stories import AMOUNT, party

Letter = dict[str, Any]


_NUMBERS = itertools.count(1)


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""When payments were made that are in time whenever they are reported."""


def fresh() -> str:
    """Return an id that nobody has used."""
    return f"letter_{next(_NUMBERS)}"


def ask(kind: str, by: str, order_id: str | None = None, /, **fields: object) -> Letter:
    """Write a command under a fresh id; `by` is a role, or a role and a name."""
    about = {} if order_id is None else {"order_id": order_id}
    return {"id": fresh(), "kind": kind, "by": party(by), **about, **fields}


def accept(order_id: str = "o1", by: str = "creator") -> Letter:
    return ask("accept_order", by, order_id)


def admit() -> list[Letter]:
    """Admit the agency and the signed creator that orders are about."""
    creator = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m1"}
    return [
        ask("register_mcn", "platform", mcn_id="m1", name="M1"),
        ask("register_creator", "platform", **creator),
    ]


def place(order_id: str = "o1", by: str = "client", /, **fields: object) -> Letter:
    """Place an order of 1 000 yuan with a deposit, unless told otherwise."""
    task = {
        "name": "春季新品推广",
        "task_type": "douyin_video",
        "industry": "美妆",
        "brief": "15秒",
    }
    terms = {"creator_id": "k1", "amount_fen": AMOUNT, "prepay_deposit": True}
    return ask("place_order", by, order_id, **(task | terms | fields))


def pay(payment_id: str, shares: dict[str, int], paid_at: datetime = LONG_AGO) -> Letter:
    """Report a payment."""
    return ask(
        "confirm_payment",
        "payments",
        payment_id=payment_id,
        paid_at=instant_text(paid_at),
        amount_fen=sum(shares.values()),
        shares=[{"order_id": o, "amount_fen": fen} for o, fen in shares.items()],
    )


def report(violation_id: str, creator_id: str = "k1") -> Letter:
    """Report an advertisement outside the platform."""
    return ask(
        "report_violation",
        "platform",
        violation_id=violation_id,
        creator_id=creator_id,
        url="https://elsewhere.example/ad",
        seen_at=instant_text(LONG_AGO),
        evidence="a screenshot",
    )


def registration(number: int, name: str = "R") -> str:
    """Write the registration of a creator."""
    return json.dumps(
        {
            "id": f"register_{number:06}",
            "kind": "register_creator",
            "by": {"role": "platform", "id": "p1"},
            "creator_id": f"r{number}",
            "name": name,
            "contract": "direct",
        }
    )
