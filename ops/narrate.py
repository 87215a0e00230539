"""Narrate: the account of an order as a text for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ops import tables
from ops.narrate_terms import terms_text
from ops.steps import because, shown
from ops.wording import counted, share

Account = dict[str, Any]


def as_text(account: Account) -> str:
    """Write what `explain` found for a person to read."""
    parts = (_head, _since, _creator, _next, _later, _may, _chain, _refused, _money, _policy)
    return "\n".join(tables.plain(line) if line else "" for line in _lines(parts, account))


def _lines(parts: Any, account: Account) -> Iterator[str]:  # noqa: ANN401 - the functions below
    for part in parts:
        for text in part(account):
            yield from text.split("\n")


def _head(account: Account) -> Iterator[str]:
    parties = account["parties"]
    agency = f"signed with {parties['mcn']}" if parties["mcn"] else "without an agency"
    ending = f" ({account['reason']})" if account["reason"] else ""
    yield f"Order {account['order_id']}: {account['name']}"
    yield f"client {parties['client']}, creator {parties['creator']} ({agency})"
    for side in ("client", "creator"):
        if parties[f"{side}_provider"]:
            yield f"provider {parties[f'{side}_provider']} acts for the {side}'s side"
    if parties["mcn_share_bps"]:
        part = share(parties["mcn_share_bps"])
        yield f"of what the creator's side is paid, {part} goes to agency {parties['payee_mcn']}"
    yield f"It is {account['status']}{ending} since {account['since']}, because"
    yield f"  {account['why']}."


def _since(account: Account) -> Iterator[str]:
    if account["since_then"]:
        yield "Since then:"
    for step in account["since_then"]:
        yield f"  {step['at']}  {'; '.join(shown(step))}"


def _creator(account: Account) -> Iterator[str]:
    creator = account["creator"]
    if creator["told"]:
        yield "\nThe creator's standing:"
    yield from (f"  {one['at']}  {one['what']}" for one in creator["told"])
    if not creator["admitted"]:
        yield "  It has no contract now: no new orders."


def _next(account: Account) -> Iterator[str]:
    found = account["next"]
    if found is None:
        yield "\nNext: nothing happens to the order by itself."
    elif "stopped_by" in found:
        yield from _stopped(found)
    elif "alert_at" in found:
        yield f"\nNext: it waits for {found['waits_for']}, and for nothing else: no time ends that."
        yield f"  An operator is reminded at {found['alert_at']}, and then again and again."
    else:
        yield from _running(found)


def _running(found: Account) -> Iterator[str]:
    grace = "" if found["grace"] == "PT0S" else f", and {found['grace']} more for late notices"
    yield f"\nNext: it waits for {found['waits_for']} until {found['due_at']}{grace};"
    ending = f" ({found['then']['reason']})" if "reason" in found["then"] else ""
    moved = terms_text({key: one for key, one in found["then"].items() if key != "reason"})
    becomes = " or ".join(found["becomes"]) + ending + (f": {moved}" if moved else "")
    yield f"  after {found['lapses_at']} it becomes {becomes}."
    yield from _numbers(found["numbers"])
    if found["reminder_at"]:
        yield f"  A reminder goes out at {found['reminder_at']}."
    if found["overdue_seconds"]:
        held = (
            ": commands received earlier are heard first" if found["held_back_by_backlog"] else ""
        )
        yield f"  OVERDUE by {found['overdue_seconds']:g} s{held}."


def _numbers(used: Account) -> Iterator[str]:
    plain = {key: one for key, one in used.items() if key not in ("counted", "elapsed_due_at")}
    if plain:
        yield f"  By {_pairs(plain)}."
    if "counted" in used:
        how = counted(used["counted"]).strip(" ()")
        alone = f"elapsed time alone would give {used['elapsed_due_at']}"
        yield f"  Counted as {used['counted']}: {how}; {alone}."


def _pairs(used: Account) -> str:
    return ", ".join(
        f"{name} {' '.join(map(str, one)) if isinstance(one, list) else one}"
        for name, one in used.items()
    )


def _stopped(found: Account) -> Iterator[str]:
    yield f"\nNext: it waits for {found['waits_for']}, but its clock is stopped."
    for one in found["stopped_by"]:
        who = "a ban of the creator" if one["who"] == "ban" else "an operator"
        until = f"until {one['until']} at the latest" if one["until"] else "nobody knows how long"
        was = f"; it was due {one['was_due_at']}" if one["was_due_at"] else ""
        yield f"  Stopped by {who} since {one['since']} ({one['caused_by']}), {until}{was}."
    if found["due_then"]:
        yield f"  With {found['left']} left it runs on at {found['resumes_at']} and is due"
        yield f"  {found['due_then']}; after that it becomes {' or '.join(found['becomes'])}."
    else:
        yield f"  {found['left']} is left."


def _later(account: Account) -> Iterator[str]:
    if account["later"]:
        yield "Also:"
    yield from (f"  {one['at']}  {one['what']}" for one in account["later"])


def _may(account: Account) -> Iterator[str]:
    if account["judged_as"] != account["status"]:
        yield f"\nTime has moved it on: whoever asks now finds it {account['judged_as']}."
    if account["may"]:
        yield "\nWhat may be asked now"
    for who, rights in groupby(account["may"], key=lambda one: _people(one["who"])):
        yield f"  {who}:"
        yield from (f"    {_right(one, account['judged_as'])}" for one in rights)


def _right(one: Account, state: str) -> str:
    terms, kind = terms_text(one["terms"]), str(one["command"])
    if one["refused"]:
        what = "any payment would go back" if kind == "confirm_payment" else "refused now"
        return f"{kind}: {what}, {one['refused']}{f' ({terms})' if terms else ''}"
    chosen = "outcomes" in one["terms"]
    becomes = "" if chosen else " or ".join("stays" if to == state else to for to in one["becomes"])
    return kind + (f" → {becomes}" if becomes else "") + (f", {terms}" if terms else "")


def _people(who: list[Account]) -> str:
    return ", ".join(" ".join(filter(None, (one["role"], one["id"]))) for one in who)


def _chain(account: Account) -> Iterator[str]:
    yield "\nHow it came to that"
    for step in account["chain"]:
        became = "" if step["from"] == step["to"] else f"  → {step['to']}"
        command = step["cause"]["kind"] == "command"
        ahead = f", {step['margin']} before its deadline" if command and step["margin"] else ""
        yield f"{step['at']}{became}"
        yield f"  {because(step)}{ahead}"
        yield from (f"  - {one}" for one in step["told"])
        if step["numbers"]:
            yield f"  by {_pairs(step['numbers'])}"


def _refused(account: Account) -> Iterator[str]:
    names = ("received_at", "command_id", "by", "reason", "cost_fen")
    rows = [tuple(one[name] for name in names) for one in account["refused"]]
    heads = ("received at", "command", "by", "reason", "it would have cost")
    if rows:
        yield "\n" + tables.draw("Refused", heads, rows)


def _money(account: Account) -> Iterator[str]:
    money = account["money"]
    plain = [(name, one) for name, one in money.items() if isinstance(one, int)]
    held = [(f"held from {one['payment_id']}", one["amount_fen"]) for one in money["held"]]
    lost = [
        (f"forfeited from {one['payment_id']}", one["amount_fen"]) for one in money["forfeited"]
    ]
    back = [
        (
            f"refund {one['refund_id']} to client {one['client_id']}, {_state(one)}",
            one["amount_fen"],
        )
        for one in money["refunds"]
    ]
    out = [
        (f"payout {one['payout_id']} to {one['party']}, {_state(one)}", one["amount_fen"])
        for one in money["payouts"]
    ]
    rows = [*plain, *held, *lost, *back, *out]
    yield "\n" + tables.draw("Money (fen)", ("what", "amount"), rows)


def _state(debt: Account) -> str:
    if debt["confirmed_at"]:
        return f"left {debt['confirmed_at']}"
    return f"waiting since {debt['requested_at']}"


def _policy(account: Account) -> Iterator[str]:
    policy = account["policy"]
    since = f", adopted {policy['adopted_at']}" if policy["adopted_at"] else ""
    yield f"\nPolicy {policy['version']}{since}:"
    yield "  " + json.dumps(policy["numbers"])
