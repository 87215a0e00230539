"""Verdict: what a pipeline made of a campaign, held against what the rules make of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ops.play import Ending, Forecast
from ops.simulate import Step
from ops.tables import Cell, draw, fit
from ops.whereabouts import Flow, draw_whereabouts

SHOWN = 5
"""How many of several differences are worth a line."""

NAME_COLUMNS = 36


class Answer(Protocol):
    """What a receipt says."""

    @property
    def outcome(self) -> str: ...

    @property
    def reason(self) -> str | None: ...


@dataclass(slots=True, kw_only=True)
class Found:
    """What there is in the end; `left` names processes that should have ended and have not."""

    outcomes: Mapping[str, Answer]
    answers: Counter[Ending]
    orders: Mapping[str, Ending]
    balances: Mapping[str, int]
    flows: Counter[Flow]
    reminders: Counter[Ending]
    lateness: Sequence[float]
    findings: Sequence[object]
    processes: Mapping[str, int] = field(default_factory=dict)
    left: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be right, and what is wrong with it."""

    what: str
    faults: tuple[str, ...]


def check(forecast: Forecast, found: Found) -> list[Check]:
    """Compare everything that decides whether all is right."""
    heard = {one: (receipt.outcome, receipt.reason) for one, receipt in found.outcomes.items()}
    owed = {account: fen for account, fen in forecast.balances.items() if fen}
    owned = {account: fen for account, fen in found.balances.items() if fen}
    return [
        Check("every command has the outcome foreseen", _differ(forecast.outcomes, heard)),
        Check("every message was answered, bad ones too", _differ(forecast.answers, found.answers)),
        Check("every order came to the ending foreseen", _differ(forecast.orders, found.orders)),
        Check("every account holds the money foreseen", _differ(owed, owned)),
        Check("every fen went where it should", _differ(forecast.flows, found.flows)),
        Check("the audit finds nothing wrong", tuple(map(str, found.findings))),
        Check("nothing is left running", tuple(found.left)),
    ]


def _differ(wanted: Mapping[Any, object], got: Mapping[Any, object]) -> tuple[str, ...]:
    """Say where two mappings differ."""
    return tuple(
        f"{_said(key)}: {_said(wanted.get(key))} was foreseen, {_said(got.get(key))} was found"
        for key in sorted(wanted.keys() | got.keys(), key=str)
        if wanted.get(key) != got.get(key)
    )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return " / ".join(str(part) for part in value if part is not None)
    return "nothing" if value is None else str(value)


def report(forecast: Forecast, found: Found, steps: Iterable[Step]) -> str:
    """Draw every table; the last one says whether all is right."""
    return "\n\n".join(
        (
            _endings(forecast, found, names(steps)),
            _commands(forecast, found),
            _reminders(forecast, found),
            draw_whereabouts(forecast.flows, found.flows),
            _lateness(found),
            draw(
                "PROCESSES USED", ("name", "pid"), [(n, str(p)) for n, p in found.processes.items()]
            ),
            _verdict(check(forecast, found)),
        )
    )


def names(steps: Iterable[Step]) -> dict[str, str]:
    """Return the orders' names, from the commands that placed them."""
    found: dict[str, str] = {}
    for step in steps:
        body = json.loads(step.command or "{}")
        if body.get("kind") == "place_order":
            found.setdefault(str(body.get("order_id")), str(body.get("name")))
    return found


def _endings(forecast: Forecast, found: Found, name_of: Mapping[str, str]) -> str:
    actual = Counter(found.orders.values())
    example = {
        ending: name_of.get(one, one) for one, ending in reversed(list(found.orders.items()))
    }
    rows: list[tuple[Cell, ...]] = [
        (*one, forecast.endings[one], actual[one], fit(example.get(one, "-"), NAME_COLUMNS))
        for one in sorted(forecast.endings | actual, key=str)
    ]
    rows.append(("all", "", forecast.endings.total(), actual.total(), ""))
    return draw("ORDERS", ("state", "reason", "foreseen", "actual", "for example"), rows)


def _commands(forecast: Forecast, found: Found) -> str:
    rows: list[tuple[Cell, ...]] = [
        (*one, forecast.answers[one], found.answers[one])
        for one in sorted(forecast.answers | found.answers, key=str)
    ]
    rows.append(("all", "", forecast.answers.total(), found.answers.total()))
    return draw("COMMANDS", ("outcome", "reason", "foreseen", "actual"), rows)


def _reminders(forecast: Forecast, found: Found) -> str:
    rows: list[tuple[Cell, ...]] = [
        (*one, forecast.reminders[one], found.reminders[one])
        for one in sorted(forecast.reminders | found.reminders, key=str)
    ]
    rows.append(("all", "", forecast.reminders.total(), found.reminders.total()))
    return draw("REMINDERS SENT", ("to", "about", "foreseen", "actual"), rows)


def _lateness(found: Found) -> str:
    ranks = (("p50", 0.50), ("p99", 0.99), ("max", 1.0))
    rows = [("deadlines enforced", len(found.lateness))]
    rows += [(f"{name}, ms", round(quantile(found.lateness, rank) * 1000)) for name, rank in ranks]
    return draw("LATENESS OF DEADLINES", ("measure", "value"), rows)


def quantile(values: Sequence[float], rank: float) -> float:
    """Return the smallest value that at least a share `rank` of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-rank * len(ordered) // 1) - 1)] if ordered else 0.0


def _verdict(checks: Sequence[Check]) -> str:
    rows: list[tuple[Cell, ...]] = []
    for one in checks:
        rows.append((one.what, f"NO, {len(one.faults)} wrong" if one.faults else "yes"))
        rows += [(f"  {fault}", "") for fault in one.faults[:SHOWN]]
    return draw("VERDICT", ("what must be so", "is it?"), rows)
