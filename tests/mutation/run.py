"""Run: a sample of small faults in the rules, and those that no test noticed."""

# ruff: noqa: T201 - this program talks to people, through the terminal.

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.equivalents import FILE, Equivalent, read_equivalents, stale
from tests.mutation.mutants import SourceMutant, every_mutant, sample
from tests.mutation.trials import CallMap, Copy, MutationError, Target, Trial, copies

SEED = 20_261_130
NUMBER = 200
REQUIRED_SHARE = 0.95


def main(arguments: Sequence[str] | None = None, target: Target = Target()) -> int:  # noqa: B008
    """Print the survivors; return 1 if too many survive, 2 if the run cannot be made."""
    options = read_options(arguments)
    if options.tests:
        target = replace(target, tests=tuple(options.tests))
    try:
        trials, equivalent_count = run(target, options)
    except MutationError as error:
        print(f"earnest mutants: {error}", file=sys.stderr)
        return 2
    print("\n".join(report(options, trials, equivalent_count)))
    return 0 if killed_share(trials) >= REQUIRED_SHARE else 1


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read what is asked; for what is wrong, print how to ask and exit."""
    parser = argparse.ArgumentParser(prog="earnest mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument(
        "--number", type=int, default=NUMBER, metavar="N", help="mutants, default: %(default)s"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time")
    parser.add_argument(
        "--only", type=int, nargs="+", metavar="I", help="these of the sample, by their numbers"
    )
    parser.add_argument(
        "--calls", type=Path, metavar="FILE", help="read which test calls what; write if absent"
    )
    parser.add_argument(
        "--tests", nargs="+", metavar="PATH", help="only these: who survives them may die by others"
    )
    parser.add_argument("--equivalents", type=Path, default=FILE, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run(target: Target, options: argparse.Namespace) -> tuple[list[Trial], int]:
    """Try the sample out; give the trials, and how many are named as equivalent instead."""
    equivalents = read_equivalents(options.equivalents)
    check_current(equivalents, target)
    keys = {equivalent.key for equivalent in equivalents}
    mutants = dict(enumerate(sample(target.root, target.package, options.seed, options.number), 1))
    if options.only:
        mutants = {number: mutants[number] for number in options.only}
    candidates = {number: mutant for number, mutant in mutants.items() if mutant.key not in keys}
    with copies(target, options.jobs) as trees:
        calls = call_map(trees[0], options.calls)
        return list(try_all(candidates, trees, calls)), len(mutants) - len(candidates)


def check_current(equivalents: Sequence[Equivalent], target: Target) -> None:
    stale_entries = stale(equivalents, every_mutant(target.root, target.package))
    if stale_entries:
        lines = "\n".join(map(str, stale_entries))
        raise MutationError(f"no mutant answers to these equivalents any more:\n{lines}")


def call_map(tree: Copy, path: Path | None) -> CallMap:
    """Find out who calls what, or read what an earlier run found out about the same tests."""
    if path and path.exists():
        former_calls = CallMap(**json.loads(path.read_text(encoding="utf-8")))
        if former_calls.tests.keys() == set(tree.list_tests()):
            return former_calls
    print("running the tests without a mutant", file=sys.stderr)
    calls = tree.record_calls()
    if path:
        text = {"tests": calls.tests, "called_by_import": calls.called_by_import}
        path.write_text(json.dumps(text), encoding="utf-8")
    return calls


def try_all(
    mutants: dict[int, SourceMutant], trees: Sequence[Copy], calls: CallMap
) -> Iterator[Trial]:
    """Try mutants, one in each copy of the tree at a time; say on stderr what came of each."""
    free_trees: SimpleQueue[Copy] = SimpleQueue()
    for tree in trees:
        free_trees.put(tree)

    def try_next(number: int) -> Trial:
        tree = free_trees.get()
        try:
            trial = tree.try_out(mutants[number], calls)
        finally:
            free_trees.put(tree)
        result = f"{number:4} {trial.ending:8} {trial.duration_s:5.1f} s"
        print(f"{result}  {trial.mutant}  {trial.killer}", file=sys.stderr, flush=True)
        return trial

    with ThreadPoolExecutor(len(trees)) as pool:
        yield from pool.map(try_next, mutants)


def killed_share(trials: Sequence[Trial]) -> float:
    return sum(trial.ending != "survived" for trial in trials) / max(1, len(trials))


def report(
    options: argparse.Namespace, trials: Sequence[Trial], equivalent_count: int
) -> Iterator[str]:
    """Write the counts, by kind too, and every survivor with its line."""
    endings = Counter(trial.ending for trial in trials)
    yield (
        f"seed {options.seed}: {len(trials)} mutants, {endings['killed']} killed, "
        f"{endings['timeout']} never ended, {endings['survived']} survived "
        f"({killed_share(trials):.1%} killed); {equivalent_count} equivalent ones left out"
    )
    for kind in sorted({trial.mutant.kind for trial in trials}):
        of_kind = [trial for trial in trials if trial.mutant.kind == kind]
        survivors = sum(trial.ending == "survived" for trial in of_kind)
        yield f"  {kind}: {len(of_kind)}, {survivors} survived"
    for trial in trials:
        if trial.ending == "survived":
            yield str(trial.mutant)
            yield f"    {trial.mutant.line_text}"


if __name__ == "__main__":
    sys.exit(main())
