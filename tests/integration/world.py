"""World: every situation that the rules tell apart, side by side in one book, over some months."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Engine

from models.answer import Settlement
from models.events import Event
from models.order import Order
from tests.unit.controls import HISTORIES, START, Story, place, take
from workers.database import writing
from workers.draft import draft
from workers.shelves import SHELVES
from workers.store import Page, Store

APART = timedelta(hours=23, minutes=30)
"""Between two histories: so that they begin at every hour, and some between two months."""

KINDS = ("douyin_video", "huoshan", "xigua")


@dataclass(slots=True)
class Part(Story):
    """A history of order `o1` that is played, under another name, in a world of many."""

    number: int = 0
    world: Story = field(default_factory=Story)

    def __post_init__(self) -> None:
        self.book, self.events = self.world.book, self.world.events

    def tell(self, body: dict[str, Any], at: datetime) -> Settlement:
        """Say the same of our own order, client, creator and money."""
        return Story.tell(self, self._renamed(body), at)

    def wake(self, order_id: str, at: datetime) -> tuple[Event, ...]:
        """Wake our own order."""
        return Story.wake(self, self._renamed(order_id), at)

    def order(self, order_id: str = "o1") -> Order:
        return Story.order(self, self._renamed(order_id))

    def _renamed(self, found: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
        if isinstance(found, dict):
            return {key: self._renamed(one) for key, one in found.items()}
        if isinstance(found, list):
            return [self._renamed(one) for one in found]
        if found == "douyin_video":
            return KINDS[self.number % len(KINDS)]
        if not isinstance(found, str):
            return found
        if found == "c1":
            return f"c{self.number % 7}"
        own = re.fullmatch(r"[ok]1|x\d+|cmd_\d+|pay_\w+", found)
        return f"{found}x{self.number}" if own else found


@cache
def world() -> Story:
    """Play every history; confirm every other debt; let money come that nobody can place."""
    whole = Story()
    for mcn_id in ("m1", "m2"):
        whole.ask("register_mcn", "platform", mcn_id=mcn_id, name=mcn_id)
    for number, situation in enumerate(sorted(HISTORIES)):
        part = Part(number=number, world=whole, now=START - number * APART)
        signed = {"contract": "mcn", "mcn_id": f"m{number % 2 + 1}"} if number % 3 else DIRECT
        part.ask("register_creator", "platform", creator_id="k1", name="K", **signed)
        for step in HISTORIES[situation]:
            settlement = take(part, step)
            assert settlement is None or settlement.outcome == "applied", (situation, step)
        whole.now = max(whole.now, part.now)
    whole.pay("stray", {"nobodys": 700})
    place(whole, "late", creator_id="k1x1", amount_fen=77_700)
    whole.pay("odd", {"late": 1})
    debts = (("refund", sorted(whole.book.refunds)), ("payout", sorted(whole.book.payouts)))
    for kind, names in debts:
        for name in names[::2]:
            whole.now += timedelta(hours=7)
            whole.ask(f"confirm_{kind}", "payments", **{f"{kind}_id": name})
    return whole


DIRECT = {"contract": "direct"}


def write(engine: Engine, story: Story) -> Store:
    """Record a whole book at once."""
    store = Store(engine, story.policy)
    store.adopt_policy()
    before: dict[str, dict[str, Any]] = {name: {} for name in ("orders", *SHELF_NAMES)}
    page = Page(story.book, before=before, events=list(story.events))
    with writing(engine) as connection:
        for step in draft(page):
            step(connection)
    return store


SHELF_NAMES = [one.name for one in SHELVES]
