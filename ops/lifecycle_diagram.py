"""Lifecycle diagram: the moves of an order, drawn from the table that the code obeys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from models.lifecycle import (
    BEFORE_PUBLICATION,
    ENFORCE_DEADLINE,
    FINAL,
    LIFE,
    State,
    Transition,
    find,
)
from models.policy import WINDOWS, Policy

WORK = "work"
"""The name of the states between first work and publication, where much is alike."""

Move = tuple[str, str]


def lifecycle_diagram() -> str:
    """Draw the life of an order for Mermaid, as Markdown shows it; what stays is left out."""
    outside, inside = _moves()
    # What is inside must be known before anything outside leads there.
    lines = ["```mermaid", "stateDiagram-v2", f"    state {WORK} {{", *_lines(inside, "        ")]
    lines += ["    }", f"    [*] --> {State.AWAITING_DEPOSIT}: place_order"]
    lines += _lines(outside, "    ")
    reached = {target for _, target in outside}
    lines += [f"    {state} --> [*]" for state in in_order(FINAL & reached)]
    return "\n".join([*lines, "```", ""])


def _lines(moves: dict[Move, list[str]], indent: str) -> Iterator[str]:
    for (source, target), labels in moves.items():
        yield f"{indent}{source} --> {target}: {', '.join(labels)}"


def _moves() -> tuple[dict[Move, list[str]], dict[Move, list[str]]]:
    """Collect the moves with their labels, outside the work and inside it, in order of states."""
    outside: dict[Move, list[str]] = {}
    inside: dict[Move, list[str]] = {}
    for transition in sorted(LIFE, key=lambda row: list(State).index(row.source)):
        for source, target in _ends(transition):
            is_inside = {source, target} <= set(BEFORE_PUBLICATION)
            labels = (inside if is_inside else outside).setdefault((source, target), [])
            if label(transition) not in labels:
                labels.append(label(transition))
    return outside, inside


def _ends(transition: Transition) -> Iterator[Move]:
    """Give a row's moves; what all the work has in common goes out from the work as a whole."""
    source = WORK if _alike(transition) else transition.source
    into_work = set(BEFORE_PUBLICATION) <= transition.targets
    if into_work:
        yield source, WORK
    for target in in_order(transition.targets - {transition.source}):
        if not (into_work and target in BEFORE_PUBLICATION):
            yield source, target


def _alike(transition: Transition) -> bool:
    """Tell whether every state of the work has this row, with the same end."""
    if transition.source not in BEFORE_PUBLICATION:
        return False
    rows = (find(state, transition.command) for state in BEFORE_PUBLICATION)
    return all(row is not None and row.targets == transition.targets for row in rows)


def label(transition: Transition) -> str:
    """Name what moves an order: a command, or the window that is over."""
    if transition.command != ENFORCE_DEADLINE:
        return transition.command
    has_grace = Policy().grace(transition.source)
    return WINDOWS[transition.source] + (" and its grace are over" if has_grace else " is over")


def in_order(states: Iterable[State]) -> list[State]:
    """Sort states along an order's life."""
    return sorted(states, key=list(State).index)
