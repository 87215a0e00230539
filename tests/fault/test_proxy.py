"""Proxy tests: the network condition it makes is the one it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fault.processes.proxy import Proxy, Weather
from tests.support.concurrency import eventually
from workers.queue.redis import connect

pytestmark = pytest.mark.fault


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    client = redis.Redis(port=proxy.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
    yield client
    client.close()


@pytest.fixture
def behind(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


def test_fair_weather_carries_both_ways(client: redis.Redis, behind: redis.Redis) -> None:
    client.set("a", "1")
    assert behind.get("a") == client.get("a") == b"1"


def test_a_deaf_network_does_what_was_asked_and_says_nothing(
    proxy: Proxy, client: redis.Redis, behind: redis.Redis
) -> None:
    client.ping()
    proxy.turn(Weather.DEAF)
    with pytest.raises(redis.TimeoutError):
        client.set("a", "1")
    eventually(lambda: behind.get("a") == b"1")


def test_a_stalled_network_carries_everything_later(
    proxy: Proxy, client: redis.Redis, behind: redis.Redis
) -> None:
    client.ping()
    proxy.turn(Weather.STALL)
    with pytest.raises(redis.TimeoutError):
        client.set("a", "1")
    assert behind.get("a") is None
    proxy.turn(Weather.FAIR)
    assert client.ping()


def test_a_cut_resets_what_is_connected_and_what_tries(proxy: Proxy, client: redis.Redis) -> None:
    client.ping()
    proxy.turn(Weather.CUT)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.turn(Weather.FAIR)
    assert client.ping()
