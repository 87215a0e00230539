"""Narrate terms: on what terms a command would be granted, and what it would cost, in words."""

from __future__ import annotations

from typing import Any

from ops.wording import fen, share

Terms = dict[str, Any]


def terms_text(terms: Terms) -> str:
    """Write limits and effects as a person would say them."""
    phrases = [render(terms[name]) for name, render in WORDS.items() if name in terms]
    return ", ".join(phrases)


WORDS: dict[str, Any] = {
    "outcomes": lambda outcomes: (
        "as " + " or ".join(f"{kind} → {target}" for kind, target in outcomes.items())
    ),
    "creator_bps": lambda bounds: f"cancel with creator_bps {_range(bounds)}",
    "accept_cost_fen": lambda amount_fen: f"with accept_cost_fen {amount_fen}",
    "accept_forfeit": lambda _: "with accept_forfeit true",
    "cost_fen": lambda amount_fen: f"at a cost of {fen(amount_fen)}",
    "cost_bps": lambda bps: f"{share(bps)} of the price" if bps else "at no cost",
    "creators_side_fen": lambda amount_fen: f"{fen(amount_fen)} to the creator's side",
    "fee_fen": lambda amount_fen: f"{fen(amount_fen)} to the platform",
    "back_fen": lambda amount_fen: f"{fen(amount_fen)} back to the client",
    "forfeited_fen": lambda amount_fen: f"{fen(amount_fen)} forfeited",
    "rises": lambda bps_by_time: (
        "rising to "
        + " and ".join(f"{share(bps)} {time_text}" for time_text, bps in bps_by_time.items())
    ),
    "amount_fen": lambda amount_fen: (
        f"{_range(amount_fen)} fen" if isinstance(amount_fen, list) else f"of {fen(amount_fen)}"
    ),
    "paid_until": lambda until_at: f"paid until {until_at}",
    "noticed_until": lambda until_at: f"if it is noticed until {until_at}",
    "revised_amount_fen": lambda bounds: f"with a new quote of {_range(bounds)} fen if wanted",
    "parts_fen": lambda total_fen: f"parts that add up to {fen(total_fen)}",
    "left": lambda duration: f"{duration} left",
    "not_before": lambda start_at: f"not before {start_at}",
    "not_after": lambda end_at: f"until {end_at}",
    "no_longer_than": lambda end_at: f"until {end_at} at the latest",
    "until": lambda bounds: f"until: later than {bounds[0]}, at most {bounds[1]}",
    "due_at": lambda due_at: f"next deadline {due_at}",
    "stands_in_for": lambda commands: "for " + ", ".join(commands),
}
"""How each term is said, in this order."""


def _range(bounds: list[Any]) -> str:
    return f"{bounds[0]:,} to {bounds[1]:,}"
