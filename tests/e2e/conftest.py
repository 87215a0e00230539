"""Fixtures: the whole pipeline, as `earnest up` starts it, for tests that knock from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from ops.local.up import Formation, command
from workers.queue.redis import connect
from workers.settings import Settings

PROGRAMS = ("migrate", "worker.1", "relay", "scheduler")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Formation]:
    """Run every process but the web server, with Redis and SQLite of their own."""
    settings = Settings.read({}, var=tmp_path_factory.mktemp("pipeline"))
    with Formation(
        settings, quiet=True, programs=[command(name) for name in PROGRAMS]
    ) as formation:
        yield formation


@pytest.fixture
def outside(pipeline: Formation) -> Iterator[redis.Redis]:
    """Give a connection to the pipeline's Redis."""
    client = connect(pipeline.settings.redis_url)
    yield client
    client.close()
