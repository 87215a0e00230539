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
from tests.fault.bad_messages import corpus
from tests.fault.processes.order_lives import Ask
from tests.fault.processes.proxy import Weather
from tests.fault.processes.stack import Arena, Plan, empty_redis, kill_postgres
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import SECOND_US, now_us

Blow = Callable[[Arena, Random], None]


What = Literal["blows", "commands", "deadlines"]


class Counted(TypedDict):
    """How trials are counted where one blow meets many."""

    trials: int
    counted: What


RESEND_US = 2 * SECOND_US


BOTH = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of fault under load; `pause_s` is how long between two blows, at least and most.

    `counted` is what a trial is: a blow, or each command, or each deadline, that met the fault.
    """

    name: str
    blow: Blow
    plan: Plan = Plan()  # noqa: RUF009 - frozen
    pause_s: tuple[float, float] = (0.3, 1.0)
    databases: tuple[str, ...] = BOTH
    trials: int = 20
    counted: What = "blows"

    def of(self, crowd: int) -> Trouble:
        """Return the same with another crowd, where there is one at all."""
        return replace(self, plan=replace(self.plan, crowd=crowd)) if self.plan.crowd else self


def kill(kind: str) -> Blow:
    """Kill one process of a kind, whichever runs."""

    def blow(arena: Arena, rng: Random) -> None:
        names = [name for name in arena.formation.pids() if name.partition(".")[0] == kind]
        if names:
            arena.strike(rng.choice(names))

    return blow


def kill_database(arena: Arena, _: Random) -> None:
    """Kill PostgreSQL and start it again."""
    if arena.postgres is not None:
        kill_postgres(arena.postgres)


def in_hand(arena: Arena) -> set[bytes]:
    """Name the messages that are taken and not settled: those who live do not have them long."""
    message_ids: set[bytes] = set()
    keys: Any = arena.wire.keys(Keys(COMMANDS).taken("*"))
    for key in keys:
        members: Any = arena.wire.smembers(key)
        message_ids |= members
    return message_ids


TRIES = 300


FREEZE_S = 17.0
"""Longer than a worker's heartbeat, which is 15 s."""


def freeze_worker(arena: Arena, rng: Random) -> None:
    """Stop a worker with messages in hand for longer than its lease; then let it go on."""
    name = rng.choice(["worker.1", "worker.2"])
    for _ in range(TRIES):
        arena.strike(name, signal.SIGSTOP)
        arena.sender.stopping.wait(0.1)
        before = in_hand(arena)
        arena.sender.stopping.wait(0.3)
        if before & in_hand(arena):
            arena.sender.stopping.wait(FREEZE_S)
            arena.strike(name, signal.SIGCONT)
            return
        arena.strike(name, signal.SIGCONT)
        arena.sender.stopping.wait(rng.uniform(0.01, 0.05))
    raise AssertionError(f"{name} was never found with anything in hand")


def freeze_relay(arena: Arena, rng: Random) -> None:
    """Stop one of two relays for longer than its lease."""
    name = rng.choice(["relay.1", "relay.2"])
    if arena.strike(name, signal.SIGSTOP):
        arena.sender.stopping.wait(12.0)
        arena.strike(name, signal.SIGCONT)


def flush(arena: Arena, _: Random) -> None:
    """Empty Redis while everybody uses it."""
    arena.wire.flushall()
    arena.wiped_us.append(now_us())


def begin_empty(arena: Arena, _: Random) -> None:
    """Kill Redis and let it come back with nothing."""
    empty_redis(arena)
    arena.wiped_us.append(now_us())


def storm(weather: Weather, longest_s: float) -> Blow:
    """Let the network be bad between the processes and one of the servers."""

    def blow(arena: Arena, rng: Random) -> None:
        proxy = arena.proxies[rng.choice(sorted(arena.proxies))]
        proxy.turn(weather)
        arena.sender.stopping.wait(rng.uniform(0.1, longest_s))
        proxy.turn(Weather.FAIR)

    return blow


def outage(arena: Arena, rng: Random) -> None:
    """Keep every scheduler down for a while: deadlines pass unnoticed."""
    for _ in range(6):
        arena.strike("scheduler.1")
        arena.sender.stopping.wait(rng.uniform(0.4, 0.8))


def fill_disk(arena: Arena, rng: Random) -> None:
    """Let no file of the workers, the relay or the scheduler grow, for a moment."""
    pids = [pid for name, pid in arena.formation.pids().items() if name != "redis"]
    for limit in (FULL, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        arena.sender.stopping.wait(rng.uniform(0.2, 1.0))


FULL = (4_096, resource.RLIM_INFINITY)


def send_rubbish(arena: Arena, rng: Random) -> None:
    """Put the next bad message among the good ones."""
    bad_messages = corpus()
    number = arena.rubbish
    arena.rubbish += 1
    round_number, index = divmod(number, len(bad_messages))
    bad_messages[index].send(arena.wire, number, stamped=round_number % 2 == 0)
    arena.sender.stopping.wait(rng.uniform(0.0, 0.05))


def repeat_everything(arena: Arena, _: Random) -> None:
    """Send every command of the past once more."""
    latest = {
        submission.command_id: submission
        for submission in arena.sender.log
        if submission.command_id
    }
    arena.sender.send(
        [Ask(str(submission.command_id), submission.text) for submission in list(latest.values())]
    )


def any_of(*blows: Blow) -> Blow:
    """Strike in one of several ways, by chance."""

    def blow(arena: Arena, rng: Random) -> None:
        rng.choice(blows)(arena, rng)

    return blow


def nothing(_: Arena, __: Random) -> None:
    """Let the plan be the fault: what stands in it is wrong from the beginning."""


def by_wrong_clock(name: str, seconds: int) -> Callable[[Program], Program]:
    """Start one process with its wall clock moved."""

    def swap(program: Program) -> Program:
        if program.name != name:
            return program
        shifted_clock = "tests.fault.processes.shifted_clock"
        argv = (*program.argv[:3], shifted_clock, str(seconds), *program.argv[4:])
        return replace(program, argv=argv)

    return swap


def skewed(name: str, seconds: int) -> Trouble:
    # Two schedulers even where a worker is wrong: so there is always one that is right.
    plan = Plan(swap=by_wrong_clock(name, seconds), skewed=True, schedulers=2)
    title = f"clock of {name} {seconds // 3600:+d} h"
    return Trouble(title, nothing, plan, pause_s=(6.0, 6.0), **EACH)


def crowded(schedulers: int) -> Trouble:
    title = f"{schedulers} schedulers, a crowd due at once"
    return Trouble(title, nothing, Plan(schedulers=schedulers, crowd=CROWD), CALM, **DUE)


WIPED = Plan(resend_us=RESEND_US)


PROXIED = Plan(proxied=True)


LATER = (8.0, 8.0)


CALM = (5.0, 5.0)


EACH: Counted = {"trials": 1, "counted": "commands"}


DUE: Counted = {"trials": 1, "counted": "deadlines"}


CROWD = 3_000


TROUBLES = (
    Trouble("kill -9 a worker", kill("worker"), trials=25),
    Trouble("kill -9 the scheduler", kill("scheduler"), trials=15),
    Trouble("kill -9 the relay", kill("relay"), trials=15),
    Trouble("kill -9 Redis", kill("redis"), trials=12),
    Trouble("kill -9 PostgreSQL", kill_database, databases=("postgresql",), trials=10),
    Trouble("freeze a worker 17 s", freeze_worker, trials=2),
    Trouble("freeze a relay 12 s", freeze_relay, Plan(relays=2), trials=2),
    Trouble("scheduler outage", outage, trials=4),
    Trouble("FLUSHALL", flush, WIPED, (0.5, 2.0), trials=12),
    Trouble("empty restart of Redis", begin_empty, WIPED, (0.5, 2.0), trials=6),
    Trouble("network stalls", storm(Weather.STALL, 2.0), PROXIED, trials=8),
    Trouble("network drops replies", storm(Weather.DEAF, 0.6), PROXIED, trials=15),
    Trouble("network resets", storm(Weather.CUT, 0.5), PROXIED, trials=20),
    Trouble("each five times, once more later", repeat_everything, Plan(copies=5), LATER, **EACH),
    Trouble("any order: paid before placed", nothing, Plan(backwards=True), LATER, **EACH),
    crowded(2),
    crowded(5),
    Trouble("bad messages", send_rubbish, pause_s=(0.0, 0.1), trials=160),
    skewed("worker.1", 3_600),
    skewed("worker.1", -3_600),
    skewed("scheduler.1", 3_600),
    skewed("scheduler.1", -3_600),
    Trouble("disk full", fill_disk, databases=("sqlite",), trials=8),
)
