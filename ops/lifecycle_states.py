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
            (_what(transition), people(transition.roles), _becomes(transition))
            for transition in LIFE
            if transition.source is state
        ]
        if rows:
            yield table(("what", "by", "and it becomes"), rows)


def _entered(state: State) -> str:
    """Say from where, and by what, an order comes to a state."""
    sources_by_command: dict[str, list[str]] = {}
    for transition in LIFE:
        if state in transition.targets and transition.source is not state:
            sources_by_command.setdefault(transition.command, []).append(transition.source)
    if state is State.AWAITING_DEPOSIT:
        return "Entered by `place_order`."
    causes = [
        (code(command) if command != ENFORCE_DEADLINE else "time") + f" ({codes(sources)})"
        for command, sources in sources_by_command.items()
    ]
    return f"Entered by {', '.join(causes)}."


def _waits(state: State) -> str:
    if state in ENDINGS:
        return f"Final. Reasons: {codes(ENDINGS[state])}."
    waits = f"It waits for {WAITS_FOR[state]}"
    if state is State.IN_ARBITRATION:
        return f"{waits}; no time ends that. Reasons: {codes(DISPUTES)}."
    return f"{waits}: {code(WINDOWS[state])}, {code(duration_text(Policy().windows[state]))}."


def _what(transition: Transition) -> str:
    return label(transition) if transition.command == ENFORCE_DEADLINE else code(transition.command)


def _becomes(transition: Transition) -> str:
    return ", ".join(
        code(target) if target is not transition.source else "stays"
        for target in in_order(transition.targets)
    )


def alike() -> str:
    """Write what may be asked in many states, and changes none."""
    life = set(LIFE)
    extra = [
        transition
        for transition in TRANSITIONS
        if transition not in life and transition.roles != {Role.CLOCK}
    ]
    rows = []
    for command in dict.fromkeys(transition.command for transition in extra):
        sources = [transition.source for transition in extra if transition.command == command]
        first_transition = find(sources[0], command)
        roles = people(first_transition.roles) if first_transition else ""
        rows.append((code(command), roles, codes(in_order(sources))))
    return ALIKE + "\n" + table(("what", "by", "while it is"), rows)


def people(roles: Container[Role]) -> str:
    """Name roles in their usual order; the clock is time."""
    return ", ".join("time" if role is Role.CLOCK else role for role in Role if role in roles)
