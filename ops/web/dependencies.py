"""Dependencies: what every route of the web process has at hand, and who is asking."""

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
from ops.web.outcomes import History, Lookout
from ops.web.submissions import Intake, Limits
from workers.database.engine import open_database
from workers.database.repository import Store
from workers.queries.monitoring import Balances
from workers.queue.redis import connect
from workers.queue.watermark import RedisDoor
from workers.runtime import policy_in_force
from workers.server_checks import check_servers
from workers.settings import Settings
from workers.timestamps import from_us

CONNECTIONS = 8
"""Connections to the database: one that writes, the rest read for whoever asks."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One web process's things; built once, before the first request."""

    settings: Settings
    engine: Engine
    client: redis.Redis
    store: Store
    tokens: Tokens
    intake: Intake
    lookout: Lookout
    balances: Balances
    history: History
    reporting: threading.Lock

    def now(self) -> datetime:
        """Return the present by the door's clock, also while Redis is away."""
        return from_us(self.intake.clock.now())

    def watermark(self) -> datetime | None:
        """Return the instant before which everything received is settled, if it can be known."""
        try:
            return RedisDoor(self.client, self.engine).watermark(without=())
        except TransientError:
            return None


def open_desk(settings: Settings, limits: Limits | None = None) -> Desk:
    """Connect to everything; raise as `check_servers` and `open_tokens` do."""
    tokens = open_tokens(settings)
    engine = open_database(settings.database_url, CONNECTIONS)
    client = connect(settings.redis_url)
    check_servers(engine, client)
    return Desk(
        settings=settings,
        engine=engine,
        client=client,
        store=Store(engine, policy_in_force(settings)),
        tokens=tokens,
        intake=Intake(engine, client, limits, settings.keyring),
        lookout=Lookout(engine),
        balances=Balances(engine),
        history=History(engine),
        reporting=threading.Lock(),
    )


def _desk(request: Request) -> Desk:
    context: Desk = request.app.state.desk
    return context


AtDesk = Annotated[Desk, Depends(_desk)]


def _caller(
    context: AtDesk, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Caller:
    return context.tokens.caller(authorization)


Asking = Annotated[Caller, Depends(_caller)]


def _staff(caller: Asking) -> Caller:
    if not caller.is_staff():
        raise Problem(403, "this is for operators and the platform")
    return caller


Staff = Annotated[Caller, Depends(_staff)]
