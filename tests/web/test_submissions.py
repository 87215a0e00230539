"""Submissions: a sender that hangs up before the answer does not stop the others."""

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
from workers.inbox import Submission


def submission(name: str) -> Submission:
    body = {"id": name, "kind": "register_mcn", "by": {"role": "platform", "id": "p"}}
    command_text = json.dumps(body | {"mcn_id": "m1", "name": "M1"})
    command = parse_command(command_text)
    return Submission(command.sender, name, command.fingerprint(), command_text)


@pytest.fixture
def submissions(gateway: GatewayHarness) -> Iterator[SubmissionQueue]:
    """Give the submission queue of a web process, at work."""
    submission_queue = SubmissionQueue(gateway.engine, gateway.redis_client)
    submission_queue.start()
    yield submission_queue
    submission_queue.stop()


def test_a_sender_that_hangs_up_before_the_commit_does_not_stop_the_next(
    gateway: GatewayHarness, submissions: SubmissionQueue
) -> None:
    async def submit_twice() -> int:
        with writing(gateway.engine) as connection:
            if gateway.engine.dialect.name == "postgresql":
                connection.execute(text("LOCK TABLE inbox"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(submissions.admit([submission("register-1")]), 0.2)
        admission = await asyncio.wait_for(submissions.admit([submission("register-2")]), 20)
        return len(admission.stamps)

    assert asyncio.run(submit_twice()) == 1
    assert submissions.alive()
    assert submissions.in_hand == 0
