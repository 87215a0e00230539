"""Faults: what is done to a running Earnest on purpose, and the scenarios that do it."""

from __future__ import annotations

import resource
import signal
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, TypedDict

from ops.local.process import Program
from tests.fault.bad_messages import all_bad_messages
from tests.fault.processes.order_lives import PlannedCommand
from tests.fault.processes.proxy import NetworkCondition
from tests.fault.processes.stack import FaultStack, StackOptions, empty_redis, kill_postgres
from tests.fault.strangers import (
    deadlock,
    flood_unsigned,
    hog_processors,
    hold_rows,
    lock_sqlite,
)
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import SECOND_US, now_us

FaultAction = Callable[[FaultStack, Random], None]
TrialUnit = Literal["faults", "commands", "deadlines"]


class TrialCounting(TypedDict):
    """How trials are counted where one fault meets many commands or deadlines."""

    trials: int
    counted: TrialUnit


RESEND_US = 2 * SECOND_US
DATABASE_KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class FaultScenario:
    """One kind of fault under load; `pause_s` is the pause between two faults, least and most.

    `counted` is what a trial is: each fault, or each command, or each deadline, that met one.
    """

    name: str
    inject: FaultAction
    options: StackOptions = StackOptions()  # noqa: RUF009 - frozen
    pause_s: tuple[float, float] = (0.3, 1.0)
    databases: tuple[str, ...] = DATABASE_KINDS
    trials: int = 20
    counted: TrialUnit = "faults"

    def with_burst_size(self, burst_size: int) -> FaultScenario:
        """Return the same with another number of orders due at once, if it has any."""
        if not self.options.burst_size:
            return self
        return replace(self, options=replace(self.options, burst_size=burst_size))


def kill_one_of(kind: str) -> FaultAction:
    """Kill one process of a kind, whichever runs."""

    def inject(stack: FaultStack, rng: Random) -> None:
        names = [name for name in stack.local_stack.pids() if name.partition(".")[0] == kind]
        if names:
            stack.signal_process(rng.choice(names))

    return inject


def kill_database(stack: FaultStack, _: Random) -> None:
    """Kill PostgreSQL and start it again."""
    if stack.postgres is not None:
        kill_postgres(stack.postgres)


def messages_in_flight(stack: FaultStack) -> set[bytes]:
    """Return the ids of messages that are taken and not settled: a worker holds none for long."""
    message_ids: set[bytes] = set()
    keys: Any = stack.redis_client.keys(Keys(COMMANDS).taken("*"))
    for key in keys:
        members: Any = stack.redis_client.smembers(key)
        message_ids |= members
    return message_ids


MAX_ATTEMPTS = 300

FREEZE_S = 17.0
"""Longer than a worker's heartbeat, which is 15 s."""


def freeze_worker(stack: FaultStack, rng: Random) -> None:
    """Stop a worker with messages in hand for longer than its lease; then let it go on."""
    name = rng.choice(["worker.1", "worker.2"])
    for _ in range(MAX_ATTEMPTS):
        stack.signal_process(name, signal.SIGSTOP)
        stack.sender.stopping.wait(0.1)
        before = messages_in_flight(stack)
        stack.sender.stopping.wait(0.3)
        if before & messages_in_flight(stack):
            stack.sender.stopping.wait(FREEZE_S)
            stack.signal_process(name, signal.SIGCONT)
            return
        stack.signal_process(name, signal.SIGCONT)
        stack.sender.stopping.wait(rng.uniform(0.01, 0.05))
    raise AssertionError(f"{name} was never found with anything in hand")


def freeze_relay(stack: FaultStack, rng: Random) -> None:
    """Stop one of two relays for longer than its lease."""
    name = rng.choice(["relay.1", "relay.2"])
    if stack.signal_process(name, signal.SIGSTOP):
        stack.sender.stopping.wait(12.0)
        stack.signal_process(name, signal.SIGCONT)


def flush_redis(stack: FaultStack, _: Random) -> None:
    """Empty Redis while everybody uses it."""
    stack.redis_client.flushall()
    stack.wiped_us.append(now_us())


def restart_redis_empty(stack: FaultStack, _: Random) -> None:
    """Kill Redis and let it come back with nothing."""
    empty_redis(stack)
    stack.wiped_us.append(now_us())


def disturb_network(condition: NetworkCondition, max_duration_s: float) -> FaultAction:
    """Let the network be bad between the processes and one of the servers."""

    def inject(stack: FaultStack, rng: Random) -> None:
        proxy = stack.proxies[rng.choice(sorted(stack.proxies))]
        proxy.set_condition(condition)
        stack.sender.stopping.wait(rng.uniform(0.1, max_duration_s))
        proxy.set_condition(NetworkCondition.HEALTHY)

    return inject


def scheduler_outage(stack: FaultStack, rng: Random) -> None:
    """Keep every scheduler down for a while: deadlines pass unnoticed."""
    for _ in range(6):
        stack.signal_process("scheduler.1")
        stack.sender.stopping.wait(rng.uniform(0.4, 0.8))


DISK_FULL_LIMIT = (4_096, resource.RLIM_INFINITY)


def fill_disk(stack: FaultStack, rng: Random) -> None:
    """Let no file of the workers, the relay or the scheduler grow, for a moment."""
    pids = [pid for name, pid in stack.local_stack.pids().items() if name != "redis"]
    for limit in (DISK_FULL_LIMIT, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        stack.sender.stopping.wait(rng.uniform(0.2, 1.0))


def send_bad_message(stack: FaultStack, rng: Random) -> None:
    """Put the next bad message among the good ones."""
    bad_messages = all_bad_messages()
    number = stack.bad_message_count
    stack.bad_message_count += 1
    round_number, index = divmod(number, len(bad_messages))
    bad_messages[index].send(stack.redis_client, number, stamped=round_number % 2 == 0)
    stack.sender.stopping.wait(rng.uniform(0.0, 0.05))


def repeat_everything(stack: FaultStack, _: Random) -> None:
    """Send every command of the past once more."""
    latest = {submission.key: submission for submission in stack.sender.log}
    stack.sender.send(
        [PlannedCommand(submission.key, submission.text) for submission in list(latest.values())]
    )


def any_of(*actions: FaultAction) -> FaultAction:
    """Do one of several things, by chance."""

    def inject(stack: FaultStack, rng: Random) -> None:
        rng.choice(actions)(stack, rng)

    return inject


def no_action(_: FaultStack, __: Random) -> None:
    """Let the options of the stack be the fault: it is there from the beginning."""


def with_wrong_clock(name: str, seconds: int) -> Callable[[Program], Program]:
    """Start one process with its wall clock moved."""

    def replace_clock(program: Program) -> Program:
        if program.name != name:
            return program
        shifted_clock = "tests.fault.processes.shifted_clock"
        argv = (*program.argv[:3], shifted_clock, str(seconds), *program.argv[4:])
        return replace(program, argv=argv)

    return replace_clock


def wrong_clock_scenario(name: str, seconds: int) -> FaultScenario:
    """Run one process with its wall clock moved by some seconds, all the time."""
    # Two schedulers even where a worker is wrong: so there is always one that is right.
    options = StackOptions(
        replace_program=with_wrong_clock(name, seconds), has_wrong_clock=True, schedulers=2
    )
    title = f"clock of {name} {seconds // 3600:+d} h"
    return FaultScenario(title, no_action, options, pause_s=(6.0, 6.0), **COUNT_COMMANDS)


def deadline_burst_scenario(schedulers: int) -> FaultScenario:
    """Let thousands of deadlines pass at once, under several schedulers."""
    title = f"{schedulers} schedulers, a crowd due at once"
    return FaultScenario(
        title,
        no_action,
        StackOptions(schedulers=schedulers, burst_size=BURST_SIZE),
        PAUSE_S,
        **COUNT_DEADLINES,
    )


RESENDING = StackOptions(resend_us=RESEND_US)
PROXIED = StackOptions(proxied=True)
SIGNED = StackOptions(signing_keys=f"k1:{b64encode(bytes(32)).decode()}")
POSTGRESQL = ("postgresql",)
LONG_PAUSE_S = (8.0, 8.0)
PAUSE_S = (5.0, 5.0)
COUNT_COMMANDS: TrialCounting = {"trials": 1, "counted": "commands"}
COUNT_DEADLINES: TrialCounting = {"trials": 1, "counted": "deadlines"}
BURST_SIZE = 3_000

FAULT_SCENARIOS = (
    FaultScenario("kill -9 a worker", kill_one_of("worker"), trials=25),
    FaultScenario("kill -9 the scheduler", kill_one_of("scheduler"), trials=15),
    FaultScenario("kill -9 the relay", kill_one_of("relay"), trials=15),
    FaultScenario("kill -9 Redis", kill_one_of("redis"), trials=12),
    FaultScenario("kill -9 PostgreSQL", kill_database, databases=("postgresql",), trials=10),
    FaultScenario("freeze a worker 17 s", freeze_worker, trials=2),
    FaultScenario("freeze a relay 12 s", freeze_relay, StackOptions(relays=2), trials=2),
    FaultScenario("scheduler outage", scheduler_outage, trials=4),
    FaultScenario("FLUSHALL", flush_redis, RESENDING, (0.5, 2.0), trials=12),
    FaultScenario("empty restart of Redis", restart_redis_empty, RESENDING, (0.5, 2.0), trials=6),
    FaultScenario(
        "network stalls", disturb_network(NetworkCondition.STALL, 2.0), PROXIED, trials=8
    ),
    FaultScenario(
        "network drops replies",
        disturb_network(NetworkCondition.DROP_REPLIES, 0.6),
        PROXIED,
        trials=15,
    ),
    FaultScenario(
        "network resets", disturb_network(NetworkCondition.RESET, 0.5), PROXIED, trials=20
    ),
    FaultScenario(
        "each five times, once more later",
        repeat_everything,
        StackOptions(copies=5),
        LONG_PAUSE_S,
        **COUNT_COMMANDS,
    ),
    FaultScenario(
        "any order: paid before placed",
        no_action,
        StackOptions(backwards=True),
        LONG_PAUSE_S,
        **COUNT_COMMANDS,
    ),
    deadline_burst_scenario(2),
    deadline_burst_scenario(5),
    FaultScenario("bad messages", send_bad_message, pause_s=(0.0, 0.1), trials=160),
    wrong_clock_scenario("worker.1", 3_600),
    wrong_clock_scenario("worker.1", -3_600),
    wrong_clock_scenario("scheduler.1", 3_600),
    wrong_clock_scenario("scheduler.1", -3_600),
    FaultScenario("disk full", fill_disk, databases=("sqlite",), trials=8),
    FaultScenario("a session holds an order's row", hold_rows(1), databases=POSTGRESQL, trials=6),
    FaultScenario("a session holds ten rows", hold_rows(10), databases=POSTGRESQL, trials=6),
    FaultScenario("deadlocks", deadlock, databases=POSTGRESQL, trials=3),
    FaultScenario("a program locks SQLite", lock_sqlite, databases=("sqlite",), trials=6),
    FaultScenario("a flood of unsigned items", flood_unsigned, SIGNED, trials=15),
    FaultScenario("three processes compute beside", hog_processors, trials=1, counted="commands"),
)
