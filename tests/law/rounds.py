"""Rounds: one campaign against one fresh pipeline, and what the checker makes of it."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from sqlalchemy import select

from ops.local.process import Program
from ops.web.auth import own_token
from tests.fault.processes.stack import ProcessStack, StackOptions
from tests.law.campaign import RATE, CampaignPlan
from tests.law.cast import POLICY, STEP
from tests.law.checker import LawDifference, find_differences
from tests.law.disturbances import POISONS, Disturbance, choose_disturbances
from tests.law.evidence import LoggedCommand, PipelineRecord, read_answered, read_record
from tests.law.sender import CampaignSender, GatewayClient
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import reading
from workers.processing.wakeups import WAKEABLE_KEYS
from workers.queue.redis import COMMANDS, Keys, connect
from workers.timestamps import SECOND_US, now_us

OPPOSED_WITHIN_US = 10_000
"""How near to each other opponents must be stamped to count as opposed."""

MAX_WORKERS = 6
DRAIN_TIMEOUT_S = 180.0
"""How long what was sent may take to be settled, poison and frozen workers included."""

ANSWER_TIMEOUT_S = 15.0
"""How long what is in no queue may still wait for an answer, before it counts as lost."""

REST_TIMEOUT_S = 60.0
REST_HORIZON_US = 60 * SECOND_US
"""At rest nothing is due for so long: wherever the run is cut, both sides have the same behind it.

Longer than the lease of a wake-up, shorter than anything that waits for days.
"""

POLL_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """One round: what chance begins with, how much is sent, to what, and what is done to it.

    `workers` None: as many as chance says. `control` replaces a part of every worker.
    """

    seed: int
    command_count: int
    database: str
    workers: int | None = None
    has_faults: bool = False
    control: str | None = None
    rate: int = RATE


@dataclass(slots=True)
class RoundResult:
    """What a round came to: a row of the table, and of the JSON.

    Of `counted` submissions so many were `opposed`: what was sent again is only in `commands`.
    """

    database: str
    seed: int
    workers: int
    disturbances: list[str]
    commands: int = 0
    opposed: int = 0
    counted: int = 0
    dead_letters: int = 0
    differences: list[LawDifference] = field(default_factory=list)
    traffic_s: float = 0.0
    rest_s: float = 0.0
    check_s: float = 0.0

    @property
    def difference_counts(self) -> Counter[str]:
        return Counter(difference.kind for difference in self.differences)


def run_round(options: RoundOptions, folder: Path) -> RoundResult:
    """Send a campaign to a fresh pipeline, let it come to rest, and hold it against the law."""
    rng = Random(f"round {options.seed} {options.database}")  # noqa: S311
    drawn_workers, has_gateway = rng.randint(1, MAX_WORKERS), rng.random() < 0.5
    disturbances = choose_disturbances(rng) if options.has_faults else []
    plan = CampaignPlan(
        options.seed,
        options.command_count,
        has_gateway,
        options.rate,
        broken=10 if "broken" in disturbances else 0,
        deadly=1 if "deadly" in disturbances else 0,
    )
    workers = options.workers or drawn_workers
    result = RoundResult(options.database, options.seed, workers, disturbances)
    stack_options = StackOptions(
        workers=workers,
        webs=int(has_gateway),
        policy=POLICY,
        replace_program=lambda program: _replace_worker(program, options),
    )
    with ProcessStack(folder, options.database, stack_options, options.seed) as stack:
        log, record = _drive(stack, plan, disturbances, rng, result)
    began_at = time.monotonic()
    result.commands, result.dead_letters = len(record.outcomes), len(record.dead_ids)
    result.opposed, result.counted = count_opposed(record, log)
    result.differences = find_differences(record, log, POLICY)
    result.check_s = time.monotonic() - began_at
    return result


def _replace_worker(program: Program, options: RoundOptions) -> Program:
    """Start another program in a worker's place, where a part of it is to be replaced."""
    if program.kind != "worker" or not (options.has_faults or options.control):
        return program
    argv = (sys.executable, "-P", "-m", "tests.law.controls.worker", options.control or "")
    return replace(program, argv=argv)


def _drive(
    stack: ProcessStack,
    plan: CampaignPlan,
    disturbances: Sequence[str],
    rng: Random,
    result: RoundResult,
) -> tuple[list[LoggedCommand], PipelineRecord]:
    """Send everything, disturb it, wait until it is at rest, and read what became of it."""
    began_at = time.monotonic()
    with ExitStack() as exit_stack:
        client = CommandClient(exit_stack.enter_context(connect(stack.settings.redis_url)))
        sender = exit_stack.enter_context(
            CampaignSender(
                client, _gateway(stack), lambda: count_unsettled(stack), plan.command_count
            )
        )
        actions = [name for name in disturbances if name not in POISONS]
        disturbance = Disturbance(stack, sender, rng, actions)
        disturbance.start()
        _send_campaign(sender, plan)
        disturbance.campaign_over.set()
        disturbance.join()
        result.traffic_s = time.monotonic() - began_at
        # What was lost once may be lost again only by another wipe.
        for _ in range(1 + len(disturbance.wiped_us)):
            if lost := _wait_for_answers(stack, sender):
                sender.send_again(lost)
        wait_for(lambda: is_drained(stack), DRAIN_TIMEOUT_S)
        wait_for(lambda: is_at_rest(stack), REST_TIMEOUT_S)
        result.rest_s = time.monotonic() - began_at - result.traffic_s
        record = read_record(stack.engine, now_us(), disturbance.wiped_us)
    return sender.log, record


def _wait_for_answers(stack: ProcessStack, sender: CampaignSender) -> list[LoggedCommand]:
    """Wait until nothing is to be settled, and a moment more for what waits for an order.

    Returns what was not answered.
    """
    wait_for(lambda: is_drained(stack), DRAIN_TIMEOUT_S)

    def find_unanswered() -> list[LoggedCommand]:
        return list(sender.find_unanswered(read_answered(stack.engine), now_us()).values())

    wait_for(lambda: not find_unanswered(), ANSWER_TIMEOUT_S, pause_s=1.0)
    return find_unanswered()


def _gateway(stack: ProcessStack) -> GatewayClient | None:
    if not stack.options.webs:
        return None
    address = json.loads((stack.folder / "web.json").read_text())
    return GatewayClient(address["url"], own_token(stack.folder))


def _send_campaign(sender: CampaignSender, plan: CampaignPlan) -> None:
    """Send a salvo a step, or as soon after it as the pipeline has room for more."""
    next_at = time.monotonic()
    for salvo in plan.salvos():
        sender.stopping.wait(max(0.0, next_at - time.monotonic()))
        next_at = time.monotonic() + STEP.total_seconds()
        sender.send(salvo, until=now_us() + DRAIN_TIMEOUT_S * SECOND_US)


def wait_for(
    condition: Callable[[], bool], timeout_s: float, pause_s: float = POLL_INTERVAL_S
) -> None:
    """Poll until something is so, or its time is over: the checker says what is missing then."""
    until = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < until:
        time.sleep(pause_s)


def count_unsettled(stack: ProcessStack) -> int:
    """Count the messages that are not settled, waiting or in hand."""
    return int(stack.redis_client.hlen(Keys(COMMANDS).messages))


def is_drained(stack: ProcessStack) -> bool:
    """Tell whether nothing waits to be settled: in Redis, in the inbox, or for a placement."""
    if count_unsettled(stack):
        return False
    with reading(stack.engine) as connection:
        looks = (select(table.c.stamp).limit(1) for table in (schema.inbox, schema.parked))
        return not any(connection.execute(look).first() for look in looks)


def is_at_rest(stack: ProcessStack) -> bool:
    """Tell whether nothing is due for a while."""
    until_us = now_us() + REST_HORIZON_US
    with reading(stack.engine) as connection:
        looks = (
            select(key).where(key.table.c.wake_at < until_us).limit(1) for _, key in WAKEABLE_KEYS
        )
        return not any(connection.execute(look).first() for look in looks)


def count_opposed(record: PipelineRecord, log: Sequence[LoggedCommand]) -> tuple[int, int]:
    """Count the settled submissions that have an opponent stamped within 10 ms elsewhere, and all.

    Elsewhere is in another message. What was sent again is not counted.
    """
    stamps_by_id: dict[str | None, list[int]] = defaultdict(list)
    for outcome in record.outcomes:
        stamps_by_id[outcome.key[1]].append(outcome.stamp)
    members_by_exchange: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for command in log:
        stamps = stamps_by_id[command.command_id]
        # The gateway does not say the stamp; an id that was sent once has only one.
        stamp = stamps[0] if command.stamp is None and len(stamps) == 1 else command.stamp
        if command.exchange >= 0 and stamp in stamps:
            members_by_exchange[command.exchange].append((command.message, stamp))
    opposed = sum(
        any(
            other_message != message and abs(other_stamp - stamp) <= OPPOSED_WITHIN_US
            for other_message, other_stamp in members
        )
        for members in members_by_exchange.values()
        for message, stamp in members
    )
    return opposed, sum(map(len, members_by_exchange.values()))
