"""Rest: when nothing more is to be expected of an order, unless somebody names it."""

from __future__ import annotations

import pytest

from models.lifecycle import FINAL
from tests.unit.controls import HISTORIES, MICRO, story_of


@pytest.mark.parametrize("situation", HISTORIES)
def test_what_has_ended_rests_but_for_deposits_that_a_notice_may_still_save(situation: str) -> None:
    order = story_of(situation).order()
    is_final = order.state in FINAL
    notices_end_at = order.entered_at + order.policy.late_notice_window
    assert order.rests(order.entered_at) == (is_final and not order.forfeited)
    assert order.rests(notices_end_at) == (is_final and not order.forfeited)
    assert order.rests(notices_end_at + MICRO) == is_final
