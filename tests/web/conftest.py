"""Fixtures: a web process's application over real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.gateway_harness import GatewayHarness
from workers.database.engine import open_database
from workers.queue.redis import connect
from workers.settings import Settings


@pytest.fixture
def gateway(migrated_url: str, redis_url: str, tmp_path: Path) -> Iterator[GatewayHarness]:
    """Give prepared servers, and nothing served yet."""
    settings = Settings.read({}, var=tmp_path, database_url=migrated_url, redis_url=redis_url)
    engine, client = open_database(migrated_url), connect(redis_url)
    harness = GatewayHarness(settings=settings, engine=engine, redis_client=client)
    with harness.exit_stack:
        yield harness
    engine.dispose()
    client.close()
