"""Campaign: many casts at once, their exchanges dealt out to messages of every size, by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from tests.law.cast import STEP, CommandBody, Exchange, write_cast

EntryDoor = Literal["redis", "http"]

SizeTable = tuple[tuple[int, int], ...]

SIZES: SizeTable = ((8, 1), (4, 2), (4, 10), (2, 100))
"""Weights, and how many commands a message carries beside which the opponents are sent."""

FIRST_SIZES: SizeTable = ((1, 1), (1, 100), (2, 400))
"""The same for the first message of a step, when there are opponents enough for a long one."""

OPPONENT_SIZES: SizeTable = ((8, 1), (3, 2), (3, 10), (1, 100))
"""The same for the messages just before and after it, which carry the opponents, in one call each:
within 10 ms there is no time for many calls."""

SHARE_SHUFFLED = 0.5
"""How many exchanges come in any order; the others as they are written, which often makes sense."""

COMMANDS_A_CAST = 125
RATE = 1_000
"""Commands a second, if they are settled so fast."""

SHARE_HTTP, MAX_HTTP_COMMANDS = 0.15, 500
MAX_POISONED, SHARE_POISONED = 10, 0.1
POISON_PREFIXES = ("broken-", "deadly-")
"""How the ids of commands begin of which judging fails, or of which a worker dies."""


@dataclass(frozen=True, slots=True)
class DealtCommand:
    """A command, and the number of the exchange that it belongs to."""

    body: CommandBody
    exchange: int


@dataclass(frozen=True, slots=True)
class DealtCall:
    """What is sent at once through one door: in messages of so many, by HTTP in one request."""

    door: EntryDoor
    per_message: int
    commands: tuple[DealtCommand, ...]


Salvo = tuple[DealtCall, ...]
"""The calls of one step, in the order of sending."""


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """What chance begins with, how many commands there are at least, and what is special.

    `rate` is how many there are to be in a second, where all goes well. `broken` and `deadly` are
    how many cannot be judged, and kill whoever judges them.
    """

    seed: int
    command_count: int
    has_gateway: bool = False
    rate: int = RATE
    broken: int = 0
    deadly: int = 0

    def salvos(self) -> Iterator[Salvo]:
        """Give the calls of each step; the same plan gives the same."""
        rng = Random(f"campaign {self.seed}")  # noqa: S311
        poison = [POISON_PREFIXES[0]] * self.broken + [POISON_PREFIXES[1]] * self.deadly
        exchange_number = 0
        for exchanges in self._steps():
            deck = [
                tuple(DealtCommand(body, number) for body in exchange)
                for number, exchange in enumerate(exchanges, exchange_number)
            ]
            exchange_number += len(exchanges)
            rng.shuffle(deck)
            yield tuple(_poison_some(self._deal(deck, rng), poison, rng))

    def _steps(self) -> Iterator[list[Exchange]]:
        """Give all exchanges of each step, from every cast that lives then."""
        living: list[Iterator[list[Exchange]]] = []
        casts_a_step = max(1, round(self.rate * STEP.total_seconds() / COMMANDS_A_CAST))
        cast_number = begun_count = 0
        while True:
            for _ in range(casts_a_step):
                if begun_count < self.command_count:
                    steps = write_cast(self.seed, cast_number)
                    begun_count += sum(len(exchange) for step in steps for exchange in step)
                    living.append(iter(steps))
                    cast_number += 1
            exchanges: list[Exchange] = []
            for steps_left in tuple(living):
                step = next(steps_left, None)
                if step is None:
                    living.remove(steps_left)
                else:
                    exchanges += step
            if not living:
                return
            yield exchanges

    def _deal(self, deck: list[tuple[DealtCommand, ...]], rng: Random) -> Iterator[DealtCall]:
        """Deal exchanges out: one side into a message, the others right before and after it."""
        sizes = FIRST_SIZES
        while deck:
            size, sizes = _choose(rng, sizes), SIZES
            before: list[DealtCommand] = []
            beside: list[DealtCommand] = []
            after: list[DealtCommand] = []
            while deck and len(beside) < size:
                exchange = deck.pop()
                if rng.random() < SHARE_SHUFFLED:
                    exchange = tuple(rng.sample(exchange, len(exchange)))
                place = rng.randrange(len(exchange))
                before += exchange[:place]
                beside.append(exchange[place])
                after += exchange[place + 1 :]
            if before:
                yield self._call(before, _choose(rng, OPPONENT_SIZES), rng)
            yield self._call(beside, size, rng)
            if after:
                yield self._call(after, _choose(rng, OPPONENT_SIZES), rng)

    def _call(self, commands: list[DealtCommand], per_message: int, rng: Random) -> DealtCall:
        is_by_http = self.has_gateway and rng.random() < SHARE_HTTP
        # The gateway refuses a request with such a command whole, and one with too many.
        is_acceptable = len(commands) <= MAX_HTTP_COMMANDS and not any(
            "malformed" in command.body for command in commands
        )
        door: EntryDoor = "http" if is_by_http and is_acceptable else "redis"
        return DealtCall(door, per_message, tuple(commands))


def _choose(rng: Random, sizes: SizeTable) -> int:
    weights, values = zip(*sizes, strict=True)
    return int(rng.choices(values, weights)[0])


def _poison_some(calls: Iterator[DealtCall], poison: list[str], rng: Random) -> Iterator[DealtCall]:
    """Let a command of some calls fail that an order judges.

    Only of short messages: after two deaths every command of one is judged alone.
    """
    for call in calls:
        first, *others = call.commands
        is_judged_by_order = "order_id" in first.body and first.body["kind"] != "place_order"
        is_chosen = poison and is_judged_by_order and call.per_message <= MAX_POISONED
        if is_chosen and rng.random() < SHARE_POISONED:
            body = first.body | {"id": f"{poison.pop()}{first.body['id']}"}
            yield replace(call, commands=(replace(first, body=body), *others))
        else:
            yield call
