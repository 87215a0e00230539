"""Comparison: what a pipeline made of a campaign, held against what the rules make of it.

Where every fen came from and where it went stands in tables that add up to nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.ledger import FORFEITED_DEPOSITS, PLATFORM_INCOME, PSP, SERVICE_FEES, SUSPENSE
from ops.simulation.replay import AccountFlow, Expectation, StateAndReason
from ops.simulation.simulate import SimulationStep
from ops.terminal import Cell, draw_table, shorten

MAX_DIFFERENCES = 5
"""How many of several differences are worth a line."""

NAME_COLUMNS = 36


class OutcomeAndReason(Protocol):
    """What a receipt says."""

    @property
    def outcome(self) -> str: ...

    @property
    def reason(self) -> str | None: ...


@dataclass(slots=True, kw_only=True)
class ActualResult:
    """What there is in the end; `still_running` names processes that should have ended."""

    outcomes: Mapping[str, OutcomeAndReason]
    answers: Counter[StateAndReason]
    orders: Mapping[str, StateAndReason]
    balances: Mapping[str, int]
    flows: Counter[AccountFlow]
    reminders: Counter[StateAndReason]
    lateness: Sequence[float]
    findings: Sequence[object]
    processes: Mapping[str, int] = field(default_factory=dict)
    still_running: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that must be right, and what is wrong with it."""

    claim: str
    faults: tuple[str, ...]


def compare(expectation: Expectation, actual: ActualResult) -> list[Comparison]:
    """Compare everything that decides whether all is right."""
    outcomes = {key: (receipt.outcome, receipt.reason) for key, receipt in actual.outcomes.items()}
    expected_balances = {account: fen for account, fen in expectation.balances.items() if fen}
    actual_balances = {account: fen for account, fen in actual.balances.items() if fen}
    return [
        Comparison(
            "every command has the outcome foreseen", _differences(expectation.outcomes, outcomes)
        ),
        Comparison(
            "every message was answered, bad ones too",
            _differences(expectation.answers, actual.answers),
        ),
        Comparison(
            "every order came to the ending foreseen",
            _differences(expectation.orders, actual.orders),
        ),
        Comparison(
            "every account holds the money foreseen",
            _differences(expected_balances, actual_balances),
        ),
        Comparison("every fen went where it should", _differences(expectation.flows, actual.flows)),
        Comparison("the audit finds nothing wrong", tuple(map(str, actual.findings))),
        Comparison("nothing is left running", tuple(actual.still_running)),
    ]


def _differences(expected: Mapping[Any, object], actual: Mapping[Any, object]) -> tuple[str, ...]:
    """Say where two mappings differ."""
    return tuple(
        f"{_value_text(key)}: {_value_text(expected.get(key))} was foreseen, "
        f"{_value_text(actual.get(key))} was found"
        for key in sorted(expected.keys() | actual.keys(), key=str)
        if expected.get(key) != actual.get(key)
    )


def _value_text(value: object) -> str:
    if isinstance(value, tuple):
        return " / ".join(str(part) for part in value if part is not None)
    return "nothing" if value is None else str(value)


def render_comparison(
    expectation: Expectation, actual: ActualResult, steps: Iterable[SimulationStep]
) -> str:
    """Draw every table; the last one says whether all is right."""
    return "\n\n".join(
        (
            _endings_table(expectation, actual, order_names(steps)),
            _commands_table(expectation, actual),
            _reminders_table(expectation, actual),
            draw_flows(expectation.flows, actual.flows),
            _lateness_table(actual),
            draw_table(
                "PROCESSES USED",
                ("name", "pid"),
                [(n, str(p)) for n, p in actual.processes.items()],
            ),
            _checks_table(compare(expectation, actual)),
        )
    )


def order_names(steps: Iterable[SimulationStep]) -> dict[str, str]:
    """Return the orders' names, from the commands that placed them."""
    names_by_order_id: dict[str, str] = {}
    for step in steps:
        body = json.loads(step.command or "{}")
        if body.get("kind") == "place_order":
            names_by_order_id.setdefault(str(body.get("order_id")), str(body.get("name")))
    return names_by_order_id


def _endings_table(
    expectation: Expectation, actual: ActualResult, names_by_order_id: Mapping[str, str]
) -> str:
    actual_endings = Counter(actual.orders.values())
    examples = {
        ending: names_by_order_id.get(order_id, order_id)
        for order_id, ending in reversed(list(actual.orders.items()))
    }
    rows: list[tuple[Cell, ...]] = [
        (
            *ending,
            expectation.endings[ending],
            actual_endings[ending],
            shorten(examples.get(ending, "-"), NAME_COLUMNS),
        )
        for ending in sorted(expectation.endings | actual_endings, key=str)
    ]
    rows.append(("all", "", expectation.endings.total(), actual_endings.total(), ""))
    return draw_table("ORDERS", ("state", "reason", "foreseen", "actual", "for example"), rows)


def _commands_table(expectation: Expectation, actual: ActualResult) -> str:
    rows: list[tuple[Cell, ...]] = [
        (*outcome, expectation.answers[outcome], actual.answers[outcome])
        for outcome in sorted(expectation.answers | actual.answers, key=str)
    ]
    rows.append(("all", "", expectation.answers.total(), actual.answers.total()))
    return draw_table("COMMANDS", ("outcome", "reason", "foreseen", "actual"), rows)


def _reminders_table(expectation: Expectation, actual: ActualResult) -> str:
    rows: list[tuple[Cell, ...]] = [
        (*reminder, expectation.reminders[reminder], actual.reminders[reminder])
        for reminder in sorted(expectation.reminders | actual.reminders, key=str)
    ]
    rows.append(("all", "", expectation.reminders.total(), actual.reminders.total()))
    return draw_table("REMINDERS SENT", ("to", "about", "foreseen", "actual"), rows)


def _lateness_table(actual: ActualResult) -> str:
    ranks = (("p50", 0.50), ("p99", 0.99), ("max", 1.0))
    rows = [("deadlines enforced", len(actual.lateness))]
    rows += [(f"{name}, ms", round(quantile(actual.lateness, rank) * 1000)) for name, rank in ranks]
    return draw_table("LATENESS OF DEADLINES", ("measure", "value"), rows)


def quantile(values: Sequence[float], rank: float) -> float:
    """Return the smallest value that at least a share `rank` of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-rank * len(ordered) // 1) - 1)] if ordered else 0.0


def _checks_table(checks: Sequence[Comparison]) -> str:
    rows: list[tuple[Cell, ...]] = []
    for check in checks:
        rows.append((check.claim, f"NO, {len(check.faults)} wrong" if check.faults else "yes"))
        rows += [(f"  {fault}", "") for fault in check.faults[:MAX_DIFFERENCES]]
    return draw_table("VERDICT", ("what must be so", "is it?"), rows)


ESCROW, REFUNDS_PAYABLE = "escrow", "refunds_payable"
CREATORS, AGENCIES = "payable:creator", "payable:mcn"

FenByLine = Counter[str]
"""Fen by line of a table."""

MONEY_HELD = (
    ("waits to be refunded", REFUNDS_PAYABLE),
    ("waits to be paid out to creators", CREATORS),
    ("waits to be paid out to agencies", AGENCIES),
    ("service fees", SERVICE_FEES),
    ("forfeited, and not released", FORFEITED_DEPOSITS),
    ("released to the platform", PLATFORM_INCOME),
    ("in suspense", SUSPENSE),
    ("in escrow", ESCROW),
)
"""Where money can be, as people call it, and the accounts where it is."""

MONEY_PAID_OUT = (
    ("refunded to clients", REFUNDS_PAYABLE),
    ("paid out to creators", CREATORS),
    ("paid out to agencies", AGENCIES),
    ("never came, and is void", SUSPENSE),
)
"""How money leaves, and the accounts from which it does."""

FORFEITS_RELEASED = (
    ("reinstated, with the order", ESCROW),
    ("released to creators", CREATORS),
    ("released to agencies", AGENCIES),
    ("released to the platform", PLATFORM_INCOME),
    ("released to clients", REFUNDS_PAYABLE),
)
"""What becomes of a forfeited deposit."""


def draw_flows(expected: Counter[AccountFlow], actual: Counter[AccountFlow]) -> str:
    """Draw where all money is that ever arrived, and what became of forfeited deposits."""
    return "\n\n".join(
        (
            _draw_sums("WHERE EVERY FEN WENT", _money_sums(expected), _money_sums(actual)),
            _draw_sums(
                "FORFEITED DEPOSITS, IN FEN", _deposit_sums(expected), _deposit_sums(actual)
            ),
        )
    )


def _money_sums(fen_by_flow: Counter[AccountFlow]) -> FenByLine:
    """Hold what came against where it went and where it is."""
    sums = FenByLine({"received from clients": _outflow(PSP, fen_by_flow)})
    sums.update({name: -fen_by_flow[account, PSP] for name, account in MONEY_PAID_OUT})
    sums.update(
        {
            name: _outflow(account, fen_by_flow) - _inflow(account, fen_by_flow)
            for name, account in MONEY_HELD
        }
    )
    return sums


def _deposit_sums(fen_by_flow: Counter[AccountFlow]) -> FenByLine:
    sums = FenByLine({"forfeited": _inflow(FORFEITED_DEPOSITS, fen_by_flow)})
    sums.update(
        {name: -fen_by_flow[FORFEITED_DEPOSITS, account] for name, account in FORFEITS_RELEASED}
    )
    sums["not released"] = _outflow(FORFEITED_DEPOSITS, fen_by_flow) - _inflow(
        FORFEITED_DEPOSITS, fen_by_flow
    )
    return sums


def _inflow(account: str, fen_by_flow: Counter[AccountFlow]) -> int:
    return sum(fen for (_, target), fen in fen_by_flow.items() if target == account)


def _outflow(account: str, fen_by_flow: Counter[AccountFlow]) -> int:
    return sum(fen for (source, _), fen in fen_by_flow.items() if source == account)


def _draw_sums(title: str, expected: FenByLine, actual: FenByLine) -> str:
    rows: list[tuple[Cell, ...]] = [(name, expected[name], actual[name]) for name in expected]
    rows.append(("sum", expected.total(), actual.total()))
    return draw_table(title, ("fen", "foreseen", "actual"), rows)
