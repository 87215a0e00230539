"""Rendering: what would be done to orders, and what was, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from models.commands import AnyCommand
from models.commands.operators import OperatorAct
from models.service.handlers import order_id_of
from ops import order_views, terminal
from ops.operate.bulk_runs import BulkRun, RunOutcomes
from ops.operate.dry_run import DryRunResult, DryRunSummary, serialize_snapshot
from workers.queries.reader import Reader

JsonObject = dict[str, Any]


ORDER_HEADS = ("order", "status", "and then", "until", "and then")


def render_dry_run(forecast: DryRunSummary) -> str:
    """Draw what would happen: one order in full, many added up."""
    if forecast.requested == 1:
        (foreseen,) = (*forecast.examples, *forecast.refusals)
        return "\n\n".join(_render_single(foreseen))
    return "\n\n".join(_render_many(forecast)) if forecast.requested else "No order fits."


def _render_single(foreseen: DryRunResult) -> Iterator[str]:
    outcome, command_name = (
        foreseen.outcome,
        f"{_command_name(foreseen.command)} {order_id_of(foreseen.command) or ''}".rstrip(),
    )
    if not foreseen.is_applied:
        cost = "" if outcome.cost_fen is None else f"; it costs {outcome.cost_fen} fen"
        yield f"{command_name} would be refused: {outcome.reason}{cost}"
    else:
        yield f"{command_name} would be applied"
    if foreseen.before is not None:
        yield terminal.draw_table(
            "ORDER (amounts in fen)", ("", "now", "then"), _change_rows(foreseen)
        )
    if outcome.events:
        yield render_events([event.published() for event in outcome.events])
    if foreseen.postings:
        rows = [
            (posting.source, posting.target, posting.amount_fen) for posting in foreseen.postings
        ]
        yield terminal.draw_table("MONEY", ("from", "to", "fen"), rows)


def _command_name(command: AnyCommand) -> str:
    return f"act {command.command.kind}" if isinstance(command, OperatorAct) else command.kind


def _change_rows(foreseen: DryRunResult) -> list[tuple[terminal.Cell, ...]]:
    before, after = (
        serialize_snapshot(foreseen.before) or {},
        serialize_snapshot(foreseen.after) or {},
    )
    return [(name, _cell_text(before[name]), _cell_text(after[name])) for name in before]


def _cell_text(value: Any) -> str | None:  # noqa: ANN401 - a number, a text or nothing
    return f"{value:,}" if isinstance(value, int) else value


def render_events(published_events: Iterable[JsonObject]) -> str:
    """Draw events as an order's history does."""
    rows = [(event["type"], order_views.event_details(event)) for event in published_events]
    return terminal.draw_table("EVENTS", ("event", "details"), rows)


def _render_many(forecast: DryRunSummary) -> Iterator[str]:
    states = sorted(forecast.by_state.items())
    yield terminal.draw_table(
        "ORDERS", ("status", "orders"), [*states, ("all", forecast.requested)]
    )
    yield terminal.draw_table(
        "WOULD BE", ("outcome", "reason", "orders", "for example"), _outcome_rows(forecast)
    )
    if forecast.moves:
        rows = [(*pair, fen) for pair, fen in sorted(forecast.moves.items())]
        yield terminal.draw_table("MONEY THAT WOULD MOVE", ("from", "to", "fen"), rows)
    if forecast.applied:
        yield f"These orders hold {forecast.held_fen:,} fen."
        yield terminal.draw_table("FOR EXAMPLE", ORDER_HEADS, map(_example_row, forecast.examples))


def _outcome_rows(forecast: DryRunSummary) -> Iterator[tuple[terminal.Cell, ...]]:
    yield ("applied", None, forecast.applied, _order_names(forecast.examples))
    for reason, count in sorted(forecast.refused.items()):
        refusals = [refusal for refusal in forecast.refusals if refusal.outcome.reason == reason]
        yield ("refused", reason, count, _order_names(refusals))


def _order_names(foreseen_orders: Sequence[DryRunResult]) -> str:
    return terminal.shorten(
        ", ".join(str(order_id_of(foreseen.command)) for foreseen in foreseen_orders), 60
    )


def _example_row(foreseen: DryRunResult) -> tuple[terminal.Cell, ...]:
    before, after = (
        serialize_snapshot(foreseen.before) or {},
        serialize_snapshot(foreseen.after) or {},
    )
    pairs = [(before.get(name), after.get(name)) for name in ("status", "due_at")]
    return (order_id_of(foreseen.command), *(cell for pair in pairs for cell in pair))


def render_outcomes(run: BulkRun, tally: RunOutcomes) -> str:
    """Draw what became of a run."""
    rows: list[tuple[terminal.Cell, ...]] = [
        (
            outcome,
            reason,
            count,
            terminal.shorten(", ".join(tally.examples.get(reason or "", ())), 60),
        )
        for (outcome, reason), count in sorted(tally.outcomes.items(), key=str)
    ]
    if tally.missing:
        rows.append(("none yet", None, tally.missing, ""))
    return terminal.draw_table(
        f"RUN {run.name}", ("outcome", "reason", "orders", "for example"), rows
    )


def render_order(reader: Reader, run: BulkRun) -> str:
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
    return (
        (render_events(event_bodies) if event_bodies else f"Command {command_id}.")
        + cost
        + next_step
    )


def render_runs(bulk_runs: Sequence[BulkRun]) -> str:
    """Draw the runs there are."""
    heads = ("run", "what", "by", "planned", "orders", "why", "finished")
    rows = [
        (
            run.name,
            run.head["kind"],
            run.head["by"],
            run.head["planned_at"],
            run.head["orders"],
            terminal.shorten(run.head["reason"], 40),
            _finished_text(run.report()),
        )
        for run in bulk_runs
    ]
    return terminal.draw_table("Runs", heads, rows) if rows else "No runs."


def _finished_text(report: JsonObject | None) -> str:
    if report is None:
        return "no"
    return "abandoned" if report.get("abandoned") else str(report["finished_at"])
