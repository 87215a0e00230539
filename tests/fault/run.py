"""Run: every fault, one table."""

# ruff: noqa: T201 - this program talks to people, through the terminal.

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from ops.terminal import draw_table
from tests.fault.calls import every_call
from tests.fault.checks.checker import CheckerFinding, FindingKind
from tests.fault.control import experiment
from tests.fault.faults import DATABASE_KINDS, FAULT_SCENARIOS, FaultScenario
from tests.fault.trial import TrialResult, run_trial
from tests.support import servers

HEADINGS = (
    "fault",
    "database",
    "trials",
    "lost",
    "twice",
    "early",
    "wrong",
    "late s",
    "recovery s",
)

KINDS: tuple[FindingKind, ...] = ("lost", "twice", "early", "wrong")
EVERY_CALL = "each call fails in turn"
SEED = 20_260_302
LOG_LEVEL = 50
MAX_FINDINGS_SHOWN = 5

MOMENTS = 20
"""Kinds of moments at which every call fails; there are about 65, and `--trials 100` tries all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if anything at all went wrong, or the naive build did not."""
    options = _parser().parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVEL))
    print(f"seed {options.seed}", file=sys.stderr)
    with ThreadPoolExecutor(options.jobs) as pool, cancel_on_interrupt(pool):
        results = (
            [] if options.control else [future.result() for future in _submit_trials(options, pool)]
        )
        laws_by_control = (
            _run_controls(options, pool) if options.control or not options.only else {}
        )
    if options.json:
        rows = [asdict(result) for result in results]
        print(
            json.dumps({"seed": options.seed, "rows": rows, "control": laws_by_control}, indent=2)
        )
    elif options.markdown:
        print("\n".join(markdown_table(results)))
    else:
        print(draw_table("FAULTS", HEADINGS, [table_row(result) for result in results]))
        for name, laws in laws_by_control.items():
            print(f"control, {name}: {', '.join(laws) or 'survived'}")
    has_faults = any(result.faults for result in results)
    control_survived = any(
        not laws for name, laws in laws_by_control.items() if name != experiment.NO_FAULT
    )
    return 1 if has_faults or control_survived else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="earnest faults", description=__doc__)
    parser.add_argument("--trials", type=int, metavar="N", help="blows of each kind of fault")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument("--only", metavar="TEXT", help="only faults with this in their names")
    parser.add_argument("--database", choices=DATABASE_KINDS, help="only on this one")
    parser.add_argument("--crowd", type=int, metavar="N", help="deadlines due at once")
    parser.add_argument("--control", action="store_true", help="only the naive build")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="runs at a time")
    parser.add_argument("--markdown", action="store_true", help="the table of docs/reliability.md")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


@contextmanager
def cancel_on_interrupt(pool: ThreadPoolExecutor) -> Iterator[None]:
    """When somebody has seen enough, end what runs in good order, and begin nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _submit_trials(
    options: argparse.Namespace, pool: ThreadPoolExecutor
) -> list[Future[TrialResult]]:
    """Try everything, a few runs at a time; the order is that of the table."""
    databases = [options.database] if options.database else list(DATABASE_KINDS)
    if "postgresql" in databases and servers.postgres_binaries() is None:
        print("PostgreSQL is not installed: only SQLite is tried", file=sys.stderr)
        databases.remove("postgresql")
    futures: list[Future[TrialResult]] = []
    if not options.only or options.only in EVERY_CALL:
        futures = [
            pool.submit(fail_every_call, database, options.seed, options.trials or MOMENTS)
            for database in databases
        ]
    for scenario in FAULT_SCENARIOS:
        if not options.only or options.only in scenario.name:
            supported = [database for database in databases if database in scenario.databases]
            futures += [
                pool.submit(_run_trial, scenario, database, options) for database in supported
            ]
    return futures


def fail_every_call(database: str, seed: int, limit: int | None) -> TrialResult:
    """Let every call fail, at one of all moments that are alike, in all the worked examples."""
    result = TrialResult(EVERY_CALL, database, 0)
    with every_call.empty_servers(database) as (database_url, redis_url):
        servers.migrate_database(database_url)
        for name, moment_indexes in every_call.choose_moments(seed, limit).items():
            failures = every_call.fail_calls(database_url, redis_url, name, moment_indexes)
            result.trials += failures.trials
            result.faults += [
                CheckerFinding("wrong", "undisturbed", name, detail)
                for detail in failures.differences
            ]
    return _print_result(result)


def _run_trial(scenario: FaultScenario, database: str, options: argparse.Namespace) -> TrialResult:
    folder = Path(tempfile.mkdtemp(prefix="earnest-fault-"))
    if options.crowd:
        scenario = scenario.with_burst_size(options.crowd)
    result = run_trial(scenario, database, options.trials or scenario.trials, options.seed, folder)
    if result.faults:
        print(f"{scenario.name}: its state is kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return _print_result(result)


def _print_result(result: TrialResult) -> TrialResult:
    print("  ".join(table_row(result)), file=sys.stderr)
    for fault in result.faults[:MAX_FINDINGS_SHOWN]:
        print(f"    {fault.kind} {fault.law} {fault.where}: {fault.detail}", file=sys.stderr)
    return result


def _run_controls(options: argparse.Namespace, pool: ThreadPoolExecutor) -> dict[str, list[str]]:
    """Let the faults loose on the naive build; return the laws that it broke."""

    def broken_laws(name: str) -> list[str]:
        with TemporaryDirectory(prefix="earnest-control-") as folder:
            faults = experiment.run_control(name, Path(folder), options.seed)
        return sorted({f"{fault.kind}: {fault.law}" for fault in faults})

    return dict(
        zip(
            experiment.CONTROL_FAULTS, pool.map(broken_laws, experiment.CONTROL_FAULTS), strict=True
        )
    )


def markdown_table(results: Sequence[TrialResult]) -> Iterator[str]:
    """Write the table of the docs: a row for each fault, both databases added up."""
    heads = ("fault", "trials", "lost", "twice", "early", "wrong", "late, s", "recovery, s")
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    for fault_name in dict.fromkeys(result.fault for result in results):
        per_database = [result for result in results if result.fault == fault_name]
        total = TrialResult(fault_name, "", sum(result.trials for result in per_database))
        total.faults = [fault for result in per_database for fault in result.faults]
        total.lateness_s = max(result.lateness_s for result in per_database)
        total.recovery_s = max(result.recovery_s for result in per_database)
        name, _, *cells = table_row(total)
        yield f"| {name} | {' | '.join(cells)} |"


def table_row(result: TrialResult) -> tuple[str, ...]:
    """Write one row; a zero bears the bound that so many trials without a failure give."""
    counts = (count_text(result, kind) for kind in KINDS)
    figures = f"{result.lateness_s:.1f}", f"{result.recovery_s:.1f}"
    return result.fault, result.database, f"{result.trials:,}", *counts, *figures


def count_text(result: TrialResult, kind: FindingKind) -> str:
    """Write a count; for none the rule of three: with 95 % certainty there are fewer."""
    count, bound = result.count(kind), 100 * min(1.0, 3 / max(1, result.trials))
    return str(count) if count else f"0 (<{bound:.0f}%)" if bound >= 1 else f"0 (<{bound:.2g}%)"


if __name__ == "__main__":
    sys.exit(main())
