"""Comparison: what a pipeline made of a campaign, held against what the rules make of it.

Where every fen came from and where it went stands in tables that add up to nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.ledger import FEES, FORFEITED, INCOME, PSP, SUSPENSE
from ops.simulation.replay import Ending, Flow, Forecast
from ops.simulation.simulate import Step
from ops.terminal import Cell, draw, fit

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


def check(forecast: Forecast, actual: Found) -> list[Check]:
    """Compare everything that decides whether all is right."""
    outcomes = {
        command_id: (receipt.outcome, receipt.reason)
        for command_id, receipt in actual.outcomes.items()
    }
    expected_balances = {account: fen for account, fen in forecast.balances.items() if fen}
    actual_balances = {account: fen for account, fen in actual.balances.items() if fen}
    return [
        Check("every command has the outcome foreseen", _differ(forecast.outcomes, outcomes)),
        Check(
            "every message was answered, bad ones too", _differ(forecast.answers, actual.answers)
        ),
        Check("every order came to the ending foreseen", _differ(forecast.orders, actual.orders)),
        Check(
            "every account holds the money foreseen", _differ(expected_balances, actual_balances)
        ),
        Check("every fen went where it should", _differ(forecast.flows, actual.flows)),
        Check("the audit finds nothing wrong", tuple(map(str, actual.findings))),
        Check("nothing is left running", tuple(actual.left)),
    ]


def _differ(expected: Mapping[Any, object], actual: Mapping[Any, object]) -> tuple[str, ...]:
    """Say where two mappings differ."""
    return tuple(
        f"{_said(key)}: {_said(expected.get(key))} was foreseen, {_said(actual.get(key))} was found"
        for key in sorted(expected.keys() | actual.keys(), key=str)
        if expected.get(key) != actual.get(key)
    )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return " / ".join(str(part) for part in value if part is not None)
    return "nothing" if value is None else str(value)


def report(forecast: Forecast, actual: Found, steps: Iterable[Step]) -> str:
    """Draw every table; the last one says whether all is right."""
    return "\n\n".join(
        (
            _endings(forecast, actual, names(steps)),
            _commands(forecast, actual),
            _reminders(forecast, actual),
            draw_whereabouts(forecast.flows, actual.flows),
            _lateness(actual),
            draw(
                "PROCESSES USED",
                ("name", "pid"),
                [(n, str(p)) for n, p in actual.processes.items()],
            ),
            _verdict(check(forecast, actual)),
        )
    )


def names(steps: Iterable[Step]) -> dict[str, str]:
    """Return the orders' names, from the commands that placed them."""
    names_by_order_id: dict[str, str] = {}
    for step in steps:
        body = json.loads(step.command or "{}")
        if body.get("kind") == "place_order":
            names_by_order_id.setdefault(str(body.get("order_id")), str(body.get("name")))
    return names_by_order_id


def _endings(forecast: Forecast, actual: Found, names_by_order_id: Mapping[str, str]) -> str:
    actual_endings = Counter(actual.orders.values())
    examples = {
        ending: names_by_order_id.get(order_id, order_id)
        for order_id, ending in reversed(list(actual.orders.items()))
    }
    rows: list[tuple[Cell, ...]] = [
        (
            *ending,
            forecast.endings[ending],
            actual_endings[ending],
            fit(examples.get(ending, "-"), NAME_COLUMNS),
        )
        for ending in sorted(forecast.endings | actual_endings, key=str)
    ]
    rows.append(("all", "", forecast.endings.total(), actual_endings.total(), ""))
    return draw("ORDERS", ("state", "reason", "foreseen", "actual", "for example"), rows)


def _commands(forecast: Forecast, actual: Found) -> str:
    rows: list[tuple[Cell, ...]] = [
        (*outcome, forecast.answers[outcome], actual.answers[outcome])
        for outcome in sorted(forecast.answers | actual.answers, key=str)
    ]
    rows.append(("all", "", forecast.answers.total(), actual.answers.total()))
    return draw("COMMANDS", ("outcome", "reason", "foreseen", "actual"), rows)


def _reminders(forecast: Forecast, actual: Found) -> str:
    rows: list[tuple[Cell, ...]] = [
        (*reminder, forecast.reminders[reminder], actual.reminders[reminder])
        for reminder in sorted(forecast.reminders | actual.reminders, key=str)
    ]
    rows.append(("all", "", forecast.reminders.total(), actual.reminders.total()))
    return draw("REMINDERS SENT", ("to", "about", "foreseen", "actual"), rows)


def _lateness(actual: Found) -> str:
    ranks = (("p50", 0.50), ("p99", 0.99), ("max", 1.0))
    rows = [("deadlines enforced", len(actual.lateness))]
    rows += [(f"{name}, ms", round(quantile(actual.lateness, rank) * 1000)) for name, rank in ranks]
    return draw("LATENESS OF DEADLINES", ("measure", "value"), rows)


def quantile(values: Sequence[float], rank: float) -> float:
    """Return the smallest value that at least a share `rank` of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-rank * len(ordered) // 1) - 1)] if ordered else 0.0


def _verdict(checks: Sequence[Check]) -> str:
    rows: list[tuple[Cell, ...]] = []
    for check in checks:
        rows.append((check.what, f"NO, {len(check.faults)} wrong" if check.faults else "yes"))
        rows += [(f"  {fault}", "") for fault in check.faults[:SHOWN]]
    return draw("VERDICT", ("what must be so", "is it?"), rows)


ESCROW, OWED = "escrow", "refunds_payable"
CREATORS, AGENCIES = "payable:creator", "payable:mcn"


Sums = Counter[str]
"""Fen by line of a table."""

NOW = (
    ("waits to be refunded", OWED),
    ("waits to be paid out to creators", CREATORS),
    ("waits to be paid out to agencies", AGENCIES),
    ("service fees", FEES),
    ("forfeited, and not released", FORFEITED),
    ("released to the platform", INCOME),
    ("in suspense", SUSPENSE),
    ("in escrow", ESCROW),
)
"""Where money can be, as people call it, and the accounts where it is."""

GONE = (
    ("refunded to clients", OWED),
    ("paid out to creators", CREATORS),
    ("paid out to agencies", AGENCIES),
)
"""How money leaves, and the accounts from which it does."""

RELEASED = (
    ("reinstated, with the order", ESCROW),
    ("released to creators", CREATORS),
    ("released to agencies", AGENCIES),
    ("released to the platform", INCOME),
    ("released to clients", OWED),
)
"""What becomes of a forfeited deposit."""


def draw_whereabouts(foreseen: Counter[Flow], actual: Counter[Flow]) -> str:
    """Draw where all money is that ever arrived, and what became of forfeited deposits."""
    return "\n\n".join(
        (
            _draw_sums("WHERE EVERY FEN WENT", _money_sums(foreseen), _money_sums(actual)),
            _draw_sums(
                "FORFEITED DEPOSITS, IN FEN", _deposit_sums(foreseen), _deposit_sums(actual)
            ),
        )
    )


def _money_sums(fen_by_flow: Counter[Flow]) -> Sums:
    """Hold what came against where it went and where it is."""
    sums = Sums({"received from clients": _out_of(PSP, fen_by_flow)})
    sums.update({name: -fen_by_flow[account, PSP] for name, account in GONE})
    sums.update(
        {name: _out_of(account, fen_by_flow) - _into(account, fen_by_flow) for name, account in NOW}
    )
    return sums


def _deposit_sums(fen_by_flow: Counter[Flow]) -> Sums:
    sums = Sums({"forfeited": _into(FORFEITED, fen_by_flow)})
    sums.update({name: -fen_by_flow[FORFEITED, account] for name, account in RELEASED})
    sums["not released"] = _out_of(FORFEITED, fen_by_flow) - _into(FORFEITED, fen_by_flow)
    return sums


def _into(account: str, fen_by_flow: Counter[Flow]) -> int:
    return sum(fen for (_, target), fen in fen_by_flow.items() if target == account)


def _out_of(account: str, fen_by_flow: Counter[Flow]) -> int:
    return sum(fen for (source, _), fen in fen_by_flow.items() if source == account)


def _draw_sums(title: str, foreseen: Sums, actual: Sums) -> str:
    rows: list[tuple[Cell, ...]] = [(name, foreseen[name], actual[name]) for name in foreseen]
    rows.append(("sum", foreseen.total(), actual.total()))
    return draw(title, ("fen", "foreseen", "actual"), rows)
