"""Actors: what Dramatiq calls with a bundle of messages."""

from __future__ import annotations

import threading
from collections.abc import Callable

import dramatiq
import structlog

from models.errors import Unavailable
from workers.broker import EarnestBroker
from workers.envelope import ACTORS, Bundle
from workers.settle import Settler
from workers.turns import Received
from workers.wire import COMMANDS, WAKEUPS

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

Held = list[Received] | None

log = structlog.get_logger()


def declare_actors(broker: EarnestBroker, settler: Settler, stopping: threading.Event) -> None:
    """Declare the two actors: people's commands first, then the clock's wake-ups."""

    def settle(bundle: Bundle) -> None:
        commands = [command for delivery in bundle.deliveries for command in delivery.commands]
        order_ids = {order_id for delivery in bundle.deliveries for order_id in delivery.orders}
        deferred_commands = _persist(lambda: settler.settle(commands, sorted(order_ids)), stopping)
        if deferred_commands is not None:
            deferred_message_ids = {command.message_id for command in deferred_commands}
            bundle.settled = {
                delivery.message_id for delivery in bundle.deliveries
            } - deferred_message_ids

    for queue, priority in ((COMMANDS, 0), (WAKEUPS, 10)):
        name = ACTORS[queue]
        declare = dramatiq.actor(
            broker=broker, actor_name=name, queue_name=queue, priority=priority
        )
        declare(settle)


def _persist(settle: Callable[[], list[Received]], stopping: threading.Event) -> Held:
    """Settle, and while a server is away wait and try again: there is nothing better to do.

    Nothing is acknowledged meanwhile. Returns None when the process is asked to stop first.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return settle()
        except Unavailable as error:
            log.warning("settle.waiting", error=str(error)[:300], pause_s=pause_s)
        except Exception:
            log.exception("settle.failed", pause_s=pause_s)
        if stopping.wait(pause_s):
            return None
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
