"""Submissions: whoever hangs up before the answer takes nobody along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from models.commands.parsing import parse
from ops.web.submissions import Intake
from tests.web.gateway_harness import House
from workers.database.engine import writing
from workers.inbox import FENCE, Knock


def knock(name: str) -> Knock:
    body = {"id": name, "kind": "register_mcn", "by": {"role": "platform", "id": "p"}}
    command_text = json.dumps(body | {"mcn_id": "m1", "name": "M1"})
    return Knock(name, parse(command_text).fingerprint(), command_text)


@pytest.fixture
def intake(house: House) -> Iterator[Intake]:
    """Give the intake of a web process, at work."""
    intake = Intake(house.engine, house.wire)
    intake.start()
    yield intake
    intake.stop()


def test_a_sender_that_is_gone_before_the_commit_stops_nobody(house: House, intake: Intake) -> None:
    async def story() -> int:
        with writing(house.engine) as connection:
            if house.engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({FENCE})"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(intake.admit([knock("register-1")]), 0.2)
        admission = await asyncio.wait_for(intake.admit([knock("register-2")]), 20)
        return len(admission.received_at)

    assert asyncio.run(story()) == 1
    assert intake.alive()
    assert intake.in_hand == 0
