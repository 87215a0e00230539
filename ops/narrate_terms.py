"""Narrate terms: on what terms a command would be granted, and what it would cost, in words."""

from __future__ import annotations

from typing import Any

from ops.wording import fen, share

Terms = dict[str, Any]


def terms_text(terms: Terms) -> str:
    """Write limits and effects as a person would say them."""
    said = [say(terms[name]) for name, say in WORDS.items() if name in terms]
    return ", ".join(said)


WORDS: dict[str, Any] = {
    "outcomes": lambda one: "as " + " or ".join(f"{kind} → {to}" for kind, to in one.items()),
    "creator_bps": lambda one: f"cancel with creator_bps {_range(one)}",
    "accept_cost_fen": lambda one: f"with accept_cost_fen {one}",
    "accept_forfeit": lambda _: "with accept_forfeit true",
    "cost_fen": lambda one: f"at a cost of {fen(one)}",
    "cost_bps": lambda one: f"{share(one)} of the price" if one else "at no cost",
    "creators_side_fen": lambda one: f"{fen(one)} to the creator's side",
    "fee_fen": lambda one: f"{fen(one)} to the platform",
    "back_fen": lambda one: f"{fen(one)} back to the client",
    "forfeited_fen": lambda one: f"{fen(one)} forfeited",
    "rises": lambda one: (
        "rising to " + " and ".join(f"{share(n)} {when}" for when, n in one.items())
    ),
    "amount_fen": lambda one: f"{_range(one)} fen" if isinstance(one, list) else f"of {fen(one)}",
    "paid_until": lambda one: f"paid until {one}",
    "noticed_until": lambda one: f"if it is noticed until {one}",
    "revised_amount_fen": lambda one: f"with a new quote of {_range(one)} fen if wanted",
    "parts_fen": lambda one: f"parts that add up to {fen(one)}",
    "left": lambda one: f"{one} left",
    "not_before": lambda one: f"not before {one}",
    "not_after": lambda one: f"until {one}",
    "no_longer_than": lambda one: f"until {one} at the latest",
    "until": lambda one: f"until: later than {one[0]}, at most {one[1]}",
    "due_at": lambda one: f"next deadline {one}",
    "stands_in_for": lambda one: "for " + ", ".join(one),
}
"""How each term is said, in this order."""


def _range(given: list[Any]) -> str:
    return f"{given[0]:,} to {given[1]:,}"
