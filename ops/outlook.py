"""Outlook: what would be done to orders, and what was, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from models.commands import AnyCommand, OperatorAct
from models.hear import about
from ops import show, tables
from ops.carrying import Tally
from ops.foresight import Forecast, Foreseen, seen
from ops.runs import Run
from workers.reading import Reader

Shown = dict[str, Any]

ORDER_HEADS = ("order", "status", "and then", "until", "and then")


def drawn(found: Forecast) -> str:
    """Draw what would happen: one order in full, many added up."""
    if found.asked == 1:
        (one,) = (*found.examples, *found.refusals)
        return "\n\n".join(_one(one))
    return "\n\n".join(_many(found)) if found.asked else "No order fits."


def _one(found: Foreseen) -> Iterator[str]:
    said, named = found.settlement, f"{_asked(found.command)} {about(found.command) or ''}".rstrip()
    if not found.is_applied:
        cost = "" if said.cost_fen is None else f"; it costs {said.cost_fen} fen"
        yield f"{named} would be refused: {said.reason}{cost}"
    else:
        yield f"{named} would be applied"
    if found.before is not None:
        yield tables.draw("ORDER (amounts in fen)", ("", "now", "then"), _changes(found))
    if said.events:
        yield events([one.published() for one in said.events])
    if found.moves:
        rows = [(one.source, one.target, one.amount_fen) for one in found.moves]
        yield tables.draw("MONEY", ("from", "to", "fen"), rows)


def _asked(command: AnyCommand) -> str:
    return f"act {command.command.kind}" if isinstance(command, OperatorAct) else command.kind


def _changes(found: Foreseen) -> list[tuple[tables.Cell, ...]]:
    before, after = seen(found.before) or {}, seen(found.after) or {}
    return [(name, _cell(before[name]), _cell(after[name])) for name in before]


def _cell(value: Any) -> str | None:  # noqa: ANN401 - a number, a text or nothing
    return f"{value:,}" if isinstance(value, int) else value


def events(published: Iterable[Shown]) -> str:
    """Draw events as an order's history does."""
    rows = [(one["type"], show.details(one)) for one in published]
    return tables.draw("EVENTS", ("event", "details"), rows)


def _many(found: Forecast) -> Iterator[str]:
    states = sorted(found.by_state.items())
    yield tables.draw("ORDERS", ("status", "orders"), [*states, ("all", found.asked)])
    yield tables.draw("WOULD BE", ("outcome", "reason", "orders", "for example"), _verdicts(found))
    if found.moves:
        moved = [(*pair, fen) for pair, fen in sorted(found.moves.items())]
        yield tables.draw("MONEY THAT WOULD MOVE", ("from", "to", "fen"), moved)
    if found.applied:
        yield f"These orders hold {found.held_fen:,} fen."
        yield tables.draw("FOR EXAMPLE", ORDER_HEADS, map(_example, found.examples))


def _verdicts(found: Forecast) -> Iterator[tuple[tables.Cell, ...]]:
    yield ("applied", None, found.applied, _names(found.examples))
    for reason, count in sorted(found.refused.items()):
        mine = [one for one in found.refusals if one.settlement.reason == reason]
        yield ("refused", reason, count, _names(mine))


def _names(found: Sequence[Foreseen]) -> str:
    return tables.fit(", ".join(str(about(one.command)) for one in found), 60)


def _example(found: Foreseen) -> tuple[tables.Cell, ...]:
    before, after = seen(found.before) or {}, seen(found.after) or {}
    pairs = [(before.get(name), after.get(name)) for name in ("status", "due_at")]
    return (about(found.command), *(cell for pair in pairs for cell in pair))


def outcomes(run: Run, tally: Tally) -> str:
    """Draw what became of a run."""
    rows: list[tuple[tables.Cell, ...]] = [
        (outcome, reason, count, tables.fit(", ".join(tally.named.get(reason or "", ())), 60))
        for (outcome, reason), count in sorted(tally.outcomes.items(), key=str)
    ]
    if tally.missing:
        rows.append(("none yet", None, tally.missing, ""))
    return tables.draw(f"RUN {run.name}", ("outcome", "reason", "orders", "for example"), rows)


def order_now(reader: Reader, run: Run) -> str:
    """Draw what a run of one command has led to."""
    ((command_id, _),) = run.commands()
    receipt = reader.outcomes([command_id]).get(command_id)
    if receipt is None or receipt.about is None:
        return f"Command {command_id}."
    mine = [
        one.published()
        for one in reader.timeline(receipt.about)
        if one.caused_by == f"command:{command_id}"
    ]
    order = reader.order(receipt.about)
    next_step = "" if order is None else f"\n\nIt is {order.state}. Next: {show.next_step(order)}"
    cost = "" if receipt.cost_fen is None else f"\n\nIt costs {receipt.cost_fen} fen."
    return (events(mine) if mine else f"Command {command_id}.") + cost + next_step


def runs(found: Sequence[Run]) -> str:
    """Draw the runs there are."""
    heads = ("run", "what", "by", "planned", "orders", "why", "finished")
    rows = [
        (
            one.name,
            one.head["kind"],
            one.head["by"],
            one.head["planned_at"],
            one.head["orders"],
            tables.fit(one.head["reason"], 40),
            _finished(one.report()),
        )
        for one in found
    ]
    return tables.draw("Runs", heads, rows) if rows else "No runs."


def _finished(report: Shown | None) -> str:
    if report is None:
        return "no"
    return "abandoned" if report.get("abandoned") else str(report["finished_at"])
