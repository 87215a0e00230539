"""Fixtures: the whole pipeline, as `earnest up` starts it, for tests that come from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from ops.local.up import LocalStack, earnest_program
from workers.queue.redis import connect
from workers.settings import Settings

PROGRAMS = ("migrate", "worker.1", "relay", "scheduler")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run every process but the web server, with Redis and SQLite of their own."""
    settings = Settings.read({}, var=tmp_path_factory.mktemp("pipeline"))
    with LocalStack(
        settings, quiet=True, programs=[earnest_program(name) for name in PROGRAMS]
    ) as local_stack:
        yield local_stack


@pytest.fixture
def pipeline_redis(pipeline: LocalStack) -> Iterator[redis.Redis]:
    """Give a connection to the pipeline's Redis."""
    client = connect(pipeline.settings.redis_url)
    yield client
    client.close()
