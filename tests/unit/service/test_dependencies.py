"""Dependencies: what a command needs loaded, said by the command itself."""

from __future__ import annotations

import json

import pytest

from models.commands import COMMAND_KINDS
from models.commands.command import Dependencies
from models.commands.parsing import parse_command
from models.service.dependencies import dependencies_of
from ops.web.openapi import example
from tests.support.stories import read_table

DEPENDENCIES = read_table("""
    kind                 orders  loaded
    place_order          1       placements creators_held_unchanged clients placing_clients
    accept_order         1       -
    appoint_provider     1       providers
    operator_act         1       -
    confirm_payment      1       payments refund_base_ids
    confirm_refund       1       payments refund_base_ids
    fail_refund          1       payments refund_base_ids
    confirm_payout       1       payouts
    fail_payout          1       payouts
    hold_payout          1       payouts
    release_payout       1       payouts
    reverse_payout       1       payouts
    resolve_suspense     1       payments refund_base_ids suspended
    void_payment         0       payments payments_to_void
    register_mcn         0       mcns
    register_client      0       clients
    register_provider    0       providers
    register_creator     0       creators_changing mcns
    end_contract         0       creators_changing
    report_violation     0       creators_changing violations
    overturn_violation   0       violations
""")


def dependencies_of_kind(kind: str) -> Dependencies:
    return dependencies_of([parse_command(json.dumps(example(kind)))])


@pytest.mark.parametrize("kind", sorted(COMMAND_KINDS))
def test_every_kind_of_command_says_what_it_depends_on(kind: str) -> None:
    assert dependencies_of_kind(kind) != Dependencies()


def test_a_wake_up_names_what_is_told_the_time() -> None:
    subjects = ["o1", "order:o2", "creator:k1", "refund:rf_p_o~2", "payout:po_o_mcn"]
    assert dependencies_of([], [*subjects, "suspense:p1:o1", "parked:17"]) == Dependencies(
        orders={"o1", "o2"},
        creators_with_open_orders={"k1"},
        creators_changing={"k1"},
        refund_base_ids={"rf_p_o"},
        payouts={"po_o_mcn"},
        suspended={"p1:o1"},
        payments={"p1"},
        parked={"17"},
    )


@pytest.mark.parametrize("row", DEPENDENCIES, ids=lambda row: row["kind"])
def test_a_command_names_what_must_be_loaded_and_nothing_else(row: dict[str, str]) -> None:
    dependencies = dependencies_of_kind(row["kind"])
    assert bool(dependencies.orders) == (row["orders"] == "1")
    names = {name for name in Dependencies.__slots__ if getattr(dependencies, name)}
    expected = set() if row["loaded"] == "-" else set(row["loaded"].split())
    assert names - {"orders", "registered"} == expected
