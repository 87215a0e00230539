"""Noisy neighbours: what people wait beside one client, creator, payment, message or order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench import workload
from bench.measures.latency import people, percentile, ready_client
from bench.servers import BenchServers, process_command, running_servers, wait_until_empty
from models.money import deposit, total
from ops.terminal import Progress
from workers.client import CommandClient
from workers.queue.messages import MAX_MESSAGE_BYTES, wrap
from workers.queue.redis import COMMANDS, Keys, Scripts

PEOPLE_PER_S, PEOPLE_FROM = 100, 10_000_000
"""How many orders people place a second, and from which number on."""

COMMANDS_PER_S = 500
"""How many commands a second come from, or are about, the same client, creator or order."""

PAID_AT_ONCE = 50
"""Orders that one payment is for."""

BRIEF_LENGTH = 4_500

CREATOR, CLIENT = "k_noisy", "c_noisy"

FIRST_DAY = datetime(2099, 1, 1, tzinfo=UTC)

COLUMNS = ("people", "p50_ms", "p99_ms", "max_ms", "noise")


@dataclass(frozen=True, slots=True)
class NoisyNeighbour:
    """What comes in a second, by its number, in how few messages; `before` is settled first.

    Where a second's commands take longer than a second to settle, they come every few seconds: all
    of them together are not to be more than two cores can do.
    """

    name: str
    commands_of: Callable[[int], list[str]]
    before: Callable[[int], list[str]] = lambda _: []
    per_message: int = 1
    every_s: int = 1


def figures(database: str, seconds: int) -> dict[str, dict[str, float]]:
    """Let people place orders beside each noisy neighbour for so long; their waits, in ms.

    A wait is from when the command was due to be sent to its published outcome; `noise` counts the
    commands of the neighbour.
    """
    results: dict[str, dict[str, float]] = {}
    with (
        running_servers(database) as servers,
        servers.running(*map(process_command, ("worker", "worker", "relay", "scheduler"))),
    ):
        client = ready_client(servers)
        client.submit(workload.registration(CREATOR))
        for number, neighbour in enumerate(NEIGHBOURS):
            results[neighbour.name] = measure(servers, client, neighbour, seconds, number)
    return results


def measure(
    servers: BenchServers,
    client: CommandClient,
    neighbour: NoisyNeighbour,
    seconds: int,
    number: int,
) -> dict[str, float]:
    """Let people wait beside one neighbour, whose commands come all at once, again and again."""
    client.submit_many(neighbour.before(seconds))
    wait_until_empty(lambda: servers.count_messages(Keys(COMMANDS).messages))
    noise_count = 0
    with (
        people(servers, PEOPLE_PER_S, first=PEOPLE_FROM * (number + 1)) as recorder,
        Progress(f"seconds beside {neighbour.name}", seconds) as progress,
    ):
        began_at = time.monotonic()
        for second in range(seconds):
            commands = [] if second % neighbour.every_s else neighbour.commands_of(second)
            time.sleep(max(0.0, began_at + second - time.monotonic()))
            hand_in(servers, client, commands, neighbour.per_message)
            noise_count += len(commands)
            progress.add(1)
        time.sleep(max(0.0, began_at + seconds - time.monotonic()))
    waits = recorder.milliseconds()
    return {
        "people": len(waits),
        "p50_ms": round(percentile(waits, 50), 1),
        "p99_ms": round(percentile(waits, 99), 1),
        "max_ms": round(waits[-1], 1),
        "noise": noise_count,
    }


def hand_in(
    servers: BenchServers, client: CommandClient, commands: list[str], per_message: int
) -> None:
    """Hand commands in, all in one message where they are to be: the client would divide them."""
    if per_message == 1:
        client.submit_many(commands, per_message=1)
    elif commands:
        Scripts(servers.redis).enqueue(Keys(COMMANDS), [wrap(COMMANDS, commands)])


def of_one_client(second: int) -> list[str]:
    """Place orders and leave them, all of one client."""
    order_ids = (f"client_{second}_{n}" for n in range(COMMANDS_PER_S // 2))
    return [text for order_id in order_ids for text in (place(order_id), cancel(order_id))]


def of_one_creator(second: int) -> list[str]:
    """Place orders with one creator, whose name and contract are changed all the time."""
    texts: list[str] = []
    for n in range(COMMANDS_PER_S // 2):
        # Clients of their own: it is the creator who is in the way.
        texts.append(place(f"creator_{second}_{n}", client_id=f"c_{second}_{n}"))
        texts.append(register(f"{second}_{n}"))
    return texts


def of_one_payment(second: int) -> list[str]:
    """Pay for many orders at once."""
    amount_fen = deposit(total(workload.AMOUNT_FEN, 500), 1_000)
    return [
        workload.command_text(
            id=f"paid_{second}",
            kind="confirm_payment",
            by={"role": "payments", "id": "psp"},
            payment_id=f"noisy_{second}",
            paid_at=datetime.now(UTC).isoformat(),
            amount_fen=PAID_AT_ONCE * amount_fen,
            shares=[
                {"order_id": order_id, "amount_fen": amount_fen} for order_id in paid_orders(second)
            ],
        )
    ]


def orders_to_pay(seconds: int) -> list[str]:
    """Place what is paid for later, second by second."""
    return [
        place(order_id, client_id=f"c_payer_{second}")
        for second in range(seconds)
        for order_id in paid_orders(second)
    ]


def paid_orders(second: int) -> list[str]:
    """Name the orders that a second's payment is for."""
    return [f"paid_{second}_{n}" for n in range(PAID_AT_ONCE)]


def of_one_message(second: int) -> list[str]:
    """Fill one message with placements, up to the most bytes that it may have."""
    return list(_filling(second))


def of_one_long_message(second: int) -> list[str]:
    """Fill one message with so much that it is quarantined."""
    return [*_filling(second), *_filling(second)]


def _filling(second: int) -> Iterator[str]:
    length = 0
    for n in range(1_000):
        text = place(f"big_{second}_{n}", client_id=f"c_{n}", brief="x" * BRIEF_LENGTH)
        # In a message a command is a text, and a comma follows it.
        length += len(json.dumps(text)) + len(", ")
        if length > MAX_MESSAGE_BYTES - 1_000:
            return
        yield text


def of_one_order(second: int) -> list[str]:
    """Propose another day for one and the same order, again and again."""
    return [
        workload.command_text(
            id=f"propose_{second}_{n}",
            kind="propose_schedule",
            by={"role": "client", "id": CLIENT},
            order_id="one_order",
            expected_publish_at=(FIRST_DAY + timedelta(days=n)).isoformat(),
        )
        for n in range(COMMANDS_PER_S)
    ]


def place(order_id: str, client_id: str = CLIENT, brief: str = "15秒以上") -> str:
    """Place an order with the creator of all this."""
    return workload.command_text(
        id=f"place_{order_id}",
        kind="place_order",
        by={"role": "client", "id": client_id},
        order_id=order_id,
        creator_id=CREATOR,
        name="新品",
        task_type="douyin_video",
        industry="美妆",
        brief=brief,
        amount_fen=workload.AMOUNT_FEN,
        prepay_deposit=True,
    )


def cancel(order_id: str) -> str:
    """Leave an order before anything is paid."""
    return workload.command_text(
        id=f"cancel_{order_id}",
        kind="cancel_order",
        by={"role": "client", "id": CLIENT},
        order_id=order_id,
    )


def register(name: str) -> str:
    """Register the creator anew, under another name."""
    return workload.command_text(
        id=f"register_{name}",
        kind="register_creator",
        by={"role": "platform", "id": "bench"},
        creator_id=CREATOR,
        name=name,
        contract="direct",
    )


NEIGHBOURS = (
    NoisyNeighbour("nobody", lambda _: []),
    NoisyNeighbour("one client", of_one_client),
    NoisyNeighbour("one creator", of_one_creator),
    NoisyNeighbour("one payment of 50 orders", of_one_payment, orders_to_pay),
    NoisyNeighbour("one message of 4 MiB", of_one_message, per_message=1_000, every_s=5),
    NoisyNeighbour(
        "one message that is too long", of_one_long_message, per_message=1_000, every_s=5
    ),
    NoisyNeighbour("one order", of_one_order, lambda _: [place("one_order")]),
)
