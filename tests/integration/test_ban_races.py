"""Ban races: no order misses what its creator's standing means for it, whoever comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from sqlalchemy import Engine

from models.lifecycle import FINAL, State
from tests.integration import letters
from tests.integration.desk import Desk
from tests.integration.letters import Letter
from tests.integration.races import at_once, engines_for
from tests.unit.controls import DEPOSIT, MICRO, span
from workers.settle import Settler
from workers.store import Store
from workers.turns import Received

ROUNDS = 20
CREATORS = [f"k{number:02}" for number in range(10, 10 + ROUNDS)]

Settle = Callable[..., list[Received]]
Table = tuple[Desk, list[Settle]]


@pytest.fixture
def table(engine: Engine) -> Iterator[Table]:
    """Give a desk with creators one violation away from a ban, each with an order on offer."""
    desk = Desk(engine=engine).admit()
    for creator_id in CREATORS:
        terms = {"creator_id": creator_id, "name": creator_id, "contract": "direct"}
        desk.ask("register_creator", "platform", **terms)
        desk.say(letters.report(f"first_{creator_id}", creator_id), desk.now)
        desk.say(letters.place(f"o_{creator_id}", creator_id=creator_id), desk.now)
        desk.say(letters.pay(f"d_{creator_id}", {f"o_{creator_id}": DEPOSIT}), desk.now)
    with engines_for(engine, 10) as engines:
        stores = [Store(one, desk.policy) for one in engines]
        yield desk, [Settler(store, desk.door, lambda: None).settle for store in stores]


def rush(desk: Desk, settlers: list[Settle], *asked: Letter) -> Counter[tuple[str, str | None]]:
    """Let commands be settled at the same instant; return what became of them."""
    received = [desk.receive(one) for one in asked]
    calls = [partial(settle, [one]) for settle, one in zip(settlers, received, strict=False)]
    assert [one for held in at_once(*calls) for one in held] == []
    told = {one["sequence"]: one for one in desk.published("command.settled")}
    return Counter((told[one.stamp]["outcome"], told[one.stamp]["reason"]) for one in received)


def open_orders(desk: Desk) -> set[tuple[str, bool]]:
    """Audit the books; return the states of orders that have not ended, and if a ban stops them."""
    assert desk.reader.audit().findings == []
    left = [one for one in desk.reader.orders() if one.state not in FINAL]
    return {(one.state, "ban" in one.stoppers) for one in left}


def test_an_order_placed_while_its_creator_is_banned_does_not_stay(table: Table) -> None:
    desk, settlers = table
    for creator_id in CREATORS:
        placed = (letters.place(f"n{n}_{creator_id}", creator_id=creator_id) for n in range(4))
        found = rush(desk, settlers, *placed, letters.report(f"second_{creator_id}", creator_id))
        assert found.total() == 5
        assert found.keys() <= {("applied", None), ("rejected", "creator_banned")}
    assert open_orders(desk) == set()


def test_an_acceptance_during_a_ban_is_refused_or_its_clock_stands_still(table: Table) -> None:
    desk, settlers = table
    for creator_id in CREATORS:
        accept = letters.ask("accept_order", f"creator:{creator_id}", f"o_{creator_id}")
        found = rush(desk, settlers, accept, letters.report(f"second_{creator_id}", creator_id))
        assert found.keys() <= {("applied", None), ("rejected", "wrong_state")}
    assert open_orders(desk) <= {(State.AWAITING_BALANCE, True)}


def test_a_violation_reported_by_ten_at_once_counts_once(table: Table) -> None:
    desk, settlers = table
    for creator_id in CREATORS:
        twins = [letters.report(f"second_{creator_id}", creator_id) for _ in range(10)]
        found = rush(desk, settlers, *twins)
        assert found == {("applied", None): 1, ("duplicate", None): 9}
    assert Counter(one["creator_id"] for one in desk.published("creator.banned")) == dict.fromkeys(
        CREATORS, 1
    )
    assert open_orders(desk) == set()


def test_the_end_of_a_ban_is_told_once_however_many_notice(table: Table) -> None:
    desk, settlers = table
    for creator_id in CREATORS:
        accept = letters.ask("accept_order", f"creator:{creator_id}", f"o_{creator_id}")
        desk.say(accept, desk.now)
        desk.say(letters.report(f"second_{creator_id}", creator_id), desk.now)
    desk.door.present = desk.now + span("7d") + MICRO
    for creator_id in CREATORS:
        both = (f"creator:{creator_id}", f"o_{creator_id}")
        wakes = [partial(settle, (), [both[n % 2]]) for n, settle in enumerate(settlers)]
        at_once(*wakes)
    assert len(desk.published("creator.ban_lifted")) == ROUNDS
    assert len(desk.published("clock.resumed")) == ROUNDS
    assert open_orders(desk) == {(State.AWAITING_BALANCE, False)}
    assert {one.due_at for one in desk.reader.orders()} == {desk.now + 2 * span("7d")}
