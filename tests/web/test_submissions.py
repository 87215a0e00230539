"""Submissions: whoever hangs up before the answer takes nobody along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from models.commands.parsing import parse_command
from ops.web.submissions import SubmissionQueue
from tests.web.gateway_harness import GatewayHarness
from workers.database.engine import writing
from workers.inbox import FENCE, Submission


def submission(name: str) -> Submission:
    body = {"id": name, "kind": "register_mcn", "by": {"role": "platform", "id": "p"}}
    command_text = json.dumps(body | {"mcn_id": "m1", "name": "M1"})
    return Submission(name, parse_command(command_text).fingerprint(), command_text)


@pytest.fixture
def submissions(gateway: GatewayHarness) -> Iterator[SubmissionQueue]:
    """Give the intake of a web process, at work."""
    intake = SubmissionQueue(gateway.engine, gateway.wire)
    intake.start()
    yield intake
    intake.stop()


def test_a_sender_that_is_gone_before_the_commit_stops_nobody(
    gateway: GatewayHarness, submissions: SubmissionQueue
) -> None:
    async def story() -> int:
        with writing(gateway.engine) as connection:
            if gateway.engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({FENCE})"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(submissions.admit([submission("register-1")]), 0.2)
        admission = await asyncio.wait_for(submissions.admit([submission("register-2")]), 20)
        return len(admission.received_at)

    assert asyncio.run(story()) == 1
    assert submissions.alive()
    assert submissions.in_hand == 0
