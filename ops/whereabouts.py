"""Whereabouts: where every fen came from and where it went, in tables that add up to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from models.ledger import FEES, FORFEITED, INCOME, PSP, SUSPENSE, Posting
from ops.tables import Cell, draw

ESCROW, OWED = "escrow", "refunds_payable"
CREATORS, AGENCIES = "payable:creator", "payable:mcn"

Flow = tuple[str, str]
"""From which kind of account to which."""

Sums = Counter[str]
"""Fen by line of a table."""

NOW = (
    ("waits to be refunded", OWED),
    ("waits to be paid out to creators", CREATORS),
    ("waits to be paid out to agencies", AGENCIES),
    ("service fees", FEES),
    ("forfeited, and not released", FORFEITED),
    ("released to the platform", INCOME),
    ("in suspense", SUSPENSE),
    ("in escrow", ESCROW),
)
"""Where money can be, as people call it, and the accounts where it is."""

GONE = (
    ("refunded to clients", OWED),
    ("paid out to creators", CREATORS),
    ("paid out to agencies", AGENCIES),
)
"""How money leaves, and the accounts from which it does."""

RELEASED = (
    ("reinstated, with the order", ESCROW),
    ("released to creators", CREATORS),
    ("released to agencies", AGENCIES),
    ("released to the platform", INCOME),
    ("released to clients", OWED),
)
"""What becomes of a forfeited deposit."""


def flows(postings: Iterable[Posting]) -> Counter[Flow]:
    """Add up postings by the kinds of account that they move money between, in fen."""
    fen_by_flow: Counter[Flow] = Counter()
    for posting in postings:
        fen_by_flow[_kind(posting.source), _kind(posting.target)] += posting.amount_fen
    return fen_by_flow


def _kind(account: str) -> str:
    """Name the kind of an account; of what is owed, with the side to which it is."""
    family, _, owner = account.partition(":")
    return f"{family}:{owner.partition(':')[0]}" if family == "payable" else family


def draw_whereabouts(foreseen: Counter[Flow], actual: Counter[Flow]) -> str:
    """Draw where all money is that ever arrived, and what became of forfeited deposits."""
    return "\n\n".join(
        (
            _draw("WHERE EVERY FEN WENT", _money(foreseen), _money(actual)),
            _draw("FORFEITED DEPOSITS, IN FEN", _deposits(foreseen), _deposits(actual)),
        )
    )


def _money(fen_by_flow: Counter[Flow]) -> Sums:
    """Hold what came against where it went and where it is."""
    sums = Sums({"received from clients": _out_of(PSP, fen_by_flow)})
    sums.update({name: -fen_by_flow[account, PSP] for name, account in GONE})
    sums.update(
        {name: _out_of(account, fen_by_flow) - _into(account, fen_by_flow) for name, account in NOW}
    )
    return sums


def _deposits(fen_by_flow: Counter[Flow]) -> Sums:
    sums = Sums({"forfeited": _into(FORFEITED, fen_by_flow)})
    sums.update({name: -fen_by_flow[FORFEITED, account] for name, account in RELEASED})
    sums["not released"] = _out_of(FORFEITED, fen_by_flow) - _into(FORFEITED, fen_by_flow)
    return sums


def _into(account: str, fen_by_flow: Counter[Flow]) -> int:
    return sum(fen for (_, target), fen in fen_by_flow.items() if target == account)


def _out_of(account: str, fen_by_flow: Counter[Flow]) -> int:
    return sum(fen for (source, _), fen in fen_by_flow.items() if source == account)


def _draw(title: str, foreseen: Sums, actual: Sums) -> str:
    rows: list[tuple[Cell, ...]] = [(name, foreseen[name], actual[name]) for name in foreseen]
    rows.append(("sum", foreseen.total(), actual.total()))
    return draw(title, ("fen", "foreseen", "actual"), rows)
