"""Forged scores: whoever writes to the queue's keys what no stamp can be hurts nobody."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import Engine

from tests.support.broker_harness import BrokerHarness, commands_of, message_text
from tests.support.sample_commands import registration
from workers.client import CommandClient
from workers.queries import monitoring
from workers.queue.frontier import Frontier
from workers.queue.redis import COMMANDS, MAX_ITEMS, Keys, Scripts
from workers.queue.watermark import ArrivalClock

KEYS = Keys(COMMANDS)

FORGED_SCORES = ("-inf", "inf", "-5", "0.5", "1.5", "1e300", "-1e300", "9007199254740993")


def write_forged(client: redis.Redis, score: str, *, waiting: bool) -> None:
    client.hset(KEYS.messages, "forged", message_text(kwargs={"commands": [registration(7)]}))
    client.execute_command("ZADD", KEYS.pending, score, "forged")  # type: ignore[no-untyped-call]
    if waiting:
        client.rpush(KEYS.waiting, "forged")


@pytest.mark.parametrize("score", FORGED_SCORES)
def test_others_can_look_past_a_message_whose_score_is_no_stamp(
    sqlite_engine: Engine, redis_client: redis.Redis, score: str
) -> None:
    (stamp,) = CommandClient(redis_client).submit_many([registration(1)])
    write_forged(redis_client, score, waiting=True)
    clock = ArrivalClock(redis_client, sqlite_engine)
    assert isinstance(clock.frontier({}, before=stamp), Frontier)
    assert isinstance(clock.wakeup_frontier(), Frontier)
    assert monitoring.queue_status(sqlite_engine, redis_client)["redis"] == "up"


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "lost"])
@pytest.mark.parametrize("score", FORGED_SCORES)
def test_a_message_whose_score_is_no_stamp_is_settled_under_a_stamp_of_ours(
    redis_client: redis.Redis, score: str, *, waiting: bool
) -> None:
    (before,) = CommandClient(redis_client).submit_many([registration(1)])
    write_forged(redis_client, score, waiting=waiting)
    Scripts(redis_client).mend(KEYS, thoroughly=True)
    harness = BrokerHarness(redis_client)
    message = harness.take()
    stamps = {command.text: command.stamp for command in commands_of(message)}
    assert stamps[registration(1)] == before
    assert 0 <= stamps[registration(7)] <= before + MAX_ITEMS + 60_000_000
