"""Rendering: what would be done to orders, and what was, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from models.commands import AnyCommand
from models.commands.operators import OperatorAct
from models.events.notifications import serialize_limits
from models.service.handlers import order_id_of
from ops import order_views, terminal
from ops.json_schema import JsonObject
from ops.operate.bulk_runs import BulkRun, RunOutcomes
from ops.operate.dry_run import DryRunResult, DryRunSummary, serialize_snapshot
from ops.serializers import describe_limits
from workers.queries.reader import Reader

ORDER_HEADS = ("order", "status", "and then", "until", "and then")


def render_dry_run(summary: DryRunSummary) -> str:
    """Draw what would happen: one order in full, many added up."""
    if summary.requested == 1:
        (result,) = (*summary.examples, *summary.refusals)
        return "\n\n".join(_render_single(result))
    return "\n\n".join(_render_many(summary)) if summary.requested else "No order fits."


def _render_single(result: DryRunResult) -> Iterator[str]:
    outcome = result.outcome
    command_name = f"{_command_name(result.command)} {order_id_of(result.command) or ''}".rstrip()
    if not result.is_applied:
        limits = describe_limits(serialize_limits(outcome.limits))
        yield f"{command_name} would be refused: {outcome.reason}{limits and f' ({limits})'}"
    else:
        yield f"{command_name} would be applied"
    if result.before is not None:
        yield terminal.draw_table(
            "ORDER (amounts in fen)", ("", "now", "then"), _change_rows(result)
        )
    if outcome.events:
        yield render_events([event.published() for event in outcome.events])
    if result.postings:
        rows = [(posting.source, posting.target, posting.amount_fen) for posting in result.postings]
        yield terminal.draw_table("MONEY", ("from", "to", "fen"), rows)


def _command_name(command: AnyCommand) -> str:
    return f"act {command.command.kind}" if isinstance(command, OperatorAct) else command.kind


def _change_rows(result: DryRunResult) -> list[tuple[terminal.Cell, ...]]:
    before = serialize_snapshot(result.before) or {}
    after = serialize_snapshot(result.after) or {}
    return [(name, _cell_text(before[name]), _cell_text(after[name])) for name in before]


def _cell_text(value: Any) -> str | None:  # noqa: ANN401 - a number, a text or nothing
    return f"{value:,}" if isinstance(value, int) else value


def render_events(published_events: Iterable[JsonObject]) -> str:
    """Draw events as an order's history does."""
    rows = [(event["type"], order_views.event_details(event)) for event in published_events]
    return terminal.draw_table("EVENTS", ("event", "details"), rows)


def _render_many(summary: DryRunSummary) -> Iterator[str]:
    states = sorted(summary.by_state.items())
    yield terminal.draw_table("ORDERS", ("status", "orders"), [*states, ("all", summary.requested)])
    yield terminal.draw_table(
        "WOULD BE", ("outcome", "reason", "orders", "for example"), _outcome_rows(summary)
    )
    if summary.moves:
        rows = [(*pair, fen) for pair, fen in sorted(summary.moves.items())]
        yield terminal.draw_table("MONEY THAT WOULD MOVE", ("from", "to", "fen"), rows)
    if summary.applied:
        yield f"These orders hold {summary.held_fen:,} fen."
        yield terminal.draw_table("FOR EXAMPLE", ORDER_HEADS, map(_example_row, summary.examples))


def _outcome_rows(summary: DryRunSummary) -> Iterator[tuple[terminal.Cell, ...]]:
    yield ("applied", None, summary.applied, _order_names(summary.examples))
    for reason, count in sorted(summary.refused.items()):
        refusals = [refusal for refusal in summary.refusals if refusal.outcome.reason == reason]
        yield ("refused", reason, count, _order_names(refusals))


def _order_names(results: Sequence[DryRunResult]) -> str:
    return terminal.shorten(", ".join(str(order_id_of(result.command)) for result in results), 60)


def _example_row(result: DryRunResult) -> tuple[terminal.Cell, ...]:
    before = serialize_snapshot(result.before) or {}
    after = serialize_snapshot(result.after) or {}
    pairs = [(before.get(name), after.get(name)) for name in ("status", "due_at")]
    return (order_id_of(result.command), *(cell for pair in pairs for cell in pair))


def render_outcomes(run: BulkRun, run_outcomes: RunOutcomes) -> str:
    """Draw what became of a run."""
    rows: list[tuple[terminal.Cell, ...]] = [
        (
            outcome,
            reason,
            count,
            terminal.shorten(", ".join(run_outcomes.examples.get(reason or "", ())), 60),
        )
        for (outcome, reason), count in sorted(run_outcomes.outcomes.items(), key=str)
    ]
    if run_outcomes.missing:
        rows.append(("none yet", None, run_outcomes.missing, ""))
    return terminal.draw_table(
        f"RUN {run.name}", ("outcome", "reason", "orders", "for example"), rows
    )


def render_order(reader: Reader, run: BulkRun) -> str:
    """Draw what a run of one command has led to."""
    ((key, _),) = run.commands()
    receipt = reader.outcomes([key]).get(key)
    if receipt is None or receipt.about is None:
        return f"Command {key}."
    event_bodies = [
        event.published()
        for event in reader.timeline(receipt.about)
        if event.caused_by == f"command:{key}"
    ]
    order = reader.order(receipt.about)
    next_step = (
        "" if order is None else f"\n\nIt is {order.state}. Next: {order_views.next_step(order)}"
    )
    limits = describe_limits(serialize_limits(receipt.limits))
    head = render_events(event_bodies) if event_bodies else f"Command {key}."
    return head + (limits and f"\n\nRefused: {limits}.") + next_step


def render_runs(runs: Sequence[BulkRun]) -> str:
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
        for run in runs
    ]
    return terminal.draw_table("Runs", heads, rows) if rows else "No runs."


def _finished_text(report: JsonObject | None) -> str:
    if report is None:
        return "no"
    return "abandoned" if report.get("abandoned") else str(report["finished_at"])
