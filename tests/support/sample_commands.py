"""Sample commands: commands as their senders write them, each under an id of its own."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from models.fields import format_instant
from tests.support.stories import AMOUNT, sender

SampleCommand = dict[str, Any]
_NUMBERS = itertools.count(1)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""When payments were made that are in time whenever they are reported."""


def fresh_id() -> str:
    """Return an id that nobody has used."""
    return f"sample_{next(_NUMBERS)}"


def command(kind: str, by: str, order_id: str | None = None, /, **fields: object) -> SampleCommand:
    """Write a command under a fresh id; `by` is a role, or a role and a name."""
    about = {} if order_id is None else {"order_id": order_id}
    return {"id": fresh_id(), "kind": kind, "by": sender(by), **about, **fields}


def accept(order_id: str = "o1", by: str = "creator") -> SampleCommand:
    return command("accept_order", by, order_id)


def admit() -> list[SampleCommand]:
    """Admit the agency and the signed creator that orders are about."""
    creator = {"creator_id": "k1", "name": "K1", "contract": "mcn", "mcn_id": "m1"}
    return [
        command("register_mcn", "platform", mcn_id="m1", name="M1"),
        command("register_creator", "platform", **creator),
    ]


def place(order_id: str = "o1", by: str = "client", /, **fields: object) -> SampleCommand:
    """Place an order of 1 000 yuan with a deposit, unless told otherwise."""
    task = {
        "name": "春季新品推广",
        "task_type": "douyin_video",
        "industry": "美妆",
        "brief": "15秒",
    }
    terms = {"creator_id": "k1", "amount_fen": AMOUNT, "prepay_deposit": True}
    return command("place_order", by, order_id, **(task | terms | fields))


def pay(payment_id: str, shares: dict[str, int], paid_at: datetime = LONG_AGO) -> SampleCommand:
    """Report a payment."""
    return command(
        "confirm_payment",
        "payments",
        payment_id=payment_id,
        paid_at=format_instant(paid_at),
        amount_fen=sum(shares.values()),
        shares=[{"order_id": o, "amount_fen": fen} for o, fen in shares.items()],
    )


def report_violation(violation_id: str, creator_id: str = "k1") -> SampleCommand:
    """Report an advertisement outside the platform."""
    return command(
        "report_violation",
        "platform",
        violation_id=violation_id,
        creator_id=creator_id,
        url="https://elsewhere.example/ad",
        seen_at=format_instant(LONG_AGO),
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
