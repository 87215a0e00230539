"""Bad-message tests: whatever is in Redis hurts nobody, and a person can see it afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from models.policy import Policy
from tests.fault.bad_messages import BadMessage, all_bad_messages
from tests.fault.calls import every_call
from tests.fault.calls.in_process_pipeline import InProcessPipeline, Moment, TableRows
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.queue.redis import COMMANDS, Keys
from workers.timestamps import from_us, now_us

pytestmark = pytest.mark.fault

BAD_MESSAGES = list(all_bad_messages())


@pytest.fixture(scope="module")
def pipeline() -> Iterator[InProcessPipeline]:
    """Give a whole pipeline in this one thread, with an order in it that everybody is after."""
    with every_call.empty_servers("sqlite") as (database_url, redis_url):
        engine = open_database(database_url)
        migrate(engine)
        engine.dispose()
        pipeline = InProcessPipeline(database_url, redis_url, Policy())
        pipeline.processor.store.adopt_policy()
        yield pipeline
        pipeline.close()


def settle_honest_command(pipeline: InProcessPipeline, number: int) -> bool:
    """Submit an honest command; tell whether it was settled."""
    command = {
        "id": f"cmd-honest-{number}",
        "kind": "register_mcn",
        "by": {"role": "platform", "id": "plat"},
        "mcn_id": f"m{number}",
        "name": "M",
    }
    pipeline.play(Moment(from_us(now_us()), json.dumps(command), ()))
    return any(row[0] == command["id"] for row in pipeline.save()["receipts"])


def count_refused(state: TableRows) -> int:
    """Count what is in quarantine, and what was rejected and was not an honest command."""
    answers = [row for row in state["events"] if "command.settled" in row]
    unknown = [row for row in answers if not any("cmd-honest" in str(cell) for cell in row)]
    assert all('"outcome":"rejected"' in str(row) for row in unknown)
    return len(state["quarantine"]) + len(unknown)


def test_there_are_at_least_sixty_bad_messages_and_no_two_are_alike() -> None:
    assert len({bad.name for bad in BAD_MESSAGES}) == len(BAD_MESSAGES) >= 60


@pytest.mark.parametrize("stamped", [True, False], ids=["stamped", "unstamped"])
@pytest.mark.parametrize("bad_message", BAD_MESSAGES, ids=lambda bad: bad.name.replace(" ", "_"))
def test_a_bad_message_is_refused_and_an_honest_command_is_still_settled(
    pipeline: InProcessPipeline, bad_message: BadMessage, *, stamped: bool
) -> None:
    number = 2 * BAD_MESSAGES.index(bad_message) + stamped
    before = pipeline.save()
    bad_message.send(pipeline.plain_redis, number, stamped=stamped)
    assert settle_honest_command(pipeline, number)
    after = pipeline.save()
    # An empty message is no message: it goes, and there is nothing to be shown of it.
    assert count_refused(after) > count_refused(before) or not bad_message.payload
    assert not pipeline.plain_redis.hlen(Keys(COMMANDS).messages)
    assert after["orders"] == after["payments"] == [], "it took effect"
    assert after["dead_letters"] == before["dead_letters"]
