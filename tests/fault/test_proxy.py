"""Proxy tests: the network condition it makes is the one it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fault.processes.proxy import NetworkCondition, Proxy
from tests.support.concurrency import eventually
from workers.queue.redis import connect

pytestmark = pytest.mark.fault


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    client = redis.Redis(port=proxy.port, socket_timeout=2, retry=Retry(NoBackoff(), 0))
    yield client
    client.close()


@pytest.fixture
def direct_client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


def test_a_healthy_proxy_forwards_both_ways(
    client: redis.Redis, direct_client: redis.Redis
) -> None:
    client.set("a", "1")
    assert direct_client.get("a") == client.get("a") == b"1"


def test_a_proxy_that_drops_replies_still_forwards_requests(
    proxy: Proxy, client: redis.Redis, direct_client: redis.Redis
) -> None:
    client.ping()
    proxy.set_condition(NetworkCondition.DROP_REPLIES)
    with pytest.raises(redis.TimeoutError):
        client.set("a", "1")
    eventually(lambda: direct_client.get("a") == b"1")


def test_a_stalled_proxy_forwards_everything_later(
    proxy: Proxy, client: redis.Redis, direct_client: redis.Redis
) -> None:
    client.ping()
    proxy.set_condition(NetworkCondition.STALL)
    with pytest.raises(redis.TimeoutError):
        client.set("a", "1")
    assert direct_client.get("a") is None
    proxy.set_condition(NetworkCondition.HEALTHY)
    assert client.ping()


def test_a_proxy_that_resets_breaks_open_connections_and_new_ones(
    proxy: Proxy, client: redis.Redis
) -> None:
    client.ping()
    proxy.set_condition(NetworkCondition.RESET)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.set_condition(NetworkCondition.HEALTHY)
    assert client.ping()
