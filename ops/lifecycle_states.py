"""Lifecycle states: each state on its own, how an order comes there, waits there and leaves."""

from __future__ import annotations

from collections.abc import Container, Iterator

from models.fields import duration_text
from models.lifecycle import (
    DISPUTES,
    ENDINGS,
    ENFORCE_DEADLINE,
    LIFE,
    TRANSITIONS,
    Role,
    State,
    Transition,
    find,
)
from models.policy import WINDOWS, Policy
from ops.lifecycle_diagram import in_order, label
from ops.markdown import code, codes, table
from ops.waits import WAITS_FOR

ALIKE = """\
## Alike in many states

Payments are recorded in every state; where nothing is due they go back.
"""


def states() -> Iterator[str]:
    """Write a section for every state, along an order's life."""
    for state in State:
        yield f"### `{state}`\n"
        yield f"{_entered(state)} {_waits(state)}\n"
        rows = [
            (_what(one), people(one.roles), _becomes(one)) for one in LIFE if one.source is state
        ]
        if rows:
            yield table(("what", "by", "and it becomes"), rows)


def _entered(state: State) -> str:
    """Say from where, and by what, an order comes to a state."""
    ways: dict[str, list[str]] = {}
    for one in LIFE:
        if state in one.targets and one.source is not state:
            ways.setdefault(one.command, []).append(one.source)
    if state is State.AWAITING_DEPOSIT:
        return "Entered by `place_order`."
    said = [
        (code(command) if command != ENFORCE_DEADLINE else "time") + f" ({codes(sources)})"
        for command, sources in ways.items()
    ]
    return f"Entered by {', '.join(said)}."


def _waits(state: State) -> str:
    if state in ENDINGS:
        return f"Final. Reasons: {codes(ENDINGS[state])}."
    waits = f"It waits for {WAITS_FOR[state]}"
    if state is State.IN_ARBITRATION:
        return f"{waits}; no time ends that. Reasons: {codes(DISPUTES)}."
    return f"{waits}: {code(WINDOWS[state])}, {code(duration_text(Policy().windows[state]))}."


def _what(one: Transition) -> str:
    return label(one) if one.command == ENFORCE_DEADLINE else code(one.command)


def _becomes(one: Transition) -> str:
    return ", ".join(code(to) if to is not one.source else "stays" for to in in_order(one.targets))


def alike() -> str:
    """Write what may be asked in many states, and changes none."""
    life = set(LIFE)
    extra = [one for one in TRANSITIONS if one not in life and one.roles != {Role.CLOCK}]
    rows = []
    for command in dict.fromkeys(one.command for one in extra):
        mine = [one.source for one in extra if one.command == command]
        asked = find(mine[0], command)
        who = people(asked.roles) if asked else ""
        rows.append((code(command), who, codes(in_order(mine))))
    return ALIKE + "\n" + table(("what", "by", "while it is"), rows)


def people(roles: Container[Role]) -> str:
    """Name roles in their usual order; the clock is time."""
    return ", ".join("time" if one is Role.CLOCK else one for one in Role if one in roles)
