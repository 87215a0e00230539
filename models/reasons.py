"""Reasons: why a command is refused, and why a share of a payment cannot be used."""

from __future__ import annotations

from enum import StrEnum


class RejectionReason(StrEnum):
    """Refusals in order of precedence: where several apply, the first is the answer."""

    MALFORMED = "malformed"
    ID_REUSED = "id_reused"
    ORDER_EXISTS = "order_exists"
    UNKNOWN_ORDER = "unknown_order"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN_CLIENT = "unknown_client"
    UNKNOWN_CREATOR = "unknown_creator"
    UNKNOWN_MCN = "unknown_mcn"
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_VIOLATION = "unknown_violation"
    CREATOR_NOT_ADMITTED = "creator_not_admitted"
    LATE = "late"
    WRONG_STATE = "wrong_state"
    CREATOR_BANNED = "creator_banned"
    CALENDAR_UNKNOWN = "calendar_unknown"
    QUOTE_FIXED = "quote_fixed"
    ALREADY_PAID = "already_paid"
    ALREADY_REVISED = "already_revised"
    OUT_OF_RANGE = "out_of_range"
    NOTHING_TO_RESTORE = "nothing_to_restore"
    WOULD_FORFEIT = "would_forfeit"
    NO_REJECTIONS_LEFT = "no_rejections_left"
    COST_MISMATCH = "cost_mismatch"
    NOTHING_TO_APPROVE = "nothing_to_approve"
    CONFLICT_OF_INTEREST = "conflict_of_interest"
    CLOCK_STOPPED = "clock_stopped"
    CLOCK_RUNNING = "clock_running"
    ALREADY_RELEASED = "already_released"
    TOO_SOON = "too_soon"
    PARTS_MISMATCH = "parts_mismatch"
    UNTIL_OUT_OF_RANGE = "until_out_of_range"
    NUDGE_TOO_SOON = "nudge_too_soon"
    NUDGE_LIMIT = "nudge_limit"
    PAYMENT_CONFLICT = "payment_conflict"
    VIOLATION_CONFLICT = "violation_conflict"
    ALREADY_OVERTURNED = "already_overturned"
    UNKNOWN_REFUND = "unknown_refund"
    UNKNOWN_PAYOUT = "unknown_payout"
    UNKNOWN_SUSPENSE = "unknown_suspense"
    ALREADY_CONFIRMED = "already_confirmed"


class UnappliedReason(StrEnum):
    """Why money goes back, or waits: the payment as a whole first, then share by share."""

    SHARES_MISMATCH = "shares_mismatch"
    MIXED_CLIENTS = "mixed_clients"
    UNKNOWN_ORDER = "unknown_order"
    LATE = "late"
    ORDER_CLOSED = "order_closed"
    NOTHING_DUE = "nothing_due"
    AMOUNT_MISMATCH = "amount_mismatch"


class Alert(StrEnum):
    """What an operator is told at once, because the rules alone cannot mend it."""

    UNKNOWN_ORDER = "unknown_order"
    PAYMENT_CONFLICT = "payment_conflict"
    NOTICE_TOO_LATE = "notice_too_late"
    PAID_BEFORE_FORFEIT = "paid_before_forfeit"
    ARBITRATION_OVERDUE = "arbitration_overdue"
    REFUND_OVERDUE = "refund_overdue"
    PAYOUT_OVERDUE = "payout_overdue"
    REFUND_FAILED = "refund_failed"
    PAYOUT_FAILED = "payout_failed"
    PAID_WHILE_HELD = "paid_while_held"
    MOVED_AFTER_END = "moved_after_end"
    CALENDAR_UNKNOWN = "calendar_unknown"
    CALENDAR_ENDS = "calendar_ends"
