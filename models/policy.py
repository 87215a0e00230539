"""Policy: every number the rules use, each with its reason, checked once and frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from models.errors import InvalidPolicy
from models.fields import Bps, Duration, StrictModel
from models.lifecycle import WAITING_STATES, State

Window = Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=3650))]
Grace = Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=3650))]
ReminderLeads = Annotated[tuple[Window, ...], Field(max_length=20, strict=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Policy(StrictModel):
    """One version of the rules' numbers. An order keeps the version it was placed under.

    The public rules of such platforms fix the 10 %, the 24 hours, the 7 days and the ±20 %; the
    fee rate, revision count, deposit window, graces and reminder ladders are our choices.
    """

    # Our choice: 5 % is the order of magnitude that such marketplaces publish.
    service_fee_bps: Annotated[int, Field(ge=0, le=10_000)] = 500
    # Public rule: the prepaid deposit is 10 % of the total.
    deposit_bps: Annotated[int, Field(ge=0, le=10_000)] = 1_000
    # Public rule: with a deposit the quote may move by ±20 % of the original.
    quote_swing_percent: Annotated[int, Field(ge=0, le=99)] = 20
    # Our choice: one, so that nobody haggles in steps.
    quote_revisions: Count = 1
    # Our choice: long enough for any payment page, short enough not to hold the creator's time.
    deposit_window: Window = timedelta(minutes=30)
    # Public rule: the creator answers within 24 hours.
    accept_window: Window = timedelta(hours=24)
    # Public rule: the balance is paid within 7 days of acceptance, or the deposit is lost.
    balance_window: Window = timedelta(days=7)
    # Our choice: how long a notice of a payment made in time may be under way.
    payment_notice_grace: Grace = timedelta(minutes=10)
    # Our choice: a bank's worst delay over a weekend; after it a forfeit stands.
    late_notice_window: Grace = timedelta(days=2)
    # Our choices: half a day, a few hours and the last hour before an offer lapses.
    accept_reminders: ReminderLeads = (
        timedelta(hours=12),
        timedelta(hours=4),
        timedelta(hours=1),
    )
    # Our choices: time enough to fetch an approval, to pay, and to pay at once.
    balance_reminders: ReminderLeads = (
        timedelta(days=3),
        timedelta(days=1),
        timedelta(hours=2),
    )
    # Our choices: a nudge is a courtesy, not a siren.
    nudge_interval: Grace = timedelta(hours=2)
    nudge_limit: Count = 3
    # Public rule: several orders in one payment; the number is our choice. More than 500 shares
    # would not fit into one command.
    merged_payment_limit: Annotated[int, Field(ge=1, le=500)] = 50
    # Our choice: whom an agency or a gateway has vetted need not be registered twice.
    require_registered_clients: bool = False
    # Our choice: elapsed time, which needs no calendar; `civil_cn` counts working days.
    day_count: Literal["elapsed", "civil_cn"] = "elapsed"
    # Our choice: two weeks for a first draft; after it the client has waited long enough.
    first_work_window: Window = timedelta(days=14)
    # Our choice: a long weekend is time enough to read a script or watch a film.
    review_window: Window = timedelta(days=3)
    # Our choices: a week to do, or do again, what was asked, and some slack where work is filmed.
    revision_window: Window = timedelta(days=7)
    production_window: Window = timedelta(days=7)
    production_grace: Grace = timedelta(days=3)
    # Our choice: an approved work is ready; three days choose the best hour.
    publication_window: Window = timedelta(days=3)
    # Public rule: what nobody disputes for 7 days is accepted.
    acceptance_window: Window = timedelta(days=7)
    # Public rule: settlement is T+3.
    settlement_delay: Window = timedelta(days=3)
    # Our choices: an arbitrator who has not decided in a month is asked, and then every day.
    arbitration_window: Window = timedelta(days=30)
    arbitration_interval: Window = timedelta(days=1)
    # Public rule: scripts may be sent back three times, contents twice.
    script_rejections: Count = 3
    content_rejections: Count = 2
    # Our choices: a day to act, and the last moment to act at once; for both sides alike.
    work_reminders: ReminderLeads = (timedelta(days=1), timedelta(hours=4))
    review_reminders: ReminderLeads = (timedelta(days=1), timedelta(hours=4))
    # Public rule: what it costs to cancel rises with the work that is done.
    script_cost_bps: Bps = 1_000
    content_cost_bps: Bps = 5_000
    rejected_cost_bps: Bps = 10_000
    rejected_cost_from: Count = 2
    live_approved_cost_bps: Bps = 5_000
    live_day_cost_bps: Bps = 10_000
    # Public rule: the second advertisement outside costs a week, the third three months.
    second_ban_days: Annotated[int, Field(ge=1, le=3_650)] = 7
    third_ban_months: Annotated[int, Field(ge=1, le=120)] = 3
    # Our choices: a month is the longest that one operator's word may hold an order up.
    longest_extension: Window = timedelta(days=30)
    longest_pause: Window = timedelta(days=30)
    # Our choice: a bank's worst week; whoever is owed money should not have to ask first.
    unconfirmed_window: Window = timedelta(days=7)
    # Our choice: two systems of one sender race by less; nobody waits longer for a wrong number.
    placement_grace: Grace = timedelta(seconds=5)
    # Our choice: more than an honest sender has under way, few enough to be kept for everybody.
    parked_limit: Count = 1_000
    # Our choice: how far two honest clocks may differ; what claims to be later still is a mistake,
    # usually a wrong time zone.
    paid_at_tolerance: Grace = timedelta(minutes=5)
    # Our choice: more than one client has under way, few enough to be counted at every placement.
    unpaid_orders_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    # Our choice: over a weekend; who has not answered then is asked again.
    proposal_window: Window = timedelta(days=2)
    # Our choice: a quarter is time enough to install next year's holidays.
    calendar_warning: Grace = timedelta(days=90)

    @model_validator(mode="after")
    def _check_consistency(self) -> Policy:
        """Refuse a deposit not below a quote cut by the full swing, and a wait without a window."""
        if self.deposit_bps >= (100 - self.quote_swing_percent) * 100:
            message = (
                "deposit_bps: a quote cut by quote_swing_percent must still exceed the deposit"
            )
            raise ValueError(message)
        missing = WAITING_STATES - self.windows.keys()
        if missing:
            message = f"no window for {sorted(missing)}: an order could wait there for ever"
            raise ValueError(message)
        return self

    @cached_property
    def windows(self) -> dict[State, timedelta]:
        """Return the window of every state that waits for somebody.

        What a state waits for may be due later still: `calendar.compute_deadline` has the whole
        rule.
        """
        return {state: getattr(self, name) for state, name in WINDOW_SETTINGS.items()}

    def grace(self, state: State) -> timedelta:
        """Return the slack between what people are told and what takes effect."""
        return self.payment_notice_grace if state is State.AWAITING_DEPOSIT else timedelta(0)

    def reminder_leads(self, state: State) -> tuple[timedelta, ...]:
        """Return the reminders' leads before a state's deadline, longest first.

        A lead not shorter than the window is skipped: it would remind at the start, or before.
        """
        ladder = getattr(self, REMINDER_SETTINGS[state]) if state in REMINDER_SETTINGS else ()
        return tuple(sorted({lead for lead in ladder if lead < self.windows[state]}, reverse=True))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Policy:
        """Return another policy, checked like any other and with a version of its own."""
        del deep
        settings = {name: getattr(self, name) for name in Policy.model_fields}
        return Policy(**{**settings, **(update or {})})

    @cached_property
    def version(self) -> str:
        """Return the version's name, made from its content: nobody can forget to raise it.

        A number that is what it was when it was introduced leaves the name alone: a policy from
        before means the same as ever, and is called the same.
        """
        body = self.model_dump(mode="json")
        settings = {
            name: value
            for name, value in body.items()
            if name not in DEFAULTS_WHEN_INTRODUCED or value != DEFAULTS_WHEN_INTRODUCED[name]
        }
        text = json.dumps(settings, separators=(",", ":"), ensure_ascii=False)
        return "p" + hashlib.sha256(text.encode()).hexdigest()[:12]


WINDOW_SETTINGS = {
    State.AWAITING_DEPOSIT: "deposit_window",
    State.OFFERED: "accept_window",
    State.AWAITING_BALANCE: "balance_window",
    State.BALANCE_OVERDUE: "payment_notice_grace",
    State.IN_FULFILMENT: "first_work_window",
    State.SCRIPT_REVIEW: "review_window",
    State.SCRIPT_REVISION: "revision_window",
    State.PRODUCING: "production_window",
    State.CONTENT_REVIEW: "review_window",
    State.READY_TO_PUBLISH: "publication_window",
    State.PUBLISHED: "acceptance_window",
    State.ACCEPTED_DELIVERY: "settlement_delay",
    State.IN_ARBITRATION: "arbitration_window",
}
"""Which setting is the window of which state."""

REMINDER_SETTINGS = {
    State.OFFERED: "accept_reminders",
    State.AWAITING_BALANCE: "balance_reminders",
    **dict.fromkeys(
        (State.IN_FULFILMENT, State.SCRIPT_REVISION, State.PRODUCING, State.READY_TO_PUBLISH),
        "work_reminders",
    ),
    **dict.fromkeys(
        (State.SCRIPT_REVIEW, State.CONTENT_REVIEW, State.PUBLISHED), "review_reminders"
    ),
}
"""Which setting is the ladder of reminders of which state."""

DEFAULTS_WHEN_INTRODUCED: dict[str, Any] = {
    "require_registered_clients": False,
    "day_count": "elapsed",
    "first_work_window": "P14D",
    "review_window": "P3D",
    "revision_window": "P7D",
    "production_window": "P7D",
    "production_grace": "P3D",
    "publication_window": "P3D",
    "acceptance_window": "P7D",
    "settlement_delay": "P3D",
    "arbitration_window": "P30D",
    "arbitration_interval": "P1D",
    "script_rejections": 3,
    "content_rejections": 2,
    "work_reminders": ["P1D", "PT4H"],
    "review_reminders": ["P1D", "PT4H"],
    "script_cost_bps": 1_000,
    "content_cost_bps": 5_000,
    "rejected_cost_bps": 10_000,
    "rejected_cost_from": 2,
    "live_approved_cost_bps": 5_000,
    "live_day_cost_bps": 10_000,
    "second_ban_days": 7,
    "third_ban_months": 3,
    "longest_extension": "P30D",
    "longest_pause": "P30D",
    "unconfirmed_window": "P7D",
    "placement_grace": "PT5S",
    "parked_limit": 1_000,
    "paid_at_tolerance": "PT5M",
    "unpaid_orders_limit": 1_000,
    "proposal_window": "P2D",
    "calendar_warning": "P90D",
}
"""What later versions added, with the value that every policy from before them has for ever."""


def read_stored_policy(text: str | bytes) -> Policy:
    """Read a policy as it was stored: what it does not say is as when that was introduced.

    So today's defaults never reach an order that was placed under yesterday's.
    """
    settings: dict[str, Any] = json.loads(text)
    return read_policy(json.dumps(DEFAULTS_WHEN_INTRODUCED | settings))


def read_policy(text: str | bytes) -> Policy:
    """Build a policy from JSON; raise `InvalidPolicy` that names every wrong setting."""
    try:
        return Policy.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        messages = (
            f"{'.'.join(map(str, fault['loc'])) or 'policy'}: {fault['msg']}" for fault in faults
        )
        raise InvalidPolicy("; ".join(messages)) from None
