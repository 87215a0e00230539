"""Stock Dramatiq: its own Redis broker, as those use it who know nothing of ours."""

from __future__ import annotations

from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from workers.queue.redis import COMMANDS, NAMESPACE


def stock_broker(client: redis.Redis, *, namespace: str = NAMESPACE, **options: int) -> RedisBroker:
    """Return a broker as it comes, with all of its middleware."""
    options.setdefault("maintenance_chance", 1_000_000)
    broker: RedisBroker = RedisBroker(client=client, namespace=namespace, **options)  # type: ignore[no-untyped-call]
    return broker


def settle_commands_of(broker: RedisBroker) -> dramatiq.Actor[Any, Any]:
    """Declare our actor as a sender does: by its names."""

    def settle_commands(commands: list[object]) -> None:
        raise AssertionError(commands)

    return dramatiq.actor(broker=broker, queue_name=COMMANDS, actor_name="settle_commands")(
        settle_commands
    )
