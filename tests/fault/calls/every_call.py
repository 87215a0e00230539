"""Every call: each call to the database and to Redis fails in turn, and nothing may come of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.fault.calls.call_counter import FailureMode
from tests.fault.calls.in_process_pipeline import (
    SCENARIO_NAMES,
    InProcessPipeline,
    Moment,
    TableRows,
    differences,
    event_ids,
    moments,
    unpublished_events,
)
from tests.support import servers
from workers.queue import consumer


@dataclass(slots=True)
class CallFailures:
    """How often a call failed, and what came out otherwise than undisturbed."""

    trials: int = 0
    moments: int = 0
    differences: list[str] = field(default_factory=list)


@contextmanager
def empty_servers(database: str) -> Iterator[tuple[str, str]]:
    """Give an empty database of a kind and an empty Redis, as URLs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="earnest-calls-")))
        redis_url = stack.enter_context(servers.running_redis(folder))
        # A consumer that met an error rests for a moment: here nobody mends anything meanwhile.
        stack.callback(setattr, consumer, "IDLE_S", consumer.IDLE_S)
        setattr(consumer, "IDLE_S", 0.01)  # noqa: B010 - a constant, but for us
        if database == "sqlite":
            yield f"sqlite:///{folder / 'earnest.db'}", redis_url
        else:
            postgres = stack.enter_context(servers.running_postgres())
            yield stack.enter_context(postgres.database()), redis_url


def choose_moments(seed: int, limit: int | None) -> dict[str, set[int]]:
    """Choose the moments to disturb: all, or of those alike by the rules one, or fewer."""
    examples_by_signature: dict[tuple[object, ...], tuple[str, int]] = {}
    all_moments = [
        (name, n, moment) for name in SCENARIO_NAMES for n, moment in enumerate(moments(name)[1])
    ]
    Random(seed).shuffle(all_moments)  # noqa: S311 - which example stands for its like
    for name, n, moment in all_moments:
        examples_by_signature.setdefault(moment.signature, (name, n))
    if limit is None:
        examples = [(name, n) for name, n, _ in all_moments]
    else:
        examples = list(examples_by_signature.values())[:limit]
    indexes_by_name: dict[str, set[int]] = {}
    for name, n in examples:
        indexes_by_name.setdefault(name, set()).add(n)
    return indexes_by_name


def fail_calls(
    database_url: str, redis_url: str, name: str, moment_indexes: set[int]
) -> CallFailures:
    """Play one worked example; at the chosen moments let every call fail, each in every way.

    Each moment begins with the database as the undisturbed run left it, and must end as that
    run ended it: so the whole journey does.
    """
    policy, timeline = moments(name)
    pipeline, failures = InProcessPipeline(database_url, redis_url, policy), CallFailures()
    try:
        left_by_others = pipeline.save()
        empty: TableRows = {table: [] for table in left_by_others}
        # A database is migrated with its first timeline in it.
        pipeline.restore(empty | {"timelines": left_by_others["timelines"]})
        pipeline.processor.store.adopt_policy()
        for n, moment in enumerate(timeline[: max(moment_indexes) + 1]):
            before = pipeline.save()
            pipeline.call_counter.fail_call(0, FailureMode.ERROR_BEFORE)
            pipeline.play(moment)
            after = pipeline.save()
            if n in moment_indexes:
                failures.moments += 1
                _fail_each_call(pipeline, moment, (before, after), failures)
                pipeline.restore(after)
    finally:
        pipeline.close()
    return failures


def _fail_each_call(
    pipeline: InProcessPipeline,
    moment: Moment,
    states: tuple[TableRows, TableRows],
    failures: CallFailures,
) -> None:
    before, after = states
    for mode in FailureMode:
        call_number = 0
        while True:
            call_number += 1
            pipeline.restore(before)
            pipeline.call_counter.fail_call(call_number, mode)
            pipeline.play(moment)
            if not pipeline.call_counter.failed_call:
                break
            failures.trials += 1
            call_name = f"call {call_number} ({pipeline.call_counter.failed_call})"
            label = f"{moment.signature} {call_name}, {mode}"
            failures.differences += [
                f"{label}: {difference}"
                for difference in _differences_from(pipeline, before, after)
            ]


def _differences_from(
    pipeline: InProcessPipeline, before: TableRows, expected: TableRows
) -> Iterator[str]:
    actual = pipeline.save()
    yield from differences(expected, actual)
    if unpublished_events(actual):
        yield f"not published: {unpublished_events(actual)}"
    unsent_ids = event_ids(actual) - event_ids(before) - pipeline.streamed_event_ids()
    if unsent_ids:
        yield f"not on the stream: {sorted(unsent_ids)}"
