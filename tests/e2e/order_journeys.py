"""Order journeys: what clients, creators and payments do with an order, one step after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.commands.parsing import find_command_name
from models.fields import format_instant
from models.ids import make_command_key
from tests.support import sample_commands
from tests.support.sample_commands import SampleCommand
from tests.support.stories import BALANCE, DEPOSIT, TOTAL

REVISED_AMOUNT_FEN = 120_000
CANCELLATION_COST_FEN = 10_500
LINKS = ["https://studio.example/v/1"]

PUBLICATION = {
    "url": "https://douyin.example/v/1",
    "published_at": format_instant(sample_commands.LONG_AGO),
}

RESOLUTION = {"outcome": "cancel", "creator_bps": 2_500, "reason": "half of it was good"}
FUNDED = "place pay accept balance"

JOURNEYS = {
    "everything is paid": "place pay accept balance",
    "nothing is paid": "place",
    "nobody accepts": "place pay nudge",
    "declined": "place pay decline refund",
    "the balance is not paid": "place pay accept",
    "revised and restored": "place pay revise restore balance",
    "the client walks away": "place pay cancel refund",
    "paid before it is accepted": "place pay balance accept",
    "a wrong amount": "place wrong pay accept wrong balance",
    "without a deposit": "place_full total accept",
    "the agency accepts too late to matter": "place pay accept accept_mcn balance",
    "a stranger asks": "place pay stranger accept forfeit",
    "delivered": f"{FUNDED} script agree content approve publish deliver",
    "nobody looks": f"{FUNDED} script",
    "sent back": f"{FUNDED} script return script agree content reject content approve publish",
    "left at a cost": f"{FUNDED} script agree leave",
    "disputed": f"{FUNDED} script agree content dispute resolve",
}


def command_for(step: str, order_id: str) -> SampleCommand:
    """Write the command of one step of an order."""
    payment = f"{step}_{order_id}"
    return {
        "place": lambda: sample_commands.place(order_id),
        "place_full": lambda: sample_commands.place(order_id, prepay_deposit=False),
        "pay": lambda: sample_commands.pay(payment, {order_id: DEPOSIT}),
        "total": lambda: sample_commands.pay(payment, {order_id: TOTAL}),
        "balance": lambda: sample_commands.pay(payment, {order_id: BALANCE}),
        "wrong": lambda: sample_commands.pay(sample_commands.fresh_id(), {order_id: 7}),
        "accept": lambda: sample_commands.accept(order_id),
        "accept_mcn": lambda: sample_commands.accept(order_id, "mcn"),
        "revise": lambda: (
            sample_commands.accept(order_id) | {"revised_amount_fen": REVISED_AMOUNT_FEN}
        ),
        "restore": lambda: sample_commands.command("restore_quote", "client", order_id),
        "decline": lambda: sample_commands.command("decline_order", "creator", order_id),
        "nudge": lambda: sample_commands.command("nudge_creator", "client", order_id),
        "cancel": lambda: sample_commands.command("cancel_order", "client", order_id),
        "forfeit": lambda: sample_commands.command(
            "cancel_order", "client", order_id, accept_forfeit=True
        ),
        "leave": lambda: sample_commands.command(
            "cancel_order", "client", order_id, accept_cost_fen=CANCELLATION_COST_FEN
        ),
        "stranger": lambda: sample_commands.command("cancel_order", "client:c2", order_id),
        "refund": lambda: sample_commands.command(
            "confirm_refund", "payments", refund_id=f"rf_pay_{order_id}_{order_id}"
        ),
        "script": lambda: sample_commands.command(
            "submit_script", "creator", order_id, links=LINKS
        ),
        "content": lambda: sample_commands.command(
            "submit_content", "creator", order_id, links=LINKS
        ),
        "agree": lambda: sample_commands.command("approve_script", "client", order_id),
        "return": lambda: sample_commands.command(
            "reject_script", "client", order_id, comment="太长"
        ),
        "approve": lambda: sample_commands.command("approve_content", "client", order_id),
        "reject": lambda: sample_commands.command(
            "reject_content", "client", order_id, comment="太暗"
        ),
        "publish": lambda: sample_commands.command(
            "publish_work", "creator", order_id, **PUBLICATION
        ),
        "deliver": lambda: sample_commands.command("confirm_delivery", "client", order_id),
        "dispute": lambda: sample_commands.command(
            "dispute_order", "client", order_id, reason="不是我要的"
        ),
        "resolve": lambda: sample_commands.command(
            "resolve_dispute", "operator", order_id, **RESOLUTION
        ),
    }[step]()


@dataclass
class OrderJourneys:
    """Many orders, each at some step of its journey; a step is taken when the last is settled."""

    steps: dict[str, Iterator[SampleCommand]]
    waiting: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int) -> OrderJourneys:
        """Begin a number of orders, of every journey in turn."""
        journeys = list(JOURNEYS.values())
        orders = {f"e{n:03}": journeys[n % len(journeys)].split() for n in range(number)}
        return cls(
            {
                order_id: iter([command_for(step, order_id) for step in steps])
                for order_id, steps in orders.items()
            }
        )

    def begin(self) -> list[str]:
        """Return the first commands: the parties, and every order."""
        texts = [json.dumps(command) for command in sample_commands.admit()]
        first_commands = {key_of(text): text for text in texts}
        self.texts |= first_commands
        return [
            *first_commands.values(),
            *(text for order_id in self.steps if (text := self._next(order_id))),
        ]

    def next_commands(self, settled_keys: set[str]) -> list[str]:
        """Return the commands that follow those which are settled."""
        keys = [key for key in self.waiting if key in settled_keys]
        order_ids = [self.waiting.pop(key) for key in keys]
        return [text for order_id in order_ids if (text := self._next(order_id))]

    def _next(self, order_id: str) -> str | None:
        command = next(self.steps[order_id], None)
        if command is None:
            return None
        text = json.dumps(command)
        self.waiting[key_of(text)] = order_id
        self.texts[key_of(text)] = text
        return text


def key_of(text: str) -> str:
    """Name a command for all senders."""
    return make_command_key(*find_command_name(text))
