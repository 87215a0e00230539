"""One fen dearer: a worker whose fees are a fen too high, for the checker to notice on any code."""

from __future__ import annotations

from models import money


def replace_part() -> None:
    """Let every fee be a fen higher than the rules have it."""
    fee = money.fee

    def dearer_fee(amount_fen: int, service_fee_bps: int) -> int:
        return fee(amount_fen, service_fee_bps) + 1

    vars(money)["fee"] = dearer_fee
