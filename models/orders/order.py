"""Order: what is known of one order, the amounts and instants that follow, its public status.

`finished` and `pending_review` share a state: which of the two depends on whether the client has
rated the completed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationInfo

from models import money
from models.calendar import CountingMethod
from models.creators import StandingChange
from models.events.orders import Side
from models.fields import PaymentPurpose
from models.lifecycle import FINAL_STATES, PausedBy, PublicStatus, State
from models.policy import Policy


def _resolve_policy(version: Policy | str, info: ValidationInfo) -> Policy:
    return version if isinstance(version, Policy) else (info.context or {})[version]


# Stored as its version; read with the policies by version as validation context.
StoredPolicy = Annotated[
    Policy, PlainSerializer(lambda policy: policy.version), PlainValidator(_resolve_policy)
]


@dataclass(frozen=True, slots=True)
class Holding:
    """One payment's share held for the order."""

    payment_id: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class ScheduleProposal:
    """Another day for the publication, which the side that did not propose it may agree to."""

    side: Side
    expected_publish_at: datetime
    open_until: datetime


# Without slots: an order has many fields, and most are copied by every event.
@dataclass(frozen=True, kw_only=True)
class Order:
    """An order between two events. Amounts are fen, instants UTC.

    `due_at` is what people are told; `lapses_at` is when it takes effect; `deposit_overdue` says
    that the grace between them has begun. `pay_by` is the last instant at which a payment that the
    order waits for, or waited for last, is in time. `lapsed` names the states that time has ended
    since anything but time moved the order, and `lapsed_at` when, the latest last; an order from
    before that was noted knows only later ones. While anybody in `stoppers` stops its clock there
    is no deadline: `left` is what remains of the time. `creator_sequence` is the latest of its
    creator's events that it has learned of, `heeded_at` the latest end of a ban, which may not be
    on record yet. No event tells of these two.

    Orders are stored without the fields that have their defaults, so a default never changes.
    """

    order_id: str
    client_id: str
    creator_id: str
    policy: StoredPolicy
    task_type: str
    prepay_deposit: bool
    original_amount_fen: int
    amount_fen: int
    deposit_fen: int
    placed_at: datetime
    expected_publish_at: datetime | None
    state: State
    sequence: int
    entered_at: datetime
    due_at: datetime | None
    pay_by: datetime
    reason: str | None = None
    held: tuple[Holding, ...] = ()
    forfeited: tuple[Holding, ...] = ()
    offered_at: datetime | None = None
    revisions: int = 0
    nudges: int = 0
    nudged_at: datetime | None = None
    reminded: timedelta | None = None
    lapsed: tuple[State, ...] = ()
    needs_script: bool = True
    answer_by: datetime | None = None
    counted: CountingMethod = "elapsed"
    stoppers: tuple[PausedBy, ...] = ()
    left: timedelta | None = None
    paused_until: datetime | None = None
    mcn_id: str | None = None
    mcn_share_bps: int = 0
    scripts: int = 0
    contents: int = 0
    scripts_rejected: int = 0
    contents_rejected: int = 0
    script_approved: bool = False
    client_provider: str | None = None
    creator_provider: str | None = None
    came_from: State | None = None
    entry_cost_bps: int = 0
    alerted_at: datetime | None = None
    heeded_at: datetime | None = None
    creator_sequence: int = 0
    released: bool = False
    rated: bool = False
    name: str = ""
    lapsed_at: tuple[datetime, ...] = ()
    deposit_overdue: bool = False
    proposal: ScheduleProposal | None = None

    def with_changes(self, changes: dict[str, Any]) -> Order:
        """Return the order with some fields changed, at once where `replace` goes one by one."""
        copy = object.__new__(Order)
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(changes)
        return copy

    @property
    def total_fen(self) -> int:
        """Return what the client owes in all at the present quote."""
        return money.total(self.amount_fen, self.policy.service_fee_bps)

    @property
    def held_fen(self) -> int:
        """Return what is held for this order now."""
        return sum(holding.amount_fen for holding in self.held)

    @property
    def first_payment_fen(self) -> int:
        """Return what must arrive before the creator is asked: the deposit, or everything."""
        return self.deposit_fen if self.prepay_deposit else self.total_fen

    @property
    def awaited_purpose(self) -> PaymentPurpose:
        """Return what a payment that the order waits for, or waited for last, is meant for."""
        if self.state is State.AWAITING_DEPOSIT:
            return "deposit" if self.prepay_deposit else "total"
        return "balance"

    @property
    def balance_due_fen(self) -> int:
        """Return what the order waits for now, 0 if nothing."""
        if self.state is State.AWAITING_DEPOSIT:
            return self.first_payment_fen
        if self.state in (State.OFFERED, State.AWAITING_BALANCE, State.BALANCE_OVERDUE):
            return self.total_fen - self.held_fen
        return 0

    @property
    def fee_fen(self) -> int:
        """Return the platform's fee at the present quote."""
        return money.fee(self.amount_fen, self.policy.service_fee_bps)

    @property
    def is_live(self) -> bool:
        """Tell whether the work is a broadcast: there is nothing to review but its script."""
        return self.task_type == "douyin_live"

    @property
    def lapses_at(self) -> datetime | None:
        """Return the instant after which time ends the present state, or a pause, or None."""
        if self.stoppers:
            return self.paused_until
        if self.due_at is None or self.state is State.IN_ARBITRATION:
            return None
        return self.due_at + self.policy.grace(self.state)

    @property
    def grace_begins_at(self) -> datetime | None:
        """Return the instant after which only notices of payments in time are heard, if any is."""
        has_grace = self.policy.grace(self.state) and not self.stoppers
        return self.due_at if has_grace and not self.deposit_overdue else None

    @property
    def next_timeout_at(self) -> datetime | None:
        """Return the instant after which time next does something to the order, or None."""
        return self.grace_begins_at or self.lapses_at

    @property
    def accept_by(self) -> datetime:
        """Return until when the creator may answer, and move the quote."""
        if self.answer_by is not None:
            return self.answer_by
        return (self.offered_at or self.placed_at) + self.policy.accept_window

    @property
    def is_final(self) -> bool:
        """Tell whether the order has ended."""
        return self.state in FINAL_STATES

    @property
    def paused_at(self) -> datetime | None:
        """Return since when an operator's pause stops the clock: it was to last so long at most."""
        return self.paused_until and self.paused_until - self.policy.longest_pause

    def lapse_instants(self) -> dict[State, datetime]:
        """Return when time ended each of the states in `lapsed`, as far as it was noted."""
        if not self.lapsed_at:
            return dict.fromkeys(self.lapsed[-1:], self.entered_at)
        return dict(zip(reversed(self.lapsed), reversed(self.lapsed_at), strict=False))

    def is_archivable(self, at: datetime) -> bool:
        """Tell whether nothing more is to be expected of it, unless somebody names it.

        A forfeited deposit that nobody got yet is still waited for a while: by notices of a
        payment made in time.
        """
        notices_until = self.entered_at + self.policy.late_notice_window
        return self.is_final and not (self.forfeited and at <= notices_until)

    def has_learned(self, change: StandingChange) -> bool:
        """Tell whether the order knows of a change in its creator's standing.

        Time ends a ban for whoever looks: an end before its present state it has passed already.
        """
        if not change.by_time:
            return change.sequence <= self.creator_sequence
        already_noted = self.heeded_at is not None and self.heeded_at >= change.at
        return self.entered_at > change.at or already_noted

    def after_learning(self, change: StandingChange) -> Order:
        """Return the order when it knows of a change, whatever that meant for it."""
        return self.with_changes(
            {
                "creator_sequence": max(self.creator_sequence, change.sequence),
                "heeded_at": change.at if change.by_time else self.heeded_at,
            }
        )

    def remaining_reminder_leads(self) -> tuple[timedelta, ...]:
        """Return the leads of this state's reminders not yet sent, longest first."""
        if self.due_at is None:
            return ()
        time_left = self.reminded or self.due_at - self.entered_at
        return tuple(lead for lead in self.policy.reminder_leads(self.state) if lead < time_left)

    @property
    def alert_at(self) -> datetime | None:
        """Return when an operator is next to be told that nobody has decided."""
        if self.state is not State.IN_ARBITRATION or self.alerted_at is None:
            return self.due_at
        return self.alerted_at + self.policy.arbitration_interval

    @property
    def wake_at(self) -> datetime | None:
        """Return when the order next wants attention: a reminder, or what time does to it."""
        if self.stoppers or self.due_at is None:
            return self.paused_until
        if self.state is State.IN_ARBITRATION:
            return self.alert_at
        leads = self.remaining_reminder_leads()
        return self.due_at - leads[0] if leads else self.next_timeout_at


ORDER_ADAPTER: TypeAdapter[Order] = TypeAdapter(Order)
"""Writes an order as JSON and reads it again, with the policies by version as context."""

STATES_BY_STATUS = {
    PublicStatus.PENDING_PAYMENT: frozenset(
        {State.AWAITING_DEPOSIT, State.AWAITING_BALANCE, State.BALANCE_OVERDUE}
    ),
    PublicStatus.PENDING_ACCEPTANCE: frozenset({State.OFFERED}),
    PublicStatus.IN_PROGRESS: frozenset(
        {
            State.IN_FULFILMENT,
            State.SCRIPT_REVIEW,
            State.SCRIPT_REVISION,
            State.PRODUCING,
            State.CONTENT_REVIEW,
            State.READY_TO_PUBLISH,
            State.PUBLISHED,
            State.ACCEPTED_DELIVERY,
            State.IN_ARBITRATION,
        }
    ),
    PublicStatus.PENDING_REVIEW: frozenset({State.COMPLETED}),
    PublicStatus.FINISHED: frozenset({State.COMPLETED}),
    PublicStatus.CANCELLED: frozenset(
        {State.EXPIRED, State.DECLINED, State.CANCELLED, State.FORFEITED}
    ),
}
"""The states that each status stands for."""

_STATUS_BY_STATE = {
    state: status for status, states in STATES_BY_STATUS.items() for state in states
}

OPEN_STATUSES = (
    PublicStatus.PENDING_PAYMENT,
    PublicStatus.PENDING_ACCEPTANCE,
    PublicStatus.IN_PROGRESS,
)
"""The statuses of orders that have not ended."""


def public_status(state: State, *, rated: bool) -> PublicStatus:
    """Say what people are shown of an order in a state; only a completed one can be rated."""
    if state is State.COMPLETED:
        return PublicStatus.FINISHED if rated else PublicStatus.PENDING_REVIEW
    return _STATUS_BY_STATE[state]


def public_statuses_of(state: State) -> tuple[PublicStatus, ...]:
    """Return every status that orders in a state may have."""
    return tuple(status for status, states in STATES_BY_STATUS.items() if state in states)
