"""Render: the account of an order as a text for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ops import terminal
from ops.explain.account import cause_text, step_texts
from ops.explain.permitted import CommandLimits, Explanation
from ops.explain.texts import day_count_text, fen_text, percent_text
from ops.serializers import describe_limits


def render_text(account: Explanation) -> str:
    """Write what `explain_order` returns for a person to read."""
    parts = (
        _heading,
        _steps_since,
        _creator_standing,
        _next_change,
        _later_changes,
        _permitted_actions,
        _steps,
        _rejections,
        _money,
        _policy,
    )
    return "\n".join(
        terminal.without_controls(line) if line else "" for line in _lines(parts, account)
    )


def _lines(parts: Any, account: Explanation) -> Iterator[str]:  # noqa: ANN401 - the functions below
    for part in parts:
        for text in part(account):
            yield from text.split("\n")


def _heading(account: Explanation) -> Iterator[str]:
    parties = account["parties"]
    agency = f"signed with {parties['mcn']}" if parties["mcn"] else "without an agency"
    ending = f" ({account['reason']})" if account["reason"] else ""
    yield f"Order {account['order_id']}: {account['name']}"
    yield f"client {parties['client']}, creator {parties['creator']} ({agency})"
    for side in ("client", "creator"):
        if parties[f"{side}_provider"]:
            yield f"provider {parties[f'{side}_provider']} acts for the {side}'s side"
    if parties["mcn_share_bps"]:
        part = percent_text(parties["mcn_share_bps"])
        yield f"of what the creator's side is paid, {part} goes to agency {parties['payee_mcn']}"
    yield f"It is {account['status']}{ending} since {account['since']}, because"
    yield f"  {account['why']}."


def _steps_since(account: Explanation) -> Iterator[str]:
    if account["since_then"]:
        yield "Since then:"
    for step in account["since_then"]:
        yield f"  {step['at']}  {'; '.join(step_texts(step))}"


def _creator_standing(account: Explanation) -> Iterator[str]:
    creator = account["creator"]
    if creator["told"]:
        yield "\nThe creator's standing:"
    yield from (f"  {change['at']}  {change['what']}" for change in creator["told"])
    if not creator["admitted"]:
        yield "  It has no contract now: no new orders."


def _next_change(account: Explanation) -> Iterator[str]:
    upcoming = account["next"]
    if upcoming is None:
        yield "\nNext: nothing happens to the order by itself."
    elif "stopped_by" in upcoming:
        yield from _paused_clock(upcoming)
    elif "alert_at" in upcoming:
        waits_for = upcoming["waits_for"]
        yield f"\nNext: it waits for {waits_for}, and for nothing else: no time ends that."
        yield f"  An operator is reminded at {upcoming['alert_at']}, and then again and again."
    else:
        yield from _running_clock(upcoming)


def _running_clock(upcoming: Explanation) -> Iterator[str]:
    grace = (
        "" if upcoming["grace"] == "PT0S" else f", and {upcoming['grace']} more for late notices"
    )
    yield f"\nNext: it waits for {upcoming['waits_for']} until {upcoming['due_at']}{grace};"
    ending = f" ({upcoming['then']['reason']})" if "reason" in upcoming["then"] else ""
    effects = limits_text(
        {key: value for key, value in upcoming["then"].items() if key != "reason"}
    )
    becomes = " or ".join(upcoming["becomes"]) + ending + (f": {effects}" if effects else "")
    yield f"  after {upcoming['lapses_at']} it becomes {becomes}."
    yield from _policy_numbers(upcoming["numbers"])
    if upcoming["grace_begins_at"]:
        yield f"  After {upcoming['grace_begins_at']} the payment side is told that it is overdue."
    if upcoming["reminder_at"]:
        yield f"  A reminder goes out at {upcoming['reminder_at']}."
    if upcoming["overdue_seconds"]:
        backlog_note = (
            ": commands received earlier are heard first"
            if upcoming["held_back_by_backlog"]
            else ""
        )
        yield f"  OVERDUE by {upcoming['overdue_seconds']:g} s{backlog_note}."


def _policy_numbers(numbers: Explanation) -> Iterator[str]:
    policy_numbers = {
        key: value for key, value in numbers.items() if key not in ("counted", "elapsed_due_at")
    }
    if policy_numbers:
        yield f"  By {_inputs_text(policy_numbers)}."
    if "counted" in numbers:
        explanation = day_count_text(numbers["counted"]).strip(" ()")
        elapsed_note = f"elapsed time alone would give {numbers['elapsed_due_at']}"
        yield f"  Counted as {numbers['counted']}: {explanation}; {elapsed_note}."


def _inputs_text(numbers: Explanation) -> str:
    return ", ".join(
        f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in numbers.items()
    )


def _paused_clock(upcoming: Explanation) -> Iterator[str]:
    yield f"\nNext: it waits for {upcoming['waits_for']}, but its clock is stopped."
    for pause in upcoming["stopped_by"]:
        paused_by = "a ban of the creator" if pause["who"] == "ban" else "an operator"
        limit = (
            f"until {pause['until']} at the latest" if pause["until"] else "nobody knows how long"
        )
        due_note = f"; it was due {pause['was_due_at']}" if pause["was_due_at"] else ""
        since = f"since {pause['since']} ({pause['caused_by']})"
        yield f"  Stopped by {paused_by} {since}, {limit}{due_note}."
    if upcoming["due_then"]:
        yield f"  With {upcoming['left']} left it runs on at {upcoming['resumes_at']} and is due"
        yield f"  {upcoming['due_then']}; after that it becomes {' or '.join(upcoming['becomes'])}."
    else:
        yield f"  {upcoming['left']} is left."


def _later_changes(account: Explanation) -> Iterator[str]:
    if account["later"]:
        yield "Also:"
    yield from (f"  {event['at']}  {event['what']}" for event in account["later"])


def _permitted_actions(account: Explanation) -> Iterator[str]:
    if account["judged_as"] != account["status"]:
        yield f"\nTime has moved it on: whoever asks now finds it {account['judged_as']}."
    if account["may"]:
        yield "\nWhat may be asked now"
    for parties, rows in groupby(account["may"], key=lambda row: _party_names(row["who"])):
        yield f"  {parties}:"
        yield from (f"    {_action_text(row, account['judged_as'])}" for row in rows)


def _action_text(row: Explanation, state: str) -> str:
    terms, kind = limits_text(row["terms"]), str(row["command"])
    if row["refused"]:
        consequence = "any payment would go back" if kind == "confirm_payment" else "refused now"
        return f"{kind}: {consequence}, {row['refused']}{f' ({terms})' if terms else ''}"
    has_outcomes = "outcomes" in row["terms"]
    becomes = (
        ""
        if has_outcomes
        else " or ".join("stays" if target == state else target for target in row["becomes"])
    )
    return kind + (f" → {becomes}" if becomes else "") + (f", {terms}" if terms else "")


def _party_names(parties: list[Explanation]) -> str:
    return ", ".join(" ".join(filter(None, (party["role"], party["id"]))) for party in parties)


def _steps(account: Explanation) -> Iterator[str]:
    yield "\nHow it came to that"
    for step in account["chain"]:
        became = "" if step["from"] == step["to"] else f"  → {step['to']}"
        command = step["cause"]["kind"] == "command"
        ahead = f", {step['margin']} before its deadline" if command and step["margin"] else ""
        yield f"{step['at']}{became}"
        yield f"  {cause_text(step)}{ahead}"
        yield from (f"  - {event_text}" for event_text in step["told"])
        if step["numbers"]:
            yield f"  by {_inputs_text(step['numbers'])}"


def _rejections(account: Explanation) -> Iterator[str]:
    names = ("received_at", "command_id", "by", "reason")
    rows = [
        (*(refusal[name] for name in names), describe_limits(refusal["limits"]))
        for refusal in account["refused"]
    ]
    heads = ("received at", "command", "by", "reason", "what would do")
    if rows:
        yield "\n" + terminal.draw_table("Refused", heads, rows)


def _money(account: Explanation) -> Iterator[str]:
    money = account["money"]
    amounts = [(name, amount) for name, amount in money.items() if isinstance(amount, int)]
    holding_rows = [
        (f"held from {holding['payment_id']}", holding["amount_fen"]) for holding in money["held"]
    ]
    forfeit_rows = [
        (f"forfeited from {holding['payment_id']}", holding["amount_fen"])
        for holding in money["forfeited"]
    ]
    refund_rows = [
        (
            f"refund {refund['refund_id']} to client {refund['client_id']}, {_debt_state(refund)}",
            refund["amount_fen"],
        )
        for refund in money["refunds"]
    ]
    payout_rows = [
        (
            f"payout {payout['payout_id']} to {payout['party']}, {_debt_state(payout)}",
            payout["amount_fen"],
        )
        for payout in money["payouts"]
    ]
    rows = [*amounts, *holding_rows, *forfeit_rows, *refund_rows, *payout_rows]
    yield "\n" + terminal.draw_table("Money (fen)", ("what", "amount"), rows)


def _debt_state(debt: Explanation) -> str:
    match debt["status"]:
        case "confirmed":
            state = f"left {debt['confirmed_at']}"
        case "requested":
            state = f"waiting since {debt['requested_at']}"
        case "failed":
            state = f"failed, attempt {debt['attempt']} is {debt['reference']}"
        case status:
            state = status
    return f"{state}, held since {debt['held_at']}" if debt.get("held_at") else state


def _policy(account: Explanation) -> Iterator[str]:
    policy = account["policy"]
    since = f", adopted {policy['adopted_at']}" if policy["adopted_at"] else ""
    yield f"\nPolicy {policy['version']}{since}:"
    yield "  " + json.dumps(policy["numbers"])


def limits_text(terms: CommandLimits) -> str:
    """Write limits and effects as a person would say them."""
    phrases = [render(terms[name]) for name, render in LIMIT_TEXTS.items() if name in terms]
    return ", ".join(phrases)


LIMIT_TEXTS: dict[str, Any] = {
    "outcomes": lambda outcomes: (
        "as " + " or ".join(f"{kind} → {target}" for kind, target in outcomes.items())
    ),
    "creator_bps": lambda bounds: f"cancel with creator_bps {_range(bounds)}",
    "accept_cost_fen": lambda amount_fen: f"with accept_cost_fen {amount_fen}",
    "accept_forfeit": lambda _: "with accept_forfeit true",
    "cost_fen": lambda amount_fen: f"at a cost of {fen_text(amount_fen)}",
    "cost_bps": lambda bps: f"{percent_text(bps)} of the price" if bps else "at no cost",
    "creators_side_fen": lambda amount_fen: f"{fen_text(amount_fen)} to the creator's side",
    "fee_fen": lambda amount_fen: f"{fen_text(amount_fen)} to the platform",
    "back_fen": lambda amount_fen: f"{fen_text(amount_fen)} back to the client",
    "forfeited_fen": lambda amount_fen: f"{fen_text(amount_fen)} forfeited",
    "rises": lambda bps_by_time: (
        "rising to "
        + " and ".join(f"{percent_text(bps)} {time_text}" for time_text, bps in bps_by_time.items())
    ),
    "amount_fen": lambda amount_fen: (
        f"{_range(amount_fen)} fen"
        if isinstance(amount_fen, list)
        else f"of {fen_text(amount_fen)}"
    ),
    "paid_until": lambda until_at: f"paid until {until_at}",
    "noticed_until": lambda until_at: f"if it is noticed until {until_at}",
    "revised_amount_fen": lambda bounds: f"with a new quote of {_range(bounds)} fen if wanted",
    "parts_fen": lambda total_fen: f"parts that add up to {fen_text(total_fen)}",
    "left": lambda duration: f"{duration} left",
    "not_before": lambda start_at: f"not before {start_at}",
    "not_after": lambda end_at: f"until {end_at}",
    "no_longer_than": lambda end_at: f"until {end_at} at the latest",
    "until": lambda bounds: f"until: later than {bounds[0]}, at most {bounds[1]}",
    "agreed_publish_at": lambda publish_at: f"to publish at {publish_at}",
    "expected_publish_at": lambda bounds: f"from {bounds[0]} to {bounds[1]}",
    "due_at": lambda due_at: f"next deadline {due_at}",
    "stands_in_for": lambda commands: "for " + ", ".join(commands),
}
"""How each term is said, in this order."""


def _range(bounds: list[Any]) -> str:
    return f"{bounds[0]:,} to {bounds[1]:,}"
