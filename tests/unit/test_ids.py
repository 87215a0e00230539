"""Ids: what the names of commands, refunds, payouts and shares tell, and what they do not."""

from __future__ import annotations

import pytest

from models import ids


@pytest.mark.parametrize(
    ("payout_id", "order_id"),
    [
        ("po_o1_creator", "o1"),
        ("po_o_1_mcn", "o_1"),
        ("po_o1_client", None),
        ("rf_o1_creator", None),
        ("o1_mcn", None),
        ("po_creator", None),
    ],
)
def test_a_payouts_id_names_its_order_between_its_head_and_its_side(
    payout_id: str, order_id: str | None
) -> None:
    assert ids.parse_payout_order_id(payout_id) == order_id


@pytest.mark.parametrize(
    ("refund_id", "payments", "orders"),
    [
        ("rf_p_o", ("p", "p_o"), ("o",)),
        ("rf_p_o~2", ("p", "p_o"), ("o",)),
        ("rf_p", ("p",), ()),
        ("rf_p_1_o", ("p", "p_1", "p_1_o"), ("1_o", "o")),
        ("rv_po_o1_mcn", (), ("o1",)),
        ("rv_nothing", (), ()),
    ],
)
def test_a_refunds_id_names_every_payment_and_order_that_it_may_spell(
    refund_id: str, payments: tuple[str, ...], orders: tuple[str, ...]
) -> None:
    assert ids.parse_refund_payment_ids(refund_id) == payments
    assert ids.parse_refund_order_ids(refund_id) == orders


def test_a_commands_key_names_its_sender_and_its_id_or_says_that_nobody_knows() -> None:
    assert ids.make_command_key("client:c1", "cmd_0001") == "client:c1:cmd_0001"
    assert ids.split_command_key("client:c1:cmd_0001") == ("client:c1", "cmd_0001")
    assert ids.split_command_key("cmd_0001") == ("", "cmd_0001")
    assert ids.make_command_key(None, None) == "-:-"


def test_a_share_names_its_payment_and_its_order() -> None:
    assert ids.split_share_id(ids.share_id("p_1", "o_2")) == ("p_1", "o_2")


@pytest.mark.parametrize("attempt", [1, 2, 99_999])
def test_a_reference_tells_whose_it_is_and_for_which_attempt(attempt: int) -> None:
    stem = ids.make_reference_stem("rf_p_o", "order:o")
    reference = ids.parse_reference(ids.make_reference(stem, attempt))
    assert reference == ids.Reference(stem, attempt)
    assert reference is not None
    assert ids.subject_key(reference.home) == ids.subject_key("order:o")
    assert len(ids.make_reference(stem, attempt)) <= 32


def test_references_of_refunds_and_payouts_are_told_apart_and_ids_are_none() -> None:
    assert ids.make_reference_stem("rf_p_o", "order:o")[0] == "R"
    assert ids.make_reference_stem("po_o_mcn", "order:o")[0] == "P"
    stem = ids.make_reference_stem("po_o_mcn", "order:o")
    for name in ("rf_p_o", "po_o_mcn", stem, f"{stem}0", f"{stem}01", f"{stem}100000", f"X{stem}1"):
        assert ids.parse_reference(name) is None
