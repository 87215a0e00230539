"""Real-process tests: real processes, real traffic, and whatever can go wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.fault import faults
from tests.fault.faults import PROXIED, WIPED, Trouble, any_of, crowded, kill, skewed, storm
from tests.fault.processes.proxy import Weather
from tests.fault.processes.stack import Plan
from tests.fault.trial import Verdict, endure

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(400)]


RECOVERY_S = 30.0


AT_ONCE = 3


KILLS = tuple(map(kill, ("worker", "relay", "scheduler", "redis")))


STORMS = (storm(Weather.STALL, 2.0), storm(Weather.DEAF, 0.6), storm(Weather.CUT, 0.5))


LITE, FULL = ("sqlite",), ("postgresql",)


# Several kinds of fault in one run: less time, and more that can coincide.
CAMPAIGNS = (
    Trouble("kills", any_of(*KILLS), databases=LITE, trials=12),
    Trouble("kills", any_of(*KILLS, faults.kill_database), databases=FULL, trials=12),
    Trouble("storms", any_of(*STORMS), PROXIED, trials=12),
    Trouble("wipes", any_of(faults.flush, faults.begin_empty), WIPED, (0.5, 2.0), FULL, 5),
    Trouble("copies", faults.repeat_everything, Plan(copies=5), (5, 5), LITE, 1),
    Trouble("any order", faults.nothing, Plan(backwards=True), (6, 6), FULL, 1),
    Trouble("bad messages", faults.send_rubbish, Plan(), (0, 0.05), LITE, 151),
    Trouble("freeze", faults.freeze_worker, databases=FULL, trials=1),
    Trouble("outage", faults.outage, databases=LITE, trials=1),
    Trouble("disk full", faults.fill_disk, databases=LITE, trials=4),
    crowded(5),
    skewed("worker.1", 3_600),
    skewed("scheduler.1", -3_600),
)


# What depends on the database least is tried on one of them.
ONCE = {
    crowded(5).name: FULL,
    skewed("worker.1", 3_600).name: FULL,
    skewed("scheduler.1", -3_600).name: LITE,
}


RUNS = [
    pytest.param(
        trouble,
        database,
        marks=[pytest.mark.postgres] if database == "postgresql" else [],
        id=f"{trouble.name}-{database}".replace(" ", "_"),
    )
    for trouble in CAMPAIGNS
    for database in ONCE.get(trouble.name, trouble.databases)
]


@pytest.fixture(scope="module")
def campaigns(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    trials: int | None,
    seed: int,
) -> Iterator[dict[str, Future[Verdict]]]:
    """Begin every campaign that was asked for, a few at a time: most of each is waiting."""
    futures: dict[str, Future[Verdict]] = {}
    pool = ThreadPoolExecutor(AT_ONCE)
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.module is request.module:
            params: dict[str, Any] = item.callspec.params
            trouble, database = params["trouble"], params["database"]
            folder, trial_count = tmp_path_factory.mktemp("campaign"), trials or trouble.trials
            futures[item.name] = pool.submit(endure, trouble, database, trial_count, seed, folder)
    yield futures
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(("trouble", "database"), RUNS)
def test_nothing_is_lost_nothing_twice_and_nothing_early(
    trouble: Trouble,
    database: str,
    seed: int,
    campaigns: dict[str, Future[Verdict]],
    request: pytest.FixtureRequest,
) -> None:
    verdict = campaigns[request.node.name].result()
    assert (verdict.fault, verdict.database) == (trouble.name, database)
    assert verdict.faults == [], f"--seed {seed}"
    assert verdict.trials > 0
    assert verdict.recovery_s < RECOVERY_S
