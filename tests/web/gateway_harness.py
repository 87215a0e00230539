"""Gateway harness: the web application over real servers, a worker on demand, and requests."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from models.errors import Unavailable
from ops.web.app import create_app
from ops.web.dependencies import open_context
from ops.web.submissions import SubmissionLimits
from tests.support.concurrency import eventually
from tests.support.store_harness import announcements_of
from workers.database.engine import reading
from workers.database.repository import Store
from workers.database.schema import inbox
from workers.outbox.relay import Relay
from workers.processing.processor import BatchProcessor
from workers.queue.messages import read_message
from workers.queue.redis import COMMANDS, FetchLimits, Keys, Scripts
from workers.queue.watermark import ArrivalClock
from workers.runtime import policy_in_force
from workers.settings import Settings

TOKENS = """
# who, and what only they know
operator/ann       operator-token-0001
client/c1          client-token-000001
creator/k1         creator-token-00001
mcn/m1             agency-token-000001
provider/m1        provider-token-0001
client             every-client-token-1
platform           platform-token-0001
observer/audit     observer-token-0001
payments           payments-token-0001
client/c2            two-parties-token-01
creator/k1           two-parties-token-01
"""

LOCAL_URL = "http://127.0.0.1:8000"


@dataclass(kw_only=True)
class GatewayHarness:
    """The web application and its servers; `settle` does a worker's and a relay's work, once."""

    settings: Settings
    engine: Engine
    redis_client: redis.Redis
    exit_stack: ExitStack = field(default_factory=ExitStack)

    def open(self, *, limits: SubmissionLimits | None = None, **changes: Any) -> TestClient:  # noqa: ANN401
        """Serve, with settings changed, until the test ends."""
        context = open_context(replace(self.settings, **changes), limits)
        self.exit_stack.callback(context.engine.dispose)
        return self.exit_stack.enter_context(
            TestClient(create_app(context), LOCAL_URL, raise_server_exceptions=False)
        )

    def tokens(self) -> Path:
        """Write a file of tokens."""
        path = self.settings.var / "tokens"
        path.write_text(TOKENS)
        return path

    def is_queued(self) -> bool:
        """Tell whether everything accepted is in the queue, in its message or by itself."""
        with reading(self.engine) as connection:
            rows = list(connection.execute(select(inbox.c.message_id, inbox.c.stamp)))
        return all(
            self.redis_client.hexists(Keys(COMMANDS).messages, row.message_id)
            or self.redis_client.hexists(Keys(COMMANDS).messages, f"{row.message_id}.{row.stamp}")
            for row in rows
        )

    def settle(self) -> int:
        """Settle whatever was accepted and publish it; return how many commands."""
        eventually(self.is_queued)
        batch = Scripts(self.redis_client).fetch(Keys(COMMANDS), "tester", FetchLimits(1_000))
        deliveries = [
            read_message(COMMANDS, message, self.settings.keyring) for message in batch.messages
        ]
        commands = [command for delivery in deliveries for command in delivery.commands]
        processor = self.processor()

        def settle_all() -> bool:
            try:
                assert processor.settle(commands, announcements_of(commands)) == []
            except Unavailable:
                # For a while after Redis was wiped.
                return False
            return True

        eventually(settle_all)
        settled_ids = [delivery.message_id for delivery in deliveries]
        Scripts(self.redis_client).ack(Keys(COMMANDS), "tester", settled_ids)
        while Relay(self.engine, self.redis_client).run_once():
            continue
        return len(commands)

    def processor(self) -> BatchProcessor:
        """Return a worker's processor, with the policy in force now."""
        store = Store(self.engine, policy_in_force(self.settings))
        store.adopt_policy()
        return BatchProcessor(store, self.clock, lambda: None)

    @cached_property
    def clock(self) -> ArrivalClock:
        """Return the arrival clock of the worker."""
        return ArrivalClock(self.redis_client, self.engine)

    def settle_soon(self) -> None:
        """Settle in another thread, as soon as there is something; closing waits for its end."""

        def run() -> None:
            while not self.settle():
                self.redis_client.blpop([Keys(COMMANDS).notify], timeout=5)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.exit_stack.callback(thread.join, timeout=30)


JsonBody = dict[str, Any]


def register_mcn(command_id: str = "register-1", **changes: object) -> JsonBody:
    by = {"role": "platform", "id": "p"}
    return {
        "id": command_id,
        "kind": "register_mcn",
        "by": by,
        "mcn_id": "m1",
        "name": "M",
    } | changes


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(http_client: TestClient, body: object, token: str | None = None) -> Any:  # noqa: ANN401
    return http_client.post("/commands", json=body, headers=bearer(token) if token else {})


ACTION_HEADER = {"X-Earnest-Action": "1"}
OPERATOR_ACTION_HEADERS = ACTION_HEADER | bearer("operator-token-0001")
REASON_BODY = {"reason": "the sender asked"}
