"""Whereabouts: no fen is without a line, whichever way it went."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import pytest

from models.ledger import FAMILIES, PSP, Posting
from ops.whereabouts import Flow, draw_whereabouts, flows
from tests.unit.campaign import forecast

KINDS = [one for one in FAMILIES if one != "payable"] + ["payable:creator", "payable:mcn"]
LEAVES = ("refunds_payable", "payable:creator", "payable:mcn")
FLOWS = [one for one in permutations(KINDS, 2) if one[1] != PSP or one[0] in LEAVES]


def drawn(moved: Counter[Flow]) -> dict[str, list[int]]:
    """Read the lines of both tables, foreseen and actual."""
    text = draw_whereabouts(moved, moved)
    rows = re.findall(r"^(.+?)\s+(-?[\d,]+)\s+(-?[\d,]+)$", text, flags=re.MULTILINE)
    found: dict[str, list[int]] = {}
    for name, *numbers in rows:
        found.setdefault(name, []).extend(int(one.replace(",", "")) for one in numbers)
    return found


@pytest.mark.parametrize("flow", FLOWS)
def test_the_money_adds_up_to_nothing_whichever_way_it_went(flow: Flow) -> None:
    foreseen, actual, *_ = drawn(Counter({flow: 7}))["sum"]
    assert (foreseen, actual) == (0, 0)


def test_money_that_left_by_a_way_that_there_is_not_is_missing_from_the_sum() -> None:
    foreseen, *_ = drawn(Counter({("escrow", PSP): 7}))["sum"]
    assert foreseen == 7


def test_what_arrived_and_lies_nowhere_else_has_left() -> None:
    lines = drawn(forecast().flows)
    wanted = forecast().balances
    received = sum(fen for (source, _), fen in forecast().flows.items() if source == PSP)
    assert lines["received from clients"] == [received, received]
    assert lines["service fees"] == [-wanted["service_fees"]] * 2
    gone = ("refunded to clients", "paid out to creators", "paid out to agencies")
    assert all(lines[name][0] < 0 for name in gone)
    assert received + sum(lines[name][0] for name in gone) == -wanted[PSP]
    assert lines["sum"] == [0, 0, 0, 0]


def test_a_released_deposit_is_told_apart_by_who_got_it() -> None:
    lines = drawn(forecast().flows)
    parties = ("creators", "agencies", "the platform", "clients")
    assert all(lines[f"released to {one}"][0] < 0 for one in parties)
    assert lines["reinstated, with the order"][0] < 0


def test_what_is_owed_is_told_apart_by_side_and_nothing_else_by_owner() -> None:
    moved = [
        Posting("escrow:o1", "payable:creator:k1", 5),
        Posting("escrow:o2", "payable:creator:k2", 6),
        Posting("escrow:o2", "payable:mcn:m1", 7),
    ]
    assert flows(moved) == {("escrow", "payable:creator"): 11, ("escrow", "payable:mcn"): 7}
