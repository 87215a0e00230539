"""Workload: the commands that the benchmark settles, three steps an order, or five in a hurry."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

CREATOR = "k1"
AMOUNT_FEN, DEPOSIT_FEN = 100_000, 10_500


def registration(creator_id: str = CREATOR) -> str:
    """Admit the one creator who takes every order, or another."""
    return command_text(
        id=f"register_{creator_id}",
        kind="register_creator",
        by={"role": "platform", "id": "bench"},
        creator_id=creator_id,
        name="基准达人",
        contract="direct",
    )


def orders(count: int, *, first: int = 0) -> Iterator[str]:
    """Place orders, pay their deposits, accept them: in three waves, so that any may go first."""
    numbers = range(first, first + count)
    yield from map(place, numbers)
    yield from map(pay, numbers)
    yield from map(accept, numbers)


OFFERED_PER_SECOND = 5_000
"""Commands a second that `hurried_orders` pretends to come in at."""


def hurried_orders(count: int, *, first: int = 0) -> Iterator[str]:
    """Take orders through five steps each, all within a second, at random instants of it.

    In between come the steps of all other orders of that second, so that those of one order are in
    different batches, and often with different workers, and each must wait for the one before it.
    """
    chance = random.Random(first)  # noqa: S311 - instants, not secrets
    pause_s = len(STEPS) / OFFERED_PER_SECOND
    commands = [
        (number * pause_s + instant, step, first + number)
        for number in range(count)
        for step, instant in enumerate(sorted(chance.random() for _ in STEPS))
    ]
    for _, step, number in sorted(commands):
        yield STEPS[step](number)


def place(number: int) -> str:
    """Place one order."""
    return command_text(
        id=f"place_{number:08}",
        kind="place_order",
        by={"role": "client", "id": f"c{number % 10_000}"},
        order_id=f"o{number:08}",
        creator_id=CREATOR,
        name="春季新品推广",
        task_type="douyin_video",
        industry="美妆",
        brief="15秒以上,露出产品,口播一次品牌名",
        amount_fen=AMOUNT_FEN,
        prepay_deposit=True,
    )


def pay(number: int, paid_at: datetime | None = None) -> str:
    """Pay one order's deposit, now unless an instant is given."""
    share = {"order_id": f"o{number:08}", "amount_fen": DEPOSIT_FEN}
    return command_text(
        id=f"pay_{number:08}",
        kind="confirm_payment",
        by={"role": "payments", "id": "psp"},
        payment_id=f"d{number:08}",
        paid_at=(paid_at or datetime.now(UTC)).isoformat(),
        amount_fen=DEPOSIT_FEN,
        shares=[share],
    )


def accept(number: int) -> str:
    """Accept one order."""
    return command_text(
        id=f"accept_{number:08}",
        kind="accept_order",
        by={"role": "creator", "id": CREATOR},
        order_id=f"o{number:08}",
    )


def revise(number: int) -> str:
    """Raise one order's price, as its creator."""
    return command_text(
        id=f"revise_{number:08}",
        kind="revise_quote",
        by={"role": "creator", "id": CREATOR},
        order_id=f"o{number:08}",
        amount_fen=AMOUNT_FEN + 10_000,
    )


def restore(number: int) -> str:
    """Go back to one order's first price, as its client."""
    return command_text(
        id=f"restore_{number:08}",
        kind="restore_quote",
        by={"role": "client", "id": f"c{number % 10_000}"},
        order_id=f"o{number:08}",
    )


STEPS = (place, pay, accept, revise, restore)
"""What one order goes through in a hurry; each step wants the one before it."""


def decline(number: int) -> str:
    """Decline one order."""
    return command_text(
        id=f"decline_{number:08}",
        kind="decline_order",
        by={"role": "creator", "id": CREATOR},
        order_id=f"o{number:08}",
    )


def refunded(number: int) -> str:
    """Confirm that one order's deposit has gone back."""
    return command_text(
        id=f"refunded_{number:08}",
        kind="confirm_refund",
        by={"role": "payments", "id": "psp"},
        refund_id=f"rf_d{number:08}_o{number:08}",
    )


def command_text(**fields: Any) -> str:  # noqa: ANN401 - a command's fields are of many types
    return json.dumps(fields, ensure_ascii=False)
