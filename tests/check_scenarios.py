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
    seen = [line for line in lines if "outcome" in line]
    # Unequal lengths are a difference of their own, named last.
    for want, got in zip(expect["outcomes"], seen, strict=False):
        for key in ("id", "outcome", "reason"):
            if want[key] != got.get(key):
                yield f"{want['id']}: {key} is {got.get(key)!r}, not {want[key]!r}"
    if len(seen) != len(expect["outcomes"]):
        yield f"{len(seen)} outcomes, not {len(expect['outcomes'])}"
    yield from _summary_differs(expect, lines)
    counts = Counter(e.get("type") for line in lines for e in line.get("events", ()))
    for kind, number in expect["event_counts"].items():
        if counts[kind] != number:
            yield f"{counts[kind]} {kind} events, not {number}"


def _summary_differs(expect: Line, lines: list[Line]) -> Iterator[str]:
    summary = lines[-1] if lines and "orders" in lines[-1] else {"orders": {}, "ledger": {}}
    for order, fields in expect["orders"].items():
        for key, want in fields.items():
            got = summary["orders"].get(order, {}).get(key)
            if got != want:
                yield f"{order}: {key} is {got!r}, not {want!r}"
    for account, want in expect["ledger"].items():
        if summary["ledger"].get(account, 0) != want:
            yield f"ledger {account} is {summary['ledger'].get(account, 0)}, not {want}"
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
    passed = failed = 0
    for steps in sorted(Path(folder).glob("*.steps.jsonl")):
        wrong = wrong_with(steps, list(command))
        passed, failed = passed + (not wrong), failed + bool(wrong)
        for line in wrong[:6]:
            print(f"{steps.name.removesuffix('.steps.jsonl')}: {line}")  # noqa: T201
    print(f"{passed} passed, {failed} failed")  # noqa: T201
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
