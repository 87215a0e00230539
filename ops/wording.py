"""Wording: money, shares, quotations and ways of counting, as sentences write them."""

from __future__ import annotations

from models.calendar import Counted


def fen(amount_fen: int) -> str:
    """Write an amount."""
    return f"{amount_fen:,} fen"


def share(bps: int) -> str:
    """Write basis points as per cent."""
    return f"{bps / 100:g} %"


def who(party: str) -> str:
    """Name who did something, where that is nobody who asked."""
    return {"clock": "time alone", "platform": "the platform"}.get(party, party)


def said(note: str | None) -> str:
    """Quote what somebody said, if anything, behind what was done."""
    return f", saying “{note}”" if note else ""


def counted(counting: Counted) -> str:
    """Say how a deadline was counted, where that is not by the elapsing of time."""
    return {
        "elapsed": "",
        "civil_cn": " (24:00 in Shanghai of a working day)",
        "unknown_year": " (in elapsed time: the calendar does not know the year)",
    }[counting]
