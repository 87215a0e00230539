"""Every situation: all that the rules tell apart, side by side in one database, over months."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Engine

from models.events.event import Event
from models.orders.order import Order
from models.service.outcome import Outcome
from tests.support.stories import HISTORIES, START, OrderStory, place, play_step
from workers.database.engine import writing
from workers.database.mappers import MAPPERS
from workers.database.repository import LoadedState, Store, flush_steps

INTERVAL = timedelta(hours=23, minutes=30)
"""Between two histories: so that they begin at every hour, and some between two months."""

TASK_TYPES = ("douyin_video", "huoshan", "xigua")


@dataclass(slots=True)
class RenamedStory(OrderStory):
    """A history of order `o1` that is played, under another name, in a world of many."""

    number: int = 0
    world: OrderStory = field(default_factory=OrderStory)

    def __post_init__(self) -> None:
        self.uow, self.events = self.world.uow, self.world.events

    def handle(self, body: dict[str, Any], at: datetime) -> Outcome:
        """Handle the same command about our own order, client, creator and money."""
        return OrderStory.handle(self, self._renamed(body), at)

    def wake(self, order_id: str, at: datetime) -> tuple[Event, ...]:
        """Wake our own order."""
        return OrderStory.wake(self, self._renamed(order_id), at)

    def order(self, order_id: str = "o1") -> Order:
        return OrderStory.order(self, self._renamed(order_id))

    def _renamed(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
        if isinstance(value, dict):
            return {key: self._renamed(element) for key, element in value.items()}
        if isinstance(value, list):
            return [self._renamed(element) for element in value]
        if value == "douyin_video":
            return TASK_TYPES[self.number % len(TASK_TYPES)]
        if not isinstance(value, str):
            return value
        if value == "c1":
            return f"c{self.number % 7}"
        is_own = re.fullmatch(r"[ok]1|x\d+|cmd_\d+|pay_\w+", value)
        return f"{value}x{self.number}" if is_own else value


@cache
def every_situation() -> OrderStory:
    """Play every history; let money leave, fail and come back, and some come that nobody placed."""
    all_histories = OrderStory()
    for mcn_id in ("m1", "m2"):
        all_histories.ask("register_mcn", "platform", mcn_id=mcn_id, name=mcn_id)
    for number, situation in enumerate(sorted(HISTORIES)):
        part = RenamedStory(number=number, world=all_histories, now=START - number * INTERVAL)
        contract = {"contract": "mcn", "mcn_id": f"m{number % 2 + 1}"} if number % 3 else DIRECT
        part.ask("register_creator", "platform", creator_id="k1", name="K", **contract)
        for step in HISTORIES[situation]:
            outcome = play_step(part, step)
            assert outcome is None or outcome.outcome == "applied", (situation, step)
        all_histories.now = max(all_histories.now, part.now)
    all_histories.pay("stray", {"nobodys": 700})
    place(all_histories, "late", creator_id="k1x1", amount_fen=77_700)
    all_histories.pay("odd", {"late": 1})
    debts = (
        ("refund", sorted(all_histories.uow.refunds)),
        ("payout", sorted(all_histories.uow.payouts)),
    )
    for kind, names in debts:
        for number, name in enumerate(names):
            for asked in DEBT_STEPS[kind][number % len(DEBT_STEPS[kind])]:
                all_histories.now += timedelta(hours=7)
                by, fields = DEBT_COMMANDS[asked]
                outcome = all_histories.ask(asked, by, **{f"{kind}_id": name}, **fields)
                assert outcome.outcome == "applied", (asked, name)
    return all_histories


DEBT_COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "confirm_refund": ("payments", {}),
    "fail_refund": ("payments", {"reason": "card closed"}),
    "confirm_payout": ("payments", {}),
    "fail_payout": ("payments", {"reason": "wrong account"}),
    "hold_payout": ("operator", {"reason": "in doubt"}),
    "release_payout": ("operator", {"reason": "no doubt"}),
    "reverse_payout": ("operator", {"reason": "proved", "to": "client"}),
}

_CONFIRM, _FAIL, _HOLD = "confirm_payout", "fail_payout", "hold_payout"

DEBT_STEPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "refund": (
        ("confirm_refund",),
        (),
        ("confirm_refund", "fail_refund"),
        ("fail_refund",),
        ("fail_refund", "confirm_refund"),
    ),
    "payout": (
        (_CONFIRM,),
        (),
        (_HOLD, "reverse_payout"),
        (_CONFIRM, _FAIL),
        (_HOLD,),
        (_FAIL, _HOLD, "release_payout"),
        (_HOLD, _CONFIRM, _FAIL),
    ),
}
"""What becomes of one refund or payout after another."""


DIRECT = {"contract": "direct"}


def write_story(engine: Engine, story: OrderStory) -> Store:
    """Write a whole story into a database, in one transaction; return its store."""
    store = Store(engine, story.policy)
    store.adopt_policy()
    before: dict[str, dict[str, Any]] = {name: {} for name in ("orders", *TABLE_NAMES)}
    state = LoadedState(story.uow, before=before, events=list(story.events))
    with writing(engine) as connection:
        for step in flush_steps(state):
            step(connection)
    return store


TABLE_NAMES = [mapper.name for mapper in MAPPERS]
