"""Every-call tests: whichever call fails, and however, the end is the undisturbed one."""

from __future__ import annotations

import pytest

from models.policy import Policy
from tests.fault.calls.call_counter import Mode
from tests.fault.calls.every_call import Tally, disturb, ground, worth_trying
from tests.fault.calls.in_process_pipeline import NAMES, Pipeline, moments
from tests.fault.faults import BOTH
from tests.support import servers

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


MOMENTS = 10
"""How many kinds of moments are disturbed here; `python -m tests.fault.run` disturbs all."""


DATABASES = [
    pytest.param(database, marks=[pytest.mark.postgres] if database == "postgresql" else [])
    for database in BOTH
]


@pytest.mark.slow
@pytest.mark.parametrize("database", DATABASES)
def test_any_call_may_fail_in_any_way(database: str, trials: int | None, seed: int) -> None:
    total = Tally()
    with ground(database) as (database_url, redis_url):
        servers.prepare(database_url)
        for name, moment_indexes in worth_trying(seed, trials or MOMENTS).items():
            tally = disturb(database_url, redis_url, name, moment_indexes)
            total.trials += tally.trials
            total.wrong += tally.wrong
    assert total.wrong == []
    assert total.trials > 20 * min(trials or MOMENTS, MOMENTS)


def test_every_kind_of_moment_is_worth_trying_once() -> None:
    all_moments = worth_trying(1, None)
    assert set(all_moments) == set(NAMES)
    one_of_each_kind = worth_trying(1, 10_000)
    assert 50 < sum(map(len, one_of_each_kind.values())) < sum(map(len, all_moments.values()))


def test_a_pipeline_that_forgets_something_would_be_found_out() -> None:
    with ground("sqlite") as (database_url, redis_url):
        servers.prepare(database_url)
        pipeline = Pipeline(database_url, redis_url, Policy())
        pipeline.settler.store.adopt_policy()
        first = moments("declined")[1][0]
        pipeline.tripwire.set(1, Mode.ERROR_BEFORE)
        with pytest.raises(AssertionError, match="no end of it"):
            pipeline.play(first, attempts=1)
        assert pipeline.tripwire.tripped
        pipeline.tripwire.set(0, Mode.ERROR_BEFORE)
        pipeline.play(first)
        call_log = " ".join(pipeline.tripwire.said)
        for call in ("EVALSHA", "BEGIN", "INSERT", "COMMIT", "-- Publish events", "UPDATE"):
            assert call in call_log, f"{call} went past the tripwire"
        pipeline.close()
