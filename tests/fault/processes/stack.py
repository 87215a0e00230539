"""Stack: all of Earnest in real processes, with traffic, for faults to be let loose on."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

from sqlalchemy import select

from models.commands.parsing import parse_command
from models.policy import Policy
from ops.local.process import Program
from ops.local.redis_server import redis_program
from ops.local.up import LocalStack, earnest_program
from tests.fault.bad_messages import forged_command
from tests.fault.checks.collected import CollectedRun, SentCommand, collect_run
from tests.fault.processes.clients import CommandSender, EventReader, SenderBehaviour
from tests.fault.processes.deadline_burst import place_orders
from tests.fault.processes.order_lives import POLICY
from tests.fault.processes.proxy import Proxy
from tests.support import servers
from tests.support.concurrency import eventually
from workers.client import CommandClient
from workers.database import schema
from workers.database.engine import open_database, reading
from workers.database.repository import Store
from workers.queries.reader import Reader
from workers.queue.redis import connect
from workers.queue.watermark import GRACE
from workers.settings import Settings, embedded_redis_url, redis_socket
from workers.timestamps import now_us

SETTLE_TIMEOUT_S = 60.0
"""How long after the last fault everything may take to come to rest."""

BURST_RATE_PER_S = 1_000
"""Deadlines due at once that are enforced, published and read here in a second, at least."""

POLL_INTERVAL_S = 0.05
DATABASE_NAME = "faults"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What a stack consists of, and how its sender behaves."""

    workers: int = 2
    schedulers: int = 1
    relays: int = 1
    webs: int = 0
    policy: Policy = POLICY
    proxied: bool = False
    has_wrong_clock: bool = False
    burst_size: int = 0
    resend_us: int = 0
    copies: int = 1
    backwards: bool = False
    signing_keys: str = ""
    replace_program: Callable[[Program], Program] = field(default=lambda program: program)


class ProcessStack:
    """A local stack of real processes, empty and without traffic: enter it, use it, break it."""

    def __init__(self, folder: Path, database: str, options: StackOptions, seed: int) -> None:
        """Keep where to live, `sqlite` or `postgresql`, what to start, and chance's seed."""
        self.folder, self.database, self.options, self.seed = folder, database, options, seed
        self.exit_stack = ExitStack()
        self.postgres: servers.PostgresServer | None = None
        self.proxies: dict[str, Proxy] = {}

    def __enter__(self) -> Self:
        with ExitStack() as exit_stack:
            self._start(exit_stack)
            self.exit_stack = exit_stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.exit_stack.close()

    def _start(self, exit_stack: ExitStack) -> None:
        (self.folder / "policy.json").write_text(self.options.policy.model_dump_json())
        direct_settings = Settings.read(
            {}, var=self.folder, database_url=self._database(exit_stack)
        )
        broker_url, database_url = direct_settings.redis_url, direct_settings.database_url
        if self.options.proxied:
            broker_url, database_url = self._start_proxies(exit_stack, direct_settings)
        policy_path = self.folder / "policy.json"
        self.settings = Settings(
            database_url,
            broker_url,
            self.folder,
            policy_path,
            signing_keys=self.options.signing_keys,
            web_bind="127.0.0.1:0",
        )
        self.engine = open_database(direct_settings.database_url)
        exit_stack.callback(self.engine.dispose)
        self._prepare_database()
        self.local_stack = LocalStack(self.settings, quiet=True, programs=self._programs())
        exit_stack.enter_context(self.local_stack)
        self.redis_client = connect(direct_settings.redis_url)
        exit_stack.callback(self.redis_client.close)

    def _prepare_database(self) -> None:
        """Write what is to be there before anybody works; nothing here."""

    def _database(self, exit_stack: ExitStack) -> str | None:
        if self.database == "sqlite":
            return None
        self.postgres = exit_stack.enter_context(servers.running_postgres())
        return exit_stack.enter_context(undropped_database(self.postgres))

    def _start_proxies(self, exit_stack: ExitStack, direct_settings: Settings) -> tuple[str, str]:
        self.proxies["redis"] = exit_stack.enter_context(Proxy(str(redis_socket(self.folder))))
        broker_url = f"redis://127.0.0.1:{self.proxies['redis'].port}/0"
        if self.postgres is None:
            return broker_url, direct_settings.database_url
        socket_path = self.postgres.folder / ".s.PGSQL.5432"
        proxy = self.proxies["postgresql"] = exit_stack.enter_context(Proxy(str(socket_path)))
        authority = f"{servers.SUPERUSER}@127.0.0.1:{proxy.port}"
        return broker_url, f"postgresql+psycopg://{authority}/{DATABASE_NAME}"

    def _programs(self) -> list[Program]:
        names = ["migrate"]
        for kind in ("worker", "relay", "scheduler", "web"):
            names += [f"{kind}.{n}" for n in range(1, getattr(self.options, f"{kind}s") + 1)]
        programs = [self.options.replace_program(earnest_program(name)) for name in names]
        # Behind a proxy Redis is not at its usual address, and nobody else would start it.
        return [redis_program(self.folder), *programs] if self.options.proxied else programs

    def pid(self, name: str) -> int | None:
        """Return the id of a process, or None while it is down."""
        return self.local_stack.pids().get(name)

    def signal_process(self, name: str, signum: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal to a process; tell whether it was there."""
        pid = self.pid(name)
        if pid is None:
            return False
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            return False
        return True


class FaultStack(ProcessStack):
    """A stack with a sender and a consumer: enter it, break it, let it rest, collect."""

    def __init__(self, folder: Path, database: str, options: StackOptions, seed: int) -> None:
        """Keep what every stack needs, and begin a log of what was done to this one."""
        super().__init__(folder, database, options, seed)
        self.burst_commands: list[SentCommand] = []
        self.wiped_us: list[int] = []
        self.bad_message_count = 0

    def _prepare_database(self) -> None:
        if self.options.burst_size:
            self.burst_commands = place_orders(self.engine, self.options.burst_size)

    def _start(self, exit_stack: ExitStack) -> None:
        super()._start(exit_stack)
        if self.options.burst_size:
            # Orders and an empty Redis look like a wipe: deadlines are held back until it is over.
            threading.Event().wait(GRACE.total_seconds())
        self._start_traffic(exit_stack)

    def _start_traffic(self, exit_stack: ExitStack) -> None:
        behaviour = SenderBehaviour(
            seed=self.seed,
            resend_us=self.options.resend_us,
            copies=self.options.copies,
            backwards=self.options.backwards,
        )
        client = CommandClient(connect(self.settings.redis_url), self.settings.keyring)
        reader = Reader(Store(self.engine, POLICY))
        submit = partial(client.submit_many, per_message=1)
        self.sender = CommandSender(submit, reader.outcomes, behaviour)
        self.sender.log.extend(self.burst_commands)
        self.consumer = EventReader(connect(embedded_redis_url(self.folder)))
        for thread in (self.sender, self.consumer):
            thread.start()
            exit_stack.callback(thread.join)
            exit_stack.callback(thread.stopping.set)

    def wait_until_settled(self) -> None:
        """Begin no more orders, and wait until all there are have come to their ends."""
        self.sender.no_new_orders.set()
        give_up_at = (
            time.monotonic() + SETTLE_TIMEOUT_S + self.options.burst_size / BURST_RATE_PER_S
        )
        while time.monotonic() < give_up_at:
            if self.sender.idle.is_set() and self._is_settled():
                return
            self.sender.stopping.wait(POLL_INTERVAL_S)

    def _is_settled(self) -> bool:
        """Tell whether nothing waits for time to pass, and everything has been read."""
        orders, events = schema.orders, schema.events
        try:
            with reading(self.engine) as connection:
                # What is cheap to see comes first: this machine has other things to do.
                waiting_orders = select(orders.c.order_id).where(orders.c.wake_at.is_not(None))
                unpublished_events = select(events.c.position).where(
                    events.c.published_at.is_(None)
                )
                for query in (waiting_orders, unpublished_events):
                    if connection.execute(query.limit(1)).first() is not None:
                        return False
                id_query = select(events.c.subject, events.c.sequence)
                committed_ids = {
                    f"{subject}/{sequence}" for subject, sequence in connection.execute(id_query)
                }
        except Exception:  # noqa: BLE001 - whatever is down now is looked at again
            return False
        return committed_ids <= self.consumer.seen_event_ids

    def collect(self) -> CollectedRun:
        """Collect what everybody says, after stopping the traffic."""
        for thread in (self.sender, self.consumer):
            thread.stopping.set()
            thread.join()
        evidence = collect_run(self.engine, self.sender.log, self.consumer.log, now_us())
        evidence.wiped_us = self.wiped_us
        if self.bad_message_count:
            # That they are there is the point; what became of them is their own test.
            evidence.failed_messages = [
                entry for entry in evidence.failed_messages if "bad-" not in entry
            ]
        if self.bad_message_count and not self.options.signing_keys:
            evidence.sent = [
                *evidence.sent,
                SentCommand(parse_command(forged_command()).key, forged_command(), 0, None),
            ]
        return with_redis_instants(evidence) if self.options.has_wrong_clock else evidence


def with_redis_instants(evidence: CollectedRun) -> CollectedRun:
    """Take Redis' clock, where a host's is wrong on purpose: it knows when an event was read."""
    first_read_us: dict[str, int] = {}
    for delivery in evidence.delivered:
        first_read_us.setdefault(delivery.event_id, delivery.read_ms * 1000 + 999)
    evidence.events = [
        replace(event, recorded_us=first_read_us.get(event.event_id, event.recorded_us))
        for event in evidence.events
    ]
    return evidence


@contextmanager
def undropped_database(postgres: servers.PostgresServer) -> Iterator[str]:
    """Create a database that needs no dropping: its server may not be there to ask."""
    postgres.execute("CREATE DATABASE {}", DATABASE_NAME)
    yield postgres.url(DATABASE_NAME)


def kill_postgres(postgres: servers.PostgresServer) -> None:
    """Kill the whole server without a word, and start it again."""
    data = postgres.folder / "data"
    pid = int((data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))
    start_postgres(postgres)


def start_postgres(postgres: servers.PostgresServer) -> None:
    """Start a server that was killed; its last processes may take a moment to notice."""
    binaries = servers.postgres_binaries() or servers.skip_or_fail("PostgreSQL is not installed")
    options = f"-c listen_addresses='' -c unix_socket_directories='{postgres.folder}' -c fsync=on"
    argv = [str(binaries / "pg_ctl"), "-D", str(postgres.folder / "data"), "-w"]
    argv += ["-l", str(postgres.folder / "log"), "-o", options, "start"]

    def started() -> bool:
        try:
            servers.run_as(servers.server_user(), postgres.folder, argv)
        except AssertionError:
            return False
        return True

    eventually(started)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def empty_redis(stack: FaultStack) -> None:
    """Kill Redis and let it begin with nothing."""
    shutil.rmtree(stack.folder / "redis" / "appendonlydir", ignore_errors=True)
    stack.signal_process("redis")
