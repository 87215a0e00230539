"""Fixtures: what is due when the scheduler looks."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support import sample_commands
from tests.support.store_harness import StoreHarness
from tests.support.stories import place


@pytest.fixture
def overdue(engine: Engine) -> StoreHarness:
    """Give a desk with an order that nobody has paid for, since long ago."""
    desk = StoreHarness(engine=engine, now=sample_commands.LONG_AGO)
    desk.admit()
    place(desk)
    return desk
