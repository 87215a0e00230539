"""Comparison: no fen is without a line, whichever way it went."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import pytest

from models.ledger import ACCOUNT_FAMILIES, PSP, Posting
from ops.simulation.comparison import MONEY_PAID_OUT, draw_flows
from ops.simulation.replay import AccountFlow, sum_flows
from tests.support.campaign import forecast

ACCOUNTS = [family for family in ACCOUNT_FAMILIES if family != "payable"] + [
    "payable:creator",
    "payable:mcn",
]

PAID_OUT_ACCOUNTS = ("refunds_payable", "payable:creator", "payable:mcn", "suspense")
FLOWS = [
    flow for flow in permutations(ACCOUNTS, 2) if flow[1] != PSP or flow[0] in PAID_OUT_ACCOUNTS
]


def table_cells(fen_by_flow: Counter[AccountFlow]) -> dict[str, list[int]]:
    """Read the lines of both tables, foreseen and actual."""
    text = draw_flows(fen_by_flow, fen_by_flow)
    rows = re.findall(r"^(.+?)\s+(-?[\d,]+)\s+(-?[\d,]+)$", text, flags=re.MULTILINE)
    numbers_by_name: dict[str, list[int]] = {}
    for name, *numbers in rows:
        numbers_by_name.setdefault(name, []).extend(
            int(number.replace(",", "")) for number in numbers
        )
    return numbers_by_name


@pytest.mark.parametrize("flow", FLOWS)
def test_the_table_of_money_adds_up_to_nothing_whichever_way_it_went(flow: AccountFlow) -> None:
    foreseen, actual, *_ = table_cells(Counter({flow: 7}))["sum"]
    assert (foreseen, actual) == (0, 0)


def test_money_that_left_by_a_way_that_there_is_not_is_missing_from_the_sum() -> None:
    foreseen, *_ = table_cells(Counter({("escrow", PSP): 7}))["sum"]
    assert foreseen == 7


def test_what_arrived_and_lies_nowhere_else_has_left() -> None:
    lines = table_cells(forecast().flows)
    balances = forecast().balances
    received_fen = sum(fen for (source, _), fen in forecast().flows.items() if source == PSP)
    assert lines["received from clients"] == [received_fen, received_fen]
    assert lines["service fees"] == [-balances["service_fees"]] * 2
    outflows = [name for name, _ in MONEY_PAID_OUT]
    assert all(lines[name][0] < 0 for name in outflows)
    assert received_fen + sum(lines[name][0] for name in outflows) == -balances[PSP]
    assert lines["sum"] == [0, 0, 0, 0]


def test_a_released_deposit_is_told_apart_by_who_got_it() -> None:
    lines = table_cells(forecast().flows)
    parties = ("creators", "agencies", "the platform", "clients")
    assert all(lines[f"released to {party}"][0] < 0 for party in parties)
    assert lines["reinstated, with the order"][0] < 0


def test_what_is_owed_is_told_apart_by_side_and_nothing_else_by_owner() -> None:
    postings = [
        Posting("escrow:o1", "payable:creator:k1", 5),
        Posting("escrow:o2", "payable:creator:k2", 6),
        Posting("escrow:o2", "payable:mcn:m1", 7),
    ]
    assert sum_flows(postings) == {("escrow", "payable:creator"): 11, ("escrow", "payable:mcn"): 7}
