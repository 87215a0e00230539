"""Fixtures: an order whose deadline has passed before the scheduler looks."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support import sample_commands
from tests.support.store_harness import StoreHarness
from tests.support.stories import place


@pytest.fixture
def overdue(engine: Engine) -> StoreHarness:
    """Give a store harness with an order that has waited for its deposit since long ago."""
    harness = StoreHarness(engine=engine, now=sample_commands.LONG_AGO)
    harness.admit()
    place(harness)
    return harness
