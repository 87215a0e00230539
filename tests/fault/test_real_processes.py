"""Real-process tests: real processes, real traffic, and whatever can go wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.fault import faults, strangers
from tests.fault.faults import (
    PROXIED,
    RESENDING,
    SIGNED,
    FaultScenario,
    any_of,
    deadline_burst_scenario,
    disturb_network,
    kill_one_of,
    wrong_clock_scenario,
)
from tests.fault.processes.proxy import NetworkCondition
from tests.fault.processes.stack import StackOptions
from tests.fault.trial import TrialResult, run_trial

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]

MAX_RECOVERY_S = 60.0
MAX_CONCURRENT = 3
KILLS = tuple(map(kill_one_of, ("worker", "relay", "scheduler", "redis")))

STORMS = (
    disturb_network(NetworkCondition.STALL, 2.0),
    disturb_network(NetworkCondition.DROP_REPLIES, 0.6),
    disturb_network(NetworkCondition.RESET, 0.5),
)

SQLITE, POSTGRESQL = ("sqlite",), ("postgresql",)

# Several kinds of fault in one run: less time, and more that can coincide.
CAMPAIGNS = (
    FaultScenario("kills", any_of(*KILLS), databases=SQLITE, trials=12),
    FaultScenario("kills", any_of(*KILLS, faults.kill_database), databases=POSTGRESQL, trials=12),
    FaultScenario("storms", any_of(*STORMS), PROXIED, trials=12),
    FaultScenario(
        "wipes",
        any_of(faults.flush_redis, faults.restart_redis_empty),
        RESENDING,
        (0.5, 2.0),
        POSTGRESQL,
        5,
    ),
    FaultScenario("copies", faults.repeat_everything, StackOptions(copies=5), (5, 5), SQLITE, 1),
    FaultScenario(
        "any order", faults.no_action, StackOptions(backwards=True), (6, 6), POSTGRESQL, 1
    ),
    FaultScenario("bad messages", faults.send_bad_message, StackOptions(), (0, 0.05), SQLITE, 151),
    FaultScenario("freeze", faults.freeze_worker, databases=POSTGRESQL, trials=1),
    FaultScenario("outage", faults.scheduler_outage, databases=SQLITE, trials=1),
    FaultScenario("disk full", faults.fill_disk, databases=SQLITE, trials=4),
    FaultScenario("rows", strangers.hold_rows(1), databases=POSTGRESQL, trials=2),
    FaultScenario("ten rows", strangers.hold_rows(10), databases=POSTGRESQL, trials=2),
    FaultScenario("deadlocks", strangers.deadlock, databases=POSTGRESQL, trials=1),
    FaultScenario("locked file", strangers.lock_sqlite, databases=SQLITE, trials=2),
    FaultScenario("flood", strangers.flood_unsigned, SIGNED, trials=5),
    FaultScenario("hogs", strangers.hog_processors, databases=SQLITE, trials=1),
    deadline_burst_scenario(5),
    wrong_clock_scenario("worker.1", 3_600),
    wrong_clock_scenario("scheduler.1", -3_600),
)

# What depends on the database least is tried on one of them.
ON_ONE_DATABASE = {
    deadline_burst_scenario(5).name: POSTGRESQL,
    wrong_clock_scenario("worker.1", 3_600).name: POSTGRESQL,
    wrong_clock_scenario("scheduler.1", -3_600).name: SQLITE,
}

RUNS = [
    pytest.param(
        scenario,
        database,
        marks=[pytest.mark.postgres] if database == "postgresql" else [],
        id=f"{scenario.name}-{database}".replace(" ", "_"),
    )
    for scenario in CAMPAIGNS
    for database in ON_ONE_DATABASE.get(scenario.name, scenario.databases)
]


@pytest.fixture(scope="module")
def campaigns(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    trials: int | None,
    seed: int,
) -> Iterator[dict[str, Future[TrialResult]]]:
    """Begin every campaign that was asked for, a few at a time: most of each is waiting."""
    futures: dict[str, Future[TrialResult]] = {}
    pool = ThreadPoolExecutor(MAX_CONCURRENT)
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.module is request.module:
            params: dict[str, Any] = item.callspec.params
            scenario, database = params["scenario"], params["database"]
            folder, trial_count = tmp_path_factory.mktemp("campaign"), trials or scenario.trials
            futures[item.name] = pool.submit(
                run_trial, scenario, database, trial_count, seed, folder
            )
    yield futures
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(("scenario", "database"), RUNS)
def test_under_faults_nothing_is_lost_nothing_twice_and_nothing_early(
    scenario: FaultScenario,
    database: str,
    seed: int,
    campaigns: dict[str, Future[TrialResult]],
    request: pytest.FixtureRequest,
) -> None:
    result = campaigns[request.node.name].result()
    assert (result.fault, result.database) == (scenario.name, database)
    assert result.faults == [], f"--seed {seed}"
    assert result.trials > 0
    assert result.recovery_s < MAX_RECOVERY_S
