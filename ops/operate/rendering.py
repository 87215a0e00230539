"""Rendering: what would be done to orders, and what was, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from models.commands import AnyCommand
from models.commands.operators import OperatorAct
from models.service.handlers import about
from ops import order_views, terminal
from ops.operate.bulk_runs import Run, Tally
from ops.operate.dry_run import Forecast, Foreseen, seen
from workers.queries.reader import Reader

Shown = dict[str, Any]

ORDER_HEADS = ("order", "status", "and then", "until", "and then")


def drawn(forecast: Forecast) -> str:
    """Draw what would happen: one order in full, many added up."""
    if forecast.asked == 1:
        (foreseen,) = (*forecast.examples, *forecast.refusals)
        return "\n\n".join(_one(foreseen))
    return "\n\n".join(_many(forecast)) if forecast.asked else "No order fits."


def _one(foreseen: Foreseen) -> Iterator[str]:
    outcome, command_name = (
        foreseen.settlement,
        f"{_asked(foreseen.command)} {about(foreseen.command) or ''}".rstrip(),
    )
    if not foreseen.is_applied:
        cost = "" if outcome.cost_fen is None else f"; it costs {outcome.cost_fen} fen"
        yield f"{command_name} would be refused: {outcome.reason}{cost}"
    else:
        yield f"{command_name} would be applied"
    if foreseen.before is not None:
        yield terminal.draw("ORDER (amounts in fen)", ("", "now", "then"), _changes(foreseen))
    if outcome.events:
        yield events([event.published() for event in outcome.events])
    if foreseen.moves:
        rows = [(posting.source, posting.target, posting.amount_fen) for posting in foreseen.moves]
        yield terminal.draw("MONEY", ("from", "to", "fen"), rows)


def _asked(command: AnyCommand) -> str:
    return f"act {command.command.kind}" if isinstance(command, OperatorAct) else command.kind


def _changes(foreseen: Foreseen) -> list[tuple[terminal.Cell, ...]]:
    before, after = seen(foreseen.before) or {}, seen(foreseen.after) or {}
    return [(name, _cell(before[name]), _cell(after[name])) for name in before]


def _cell(value: Any) -> str | None:  # noqa: ANN401 - a number, a text or nothing
    return f"{value:,}" if isinstance(value, int) else value


def events(published_events: Iterable[Shown]) -> str:
    """Draw events as an order's history does."""
    rows = [(event["type"], order_views.details(event)) for event in published_events]
    return terminal.draw("EVENTS", ("event", "details"), rows)


def _many(forecast: Forecast) -> Iterator[str]:
    states = sorted(forecast.by_state.items())
    yield terminal.draw("ORDERS", ("status", "orders"), [*states, ("all", forecast.asked)])
    yield terminal.draw(
        "WOULD BE", ("outcome", "reason", "orders", "for example"), _verdicts(forecast)
    )
    if forecast.moves:
        rows = [(*pair, fen) for pair, fen in sorted(forecast.moves.items())]
        yield terminal.draw("MONEY THAT WOULD MOVE", ("from", "to", "fen"), rows)
    if forecast.applied:
        yield f"These orders hold {forecast.held_fen:,} fen."
        yield terminal.draw("FOR EXAMPLE", ORDER_HEADS, map(_example, forecast.examples))


def _verdicts(forecast: Forecast) -> Iterator[tuple[terminal.Cell, ...]]:
    yield ("applied", None, forecast.applied, _names(forecast.examples))
    for reason, count in sorted(forecast.refused.items()):
        refusals = [refusal for refusal in forecast.refusals if refusal.settlement.reason == reason]
        yield ("refused", reason, count, _names(refusals))


def _names(foreseen_orders: Sequence[Foreseen]) -> str:
    return terminal.fit(", ".join(str(about(foreseen.command)) for foreseen in foreseen_orders), 60)


def _example(foreseen: Foreseen) -> tuple[terminal.Cell, ...]:
    before, after = seen(foreseen.before) or {}, seen(foreseen.after) or {}
    pairs = [(before.get(name), after.get(name)) for name in ("status", "due_at")]
    return (about(foreseen.command), *(cell for pair in pairs for cell in pair))


def outcomes(run: Run, tally: Tally) -> str:
    """Draw what became of a run."""
    rows: list[tuple[terminal.Cell, ...]] = [
        (outcome, reason, count, terminal.fit(", ".join(tally.named.get(reason or "", ())), 60))
        for (outcome, reason), count in sorted(tally.outcomes.items(), key=str)
    ]
    if tally.missing:
        rows.append(("none yet", None, tally.missing, ""))
    return terminal.draw(f"RUN {run.name}", ("outcome", "reason", "orders", "for example"), rows)


def order_now(reader: Reader, run: Run) -> str:
    """Draw what a run of one command has led to."""
    ((command_id, _),) = run.commands()
    receipt = reader.outcomes([command_id]).get(command_id)
    if receipt is None or receipt.about is None:
        return f"Command {command_id}."
    event_bodies = [
        event.published()
        for event in reader.timeline(receipt.about)
        if event.caused_by == f"command:{command_id}"
    ]
    order = reader.order(receipt.about)
    next_step = (
        "" if order is None else f"\n\nIt is {order.state}. Next: {order_views.next_step(order)}"
    )
    cost = "" if receipt.cost_fen is None else f"\n\nIt costs {receipt.cost_fen} fen."
    return (events(event_bodies) if event_bodies else f"Command {command_id}.") + cost + next_step


def runs(bulk_runs: Sequence[Run]) -> str:
    """Draw the runs there are."""
    heads = ("run", "what", "by", "planned", "orders", "why", "finished")
    rows = [
        (
            run.name,
            run.head["kind"],
            run.head["by"],
            run.head["planned_at"],
            run.head["orders"],
            terminal.fit(run.head["reason"], 40),
            _finished(run.report()),
        )
        for run in bulk_runs
    ]
    return terminal.draw("Runs", heads, rows) if rows else "No runs."


def _finished(report: Shown | None) -> str:
    if report is None:
        return "no"
    return "abandoned" if report.get("abandoned") else str(report["finished_at"])
