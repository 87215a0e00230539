"""Check: run scenarios through a command and compare with what must come out.

usage: python tests/check_scenarios.py FOLDER COMMAND [ARG ...]
e.g.   python tests/check_scenarios.py tests/scenarios ./earnest simulate
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def differences(expect: Line, lines: list[Line]) -> Iterator[str]:
    """Name every way in which the output differs from what was expected."""
    outcomes = [line for line in lines if "outcome" in line]
    # They come in the order of judging, which may not be that of the steps.
    by_id: dict[str | None, list[Line]] = {}
    for outcome in outcomes:
        by_id.setdefault(outcome.get("id"), []).append(outcome)
    for expected in expect["outcomes"]:
        same_id = by_id.get(expected["id"])
        actual = same_id.pop(0) if same_id else {}
        for key in ("id", "outcome", "reason"):
            if expected[key] != actual.get(key):
                yield f"{expected['id']}: {key} is {actual.get(key)!r}, not {expected[key]!r}"
    if len(outcomes) != len(expect["outcomes"]):
        yield f"{len(outcomes)} outcomes, not {len(expect['outcomes'])}"
    yield from _summary_differs(expect, lines)
    counts = Counter(e.get("type") for line in lines for e in line.get("events", ()))
    for kind, number in expect["event_counts"].items():
        if counts[kind] != number:
            yield f"{counts[kind]} {kind} events, not {number}"


def _summary_differs(expect: Line, lines: list[Line]) -> Iterator[str]:
    summary = lines[-1] if lines and "orders" in lines[-1] else {"orders": {}, "ledger": {}}
    for order, fields in expect["orders"].items():
        for key, expected in fields.items():
            actual = summary["orders"].get(order, {}).get(key)
            if actual != expected:
                yield f"{order}: {key} is {actual!r}, not {expected!r}"
    for account, expected in expect["ledger"].items():
        if summary["ledger"].get(account, 0) != expected:
            yield f"ledger {account} is {summary['ledger'].get(account, 0)}, not {expected}"
    if sum(summary["ledger"].values()):
        yield f"the ledger sums to {sum(summary['ledger'].values())}, not 0"


def wrong_with(steps: Path, command: list[str]) -> list[str]:
    """Run one scenario through a command; return what is wrong with what came out."""
    name = steps.name.removesuffix(".steps.jsonl")
    policy = steps.with_name(f"{name}.policy.json")
    args = [*command, str(steps), *(["--policy", str(policy)] if policy.exists() else [])]
    try:
        run = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
        lines = [json.loads(line) for line in run.stdout.splitlines() if line.strip()]
        expect = json.loads(steps.with_name(f"{name}.expect.json").read_text("utf-8"))
        return list(differences(expect, lines))
    except subprocess.TimeoutExpired:
        return ["no answer in 60 s"]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        return [f"output not readable: {error!r}; {run.stderr[-300:]}"]


def main(folder: str, *command: str) -> int:
    """Check every scenario in a folder; return the exit status."""
    passed_count = failed_count = 0
    for steps in sorted(Path(folder).glob("*.steps.jsonl")):
        wrong = wrong_with(steps, list(command))
        passed_count, failed_count = passed_count + (not wrong), failed_count + bool(wrong)
        for line in wrong[:6]:
            print(f"{steps.name.removesuffix('.steps.jsonl')}: {line}")  # noqa: T201
    print(f"{passed_count} passed, {failed_count} failed")  # noqa: T201
    return 1 if failed_count or not passed_count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
