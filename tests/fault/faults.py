"""Faults: what is done to a running Earnest, blow by blow."""

from __future__ import annotations

import resource
import signal
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
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import SECOND_US, now_us

FaultAction = Callable[[FaultStack, Random], None]


TrialUnit = Literal["blows", "commands", "deadlines"]


class TrialCounting(TypedDict):
    """How trials are counted where one blow meets many."""

    trials: int
    counted: TrialUnit


RESEND_US = 2 * SECOND_US


DATABASE_KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class FaultScenario:
    """One kind of fault under load; `pause_s` is how long between two blows, at least and most.

    `counted` is what a trial is: a blow, or each command, or each deadline, that met the fault.
    """

    name: str
    blow: FaultAction
    plan: StackOptions = StackOptions()  # noqa: RUF009 - frozen
    pause_s: tuple[float, float] = (0.3, 1.0)
    databases: tuple[str, ...] = DATABASE_KINDS
    trials: int = 20
    counted: TrialUnit = "blows"

    def of(self, crowd: int) -> FaultScenario:
        """Return the same with another crowd, where there is one at all."""
        return replace(self, plan=replace(self.plan, crowd=crowd)) if self.plan.crowd else self


def kill_one_of(kind: str) -> FaultAction:
    """Kill one process of a kind, whichever runs."""

    def blow(arena: FaultStack, rng: Random) -> None:
        names = [name for name in arena.formation.pids() if name.partition(".")[0] == kind]
        if names:
            arena.signal_process(rng.choice(names))

    return blow


def kill_database(arena: FaultStack, _: Random) -> None:
    """Kill PostgreSQL and start it again."""
    if arena.postgres is not None:
        kill_postgres(arena.postgres)


def messages_in_flight(arena: FaultStack) -> set[bytes]:
    """Name the messages that are taken and not settled: those who live do not have them long."""
    message_ids: set[bytes] = set()
    keys: Any = arena.wire.keys(Keys(COMMANDS).taken("*"))
    for key in keys:
        members: Any = arena.wire.smembers(key)
        message_ids |= members
    return message_ids


MAX_TRIES = 300


FREEZE_S = 17.0
"""Longer than a worker's heartbeat, which is 15 s."""


def freeze_worker(arena: FaultStack, rng: Random) -> None:
    """Stop a worker with messages in hand for longer than its lease; then let it go on."""
    name = rng.choice(["worker.1", "worker.2"])
    for _ in range(MAX_TRIES):
        arena.signal_process(name, signal.SIGSTOP)
        arena.sender.stopping.wait(0.1)
        before = messages_in_flight(arena)
        arena.sender.stopping.wait(0.3)
        if before & messages_in_flight(arena):
            arena.sender.stopping.wait(FREEZE_S)
            arena.signal_process(name, signal.SIGCONT)
            return
        arena.signal_process(name, signal.SIGCONT)
        arena.sender.stopping.wait(rng.uniform(0.01, 0.05))
    raise AssertionError(f"{name} was never found with anything in hand")


def freeze_relay(arena: FaultStack, rng: Random) -> None:
    """Stop one of two relays for longer than its lease."""
    name = rng.choice(["relay.1", "relay.2"])
    if arena.signal_process(name, signal.SIGSTOP):
        arena.sender.stopping.wait(12.0)
        arena.signal_process(name, signal.SIGCONT)


def flush_redis(arena: FaultStack, _: Random) -> None:
    """Empty Redis while everybody uses it."""
    arena.wire.flushall()
    arena.wiped_us.append(now_us())


def restart_redis_empty(arena: FaultStack, _: Random) -> None:
    """Kill Redis and let it come back with nothing."""
    empty_redis(arena)
    arena.wiped_us.append(now_us())


def disturb_network(weather: NetworkCondition, longest_s: float) -> FaultAction:
    """Let the network be bad between the processes and one of the servers."""

    def blow(arena: FaultStack, rng: Random) -> None:
        proxy = arena.proxies[rng.choice(sorted(arena.proxies))]
        proxy.set_condition(weather)
        arena.sender.stopping.wait(rng.uniform(0.1, longest_s))
        proxy.set_condition(NetworkCondition.HEALTHY)

    return blow


def scheduler_outage(arena: FaultStack, rng: Random) -> None:
    """Keep every scheduler down for a while: deadlines pass unnoticed."""
    for _ in range(6):
        arena.signal_process("scheduler.1")
        arena.sender.stopping.wait(rng.uniform(0.4, 0.8))


def fill_disk(arena: FaultStack, rng: Random) -> None:
    """Let no file of the workers, the relay or the scheduler grow, for a moment."""
    pids = [pid for name, pid in arena.formation.pids().items() if name != "redis"]
    for limit in (DISK_FULL_LIMIT, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        arena.sender.stopping.wait(rng.uniform(0.2, 1.0))


DISK_FULL_LIMIT = (4_096, resource.RLIM_INFINITY)


def send_bad_message(arena: FaultStack, rng: Random) -> None:
    """Put the next bad message among the good ones."""
    bad_messages = all_bad_messages()
    number = arena.rubbish
    arena.rubbish += 1
    round_number, index = divmod(number, len(bad_messages))
    bad_messages[index].send(arena.wire, number, stamped=round_number % 2 == 0)
    arena.sender.stopping.wait(rng.uniform(0.0, 0.05))


def repeat_everything(arena: FaultStack, _: Random) -> None:
    """Send every command of the past once more."""
    latest = {
        submission.command_id: submission
        for submission in arena.sender.log
        if submission.command_id
    }
    arena.sender.send(
        [
            PlannedCommand(str(submission.command_id), submission.text)
            for submission in list(latest.values())
        ]
    )


def any_of(*blows: FaultAction) -> FaultAction:
    """Strike in one of several ways, by chance."""

    def blow(arena: FaultStack, rng: Random) -> None:
        rng.choice(blows)(arena, rng)

    return blow


def no_action(_: FaultStack, __: Random) -> None:
    """Let the plan be the fault: what stands in it is wrong from the beginning."""


def with_wrong_clock(name: str, seconds: int) -> Callable[[Program], Program]:
    """Start one process with its wall clock moved."""

    def swap(program: Program) -> Program:
        if program.name != name:
            return program
        shifted_clock = "tests.fault.processes.shifted_clock"
        argv = (*program.argv[:3], shifted_clock, str(seconds), *program.argv[4:])
        return replace(program, argv=argv)

    return swap


def wrong_clock_scenario(name: str, seconds: int) -> FaultScenario:
    # Two schedulers even where a worker is wrong: so there is always one that is right.
    plan = StackOptions(swap=with_wrong_clock(name, seconds), skewed=True, schedulers=2)
    title = f"clock of {name} {seconds // 3600:+d} h"
    return FaultScenario(title, no_action, plan, pause_s=(6.0, 6.0), **COUNT_COMMANDS)


def deadline_burst_scenario(schedulers: int) -> FaultScenario:
    title = f"{schedulers} schedulers, a crowd due at once"
    return FaultScenario(
        title,
        no_action,
        StackOptions(schedulers=schedulers, crowd=BURST_SIZE),
        PAUSE_S,
        **COUNT_DEADLINES,
    )


RESENDING = StackOptions(resend_us=RESEND_US)


PROXIED = StackOptions(proxied=True)


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
)
