"""Run: campaigns against real pipelines, and where each came to something else than the rules."""

# ruff: noqa: T201 - this program talks to people, through the terminal.

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import structlog

from ops.terminal import draw_table
from tests.law.campaign import RATE
from tests.law.controls.worker import control_names
from tests.law.rounds import RoundOptions, RoundResult, run_round

DATABASE_KINDS = ("sqlite", "postgresql")
SEED = 20_261_129
COMMANDS = 20_000
MAX_ROUND_COMMANDS = 50_000
"""Commands sent to one pipeline; more go to others, with seeds of their own."""

SEED_STRIDE = 1_000
"""From one seed's first round to the next seed's, so that no two rounds are alike."""

LOG_LEVEL = 50
MAX_DIFFERENCES_SHOWN = 3

HEADINGS = (
    "database",
    "seed",
    "workers",
    "disturbed by",
    "commands",
    "opposed",
    "dead",
    "differences",
    "bound",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if the law does not hold."""
    options = read_options(arguments)
    print(f"seed {options.seed}", file=sys.stderr)
    results = list(run_rounds(plan_rounds(options), options.jobs))
    if options.json:
        rows = [describe(result) for result in results]
        print(json.dumps({"seed": options.seed, "rounds": rows}, indent=2, ensure_ascii=False))
    else:
        print(draw_table("LAW", HEADINGS, [*map(table_row, results), total_row(results)]))
        for kind, count in sum((r.difference_counts for r in results), Counter[str]()).items():
            print(f"{kind}: {count:,}")
    return 1 if any(result.differences for result in results) else 0


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read what is asked; for what is wrong, print how to ask and exit."""
    parser = argparse.ArgumentParser(prog="earnest law", description=__doc__)
    parser.add_argument(
        "--commands", type=int, default=COMMANDS, metavar="N", help="per seed, default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="the first, default: %(default)s")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="how many")
    parser.add_argument("--database", choices=DATABASE_KINDS, help="only on this one")
    parser.add_argument("--workers", type=int, metavar="N", help="default: 1 to 6, by chance")
    parser.add_argument(
        "--faults",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="kill and freeze workers, wipe Redis, send poison",
    )
    parser.add_argument("--control", choices=tuple(control_names()), help="replace this part")
    parser.add_argument("--rate", type=int, default=RATE, help="a second, default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="pipelines at a time")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


def plan_rounds(options: argparse.Namespace) -> Iterator[RoundOptions]:
    """Divide what was asked into rounds, each against a pipeline of its own."""
    for number in range(options.seeds):
        for database in [options.database] if options.database else DATABASE_KINDS:
            seed, remaining = options.seed + number * SEED_STRIDE, options.commands
            while remaining > 0:
                count = min(remaining, MAX_ROUND_COMMANDS)
                yield RoundOptions(
                    seed=seed,
                    command_count=count,
                    database=database,
                    workers=options.workers,
                    has_faults=options.faults,
                    control=options.control,
                    rate=options.rate,
                )
                seed, remaining = seed + 1, remaining - count


def run_rounds(rounds: Iterator[RoundOptions], jobs: int) -> Iterator[RoundResult]:
    """Run rounds, each in a process of its own: no checker keeps another's sender waiting."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _silence, max_tasks_per_child=1) as pool:
        yield from pool.map(run_and_report, rounds)


def _silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVEL))


def run_and_report(options: RoundOptions) -> RoundResult:
    """Run a round and say on stderr what came of it; keep its state where the law was broken."""
    folder = Path(tempfile.mkdtemp(prefix="earnest-law-"))
    result = run_round(options, folder)
    seconds = f"{result.traffic_s:.0f} + {result.rest_s:.0f} + {result.check_s:.0f} s"
    lines = ["  ".join((*table_row(result), seconds))]
    for kind in result.difference_counts:
        of_kind = [difference for difference in result.differences if difference.kind == kind]
        lines += [
            f"    {kind} {difference.subject}: {difference.actual}, not {difference.expected}"
            for difference in of_kind[:MAX_DIFFERENCES_SHOWN]
        ]
    print("\n".join(lines), file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    return result


def table_row(result: RoundResult) -> tuple[str, ...]:
    """Write one row; where nothing differs, with the bound that so many commands give."""
    return (
        result.database,
        str(result.seed),
        str(result.workers),
        ", ".join(result.disturbances) or "nothing",
        *_figures([result]),
    )


def total_row(results: Sequence[RoundResult]) -> tuple[str, ...]:
    """Write the last row: everything added up."""
    return "all", "", "", "", *_figures(results)


def _figures(results: Sequence[RoundResult]) -> tuple[str, ...]:
    commands = sum(result.commands for result in results)
    opposed = sum(result.opposed for result in results)
    counted = sum(result.counted for result in results)
    differences = sum(len(result.differences) for result in results)
    dead_letters = sum(result.dead_letters for result in results)
    return (
        f"{commands:,}",
        f"{opposed / max(1, counted):.0%}",
        str(dead_letters),
        f"{differences:,}",
        bound_text(differences, commands),
    )


def bound_text(differences: int, commands: int) -> str:
    """Write the rule of three: with 95 % certainty fewer than one in so many differs."""
    return "-" if differences or not commands else f"< {3 / commands:.1e}"


def describe(result: RoundResult) -> dict[str, object]:
    """Write a round for programs, with a few of its differences."""
    row = asdict(result)
    row["differences"] = dict(result.difference_counts)
    row["examples"] = [asdict(difference) for difference in result.differences[:20]]
    return row


if __name__ == "__main__":
    sys.exit(main())
