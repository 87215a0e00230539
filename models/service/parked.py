"""Parked commands: those about an order that does not exist yet, which wait for its placement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from models.commands import AnyCommand
from models.commands.command import OrderCommand
from models.commands.operators import OperatorAct
from models.commands.orders import PlaceOrder

ReceiptOrder = tuple[datetime, int]
"""Where something stands among all that was received: the instant, and the number of receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedCommand:
    """A command that waits for the placement of an order, until `answer_at`.

    A repeat waits for the order of the command that it repeats, whatever it is about itself.
    """

    command: AnyCommand
    order_id: str
    received_at: datetime
    number: int
    answer_at: datetime

    @property
    def key(self) -> str:
        """Return its number of receipt as text, which names it."""
        return str(self.number)

    @property
    def sender(self) -> str:
        """Name who sent it: the role and the id."""
        return self.command.sender

    @property
    def receipt_order(self) -> ReceiptOrder:
        """Return where it stands among all that was received."""
        return self.received_at, self.number


def find_awaited_order(command: AnyCommand) -> str | None:
    """Return the order without which a command cannot be judged, if there is one."""
    if isinstance(command, PlaceOrder) or not isinstance(command, OrderCommand | OperatorAct):
        return None
    return command.order_id


def group_repeats(parked: Iterable[ParkedCommand]) -> list[list[ParkedCommand]]:
    """Put each command with its repeats behind it, in the order in which they are judged."""
    groups: dict[tuple[str, str], list[ParkedCommand]] = {}
    for waiting in sorted(parked, key=lambda waiting: waiting.receipt_order):
        groups.setdefault((waiting.sender, waiting.command.id), []).append(waiting)
    return list(groups.values())
