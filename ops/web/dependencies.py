"""Dependencies: the context that every route of the web process works with, and its caller."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import redis
from fastapi import Depends, Header, Request
from sqlalchemy import Engine

from models.errors import TransientError
from ops.web.auth import Caller, Tokens, open_tokens
from ops.web.errors import Problem
from ops.web.outcomes import OutcomeWaiter, ThroughputHistory
from ops.web.submissions import SubmissionLimits, SubmissionQueue
from workers.database.engine import open_database
from workers.database.repository import Store
from workers.queries.monitoring import Balances
from workers.queue.redis import connect
from workers.queue.watermark import ArrivalClock
from workers.runtime import policy_in_force
from workers.server_checks import check_servers
from workers.settings import Settings
from workers.timestamps import from_us

MAX_CONNECTIONS = 8
"""Connections to the database: one that writes, the rest read for whoever asks."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """What one web process works with; built once, before the first request."""

    settings: Settings
    engine: Engine
    client: redis.Redis
    store: Store
    tokens: Tokens
    submissions: SubmissionQueue
    outcome_waiter: OutcomeWaiter
    balances: Balances
    throughput: ThroughputHistory
    report_lock: threading.Lock

    def now(self) -> datetime:
        """Return the present by the arrival clock, also while Redis is away."""
        return from_us(self.submissions.clock.now())

    def watermark(self) -> datetime | None:
        """Return the instant before which everything received is settled, if it can be known."""
        try:
            return ArrivalClock(self.client, self.engine).watermark()
        except TransientError:
            return None


def open_context(settings: Settings, limits: SubmissionLimits | None = None) -> AppContext:
    """Connect to everything; raise as `check_servers` and `open_tokens` do."""
    tokens = open_tokens(settings)
    engine = open_database(settings.database_url, MAX_CONNECTIONS)
    client = connect(settings.redis_url)
    check_servers(engine, client)
    return AppContext(
        settings=settings,
        engine=engine,
        client=client,
        store=Store(engine, policy_in_force(settings)),
        tokens=tokens,
        submissions=SubmissionQueue(engine, client, limits, settings.keyring),
        outcome_waiter=OutcomeWaiter(engine),
        balances=Balances(engine),
        throughput=ThroughputHistory(engine),
        report_lock=threading.Lock(),
    )


def _app_context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


Context = Annotated[AppContext, Depends(_app_context)]


def _caller(
    context: Context, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Caller:
    return context.tokens.caller(authorization)


CurrentCaller = Annotated[Caller, Depends(_caller)]


def _staff(caller: CurrentCaller) -> Caller:
    if not caller.is_staff():
        raise Problem(403, "this is for operators and the platform")
    return caller


StaffCaller = Annotated[Caller, Depends(_staff)]


def _observing(caller: CurrentCaller) -> Caller:
    if not caller.is_observing():
        raise Problem(403, "this is for operators, the platform and observers")
    return caller


ObservingCaller = Annotated[Caller, Depends(_observing)]
