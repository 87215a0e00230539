"""Every-call tests: whichever call fails, and however, the end is the undisturbed one."""

from __future__ import annotations

import pytest

from models.policy import Policy
from tests.fault.calls.call_counter import FailureMode
from tests.fault.calls.every_call import CallFailures, choose_moments, empty_servers, fail_calls
from tests.fault.calls.in_process_pipeline import SCENARIO_NAMES, InProcessPipeline, moments
from tests.fault.faults import DATABASE_KINDS
from tests.support import servers

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

MOMENTS = 10
"""How many kinds of moments are disturbed here; `python -m tests.fault.run` disturbs all."""

DATABASES = [
    pytest.param(database, marks=[pytest.mark.postgres] if database == "postgresql" else [])
    for database in DATABASE_KINDS
]


@pytest.mark.slow
@pytest.mark.parametrize("database", DATABASES)
def test_a_failed_call_to_database_or_redis_changes_nothing_in_the_end(
    database: str, trials: int | None, seed: int
) -> None:
    total = CallFailures()
    with empty_servers(database) as (database_url, redis_url):
        servers.migrate_database(database_url)
        for name, moment_indexes in choose_moments(seed, trials or MOMENTS).items():
            failures = fail_calls(database_url, redis_url, name, moment_indexes)
            total.trials += failures.trials
            total.differences += failures.differences
    assert total.differences == []
    assert total.trials > 20 * min(trials or MOMENTS, MOMENTS)


def test_moments_are_chosen_all_or_one_of_each_kind() -> None:
    all_moments = choose_moments(1, None)
    assert set(all_moments) == set(SCENARIO_NAMES)
    one_of_each_kind = choose_moments(1, 10_000)
    assert 50 < sum(map(len, one_of_each_kind.values())) < sum(map(len, all_moments.values()))


def test_a_failure_without_another_attempt_is_reported_and_every_kind_of_call_is_counted() -> None:
    with empty_servers("sqlite") as (database_url, redis_url):
        servers.migrate_database(database_url)
        pipeline = InProcessPipeline(database_url, redis_url, Policy())
        pipeline.processor.store.adopt_policy()
        first = moments("declined")[1][0]
        pipeline.call_counter.fail_call(1, FailureMode.ERROR_BEFORE)
        with pytest.raises(AssertionError, match="no end of it"):
            pipeline.play(first, attempts=1)
        assert pipeline.call_counter.failed_call
        pipeline.call_counter.fail_call(0, FailureMode.ERROR_BEFORE)
        pipeline.play(first)
        call_log = " ".join(pipeline.call_counter.calls_seen)
        for call in ("EVALSHA", "BEGIN", "INSERT", "COMMIT", "-- Publish events", "UPDATE"):
            assert call in call_log, f"{call} was not counted"
        pipeline.close()
