"""Policy: the numbers are the published ones, and a wrong one is refused by name."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from models.errors import InvalidPolicy
from models.fields import format_duration, parse_duration
from models.lifecycle import WAITING_STATES, State
from models.policy import (
    DEFAULTS_WHEN_INTRODUCED,
    WINDOW_SETTINGS,
    Policy,
    read_policy,
    read_stored_policy,
)

DEFAULTS = {
    "service_fee_bps": 500,
    "deposit_bps": 1000,
    "quote_swing_percent": 20,
    "quote_revisions": 1,
    "deposit_window": "PT30M",
    "accept_window": "P1D",
    "balance_window": "P7D",
    "payment_notice_grace": "PT10M",
    "late_notice_window": "P2D",
    "accept_reminders": ["PT12H", "PT4H", "PT1H"],
    "balance_reminders": ["P3D", "P1D", "PT2H"],
    "nudge_interval": "PT2H",
    "nudge_limit": 3,
    "merged_payment_limit": 50,
    **DEFAULTS_WHEN_INTRODUCED,
}


def test_the_defaults_of_the_policy_are_the_published_ones() -> None:
    assert json.loads(Policy().model_dump_json()) == DEFAULTS


def test_a_policy_survives_being_written_and_read() -> None:
    policy = Policy(balance_window=timedelta(days=3, seconds=1.5), nudge_limit=0)
    assert read_policy(policy.model_dump_json()) == policy


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("service_fee_bps", "500"),
        ("service_fee_bps", 500.0),
        ("service_fee_bps", True),
        ("service_fee_bps", -1),
        ("deposit_bps", 10_001),
        ("deposit_bps", 8_000),
        ("quote_swing_percent", 100),
        ("accept_window", "24h"),
        ("accept_window", "PT0S"),
        ("accept_window", "-PT1H"),
        ("accept_window", 86_400),
        ("accept_window", "P1M"),
        ("accept_window", "P1Y"),
        ("accept_window", "P4000D"),
        ("accept_window", "P" + "9" * 30 + "D"),
        ("accept_window", "P"),
        ("accept_window", "PT"),
        ("accept_window", "PT\u0663H"),
        ("accept_window", None),
        ("balance_reminders", "P1D"),
        ("balance_reminders", ["P1D", 7]),
        ("balance_reminders", ["PT1H"] * 21),
        ("nudge_limit", -1),
        ("merged_payment_limit", 0),
        ("grace_of_god", 1),
        ("version", "mine"),
    ],
)
def test_a_wrong_number_in_a_policy_is_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(InvalidPolicy, match=setting):
        read_policy(json.dumps({setting: value}))


COUNTS = ("quote_revisions", "nudge_limit", "script_rejections", "content_rejections")
COSTS = ("script_cost_bps", "content_cost_bps", "rejected_cost_bps", "live_day_cost_bps")
WINDOWS = ("deposit_window", "accept_window", "first_work_window", "longest_pause")
GRACES = ("payment_notice_grace", "late_notice_window", "placement_grace", "calendar_warning")

BOUNDS: dict[str, tuple[int, int]] = {
    "service_fee_bps": (0, 10_000),
    "deposit_bps": (0, 9_999),
    "quote_swing_percent": (0, 99),
    "merged_payment_limit": (1, 500),
    "second_ban_days": (1, 3_650),
    "third_ban_months": (1, 120),
    "unpaid_orders_limit": (1, 1_000_000),
    **dict.fromkeys((*COUNTS, "rejected_cost_from", "parked_limit"), (0, 1_000_000)),
    **dict.fromkeys((*COSTS, "live_approved_cost_bps"), (0, 10_000)),
}


@pytest.mark.parametrize("setting", BOUNDS)
def test_a_number_may_be_the_least_and_the_most_and_nothing_beyond(setting: str) -> None:
    minimum, maximum = BOUNDS[setting]
    unbounded = {"deposit_bps": 0, "quote_swing_percent": 0}
    for value in (minimum, maximum):
        assert getattr(read_policy(json.dumps(unbounded | {setting: value})), setting) == value
    for value in (minimum - 1, maximum + 1):
        with pytest.raises(InvalidPolicy, match=setting):
            read_policy(json.dumps(unbounded | {setting: value}))


@pytest.mark.parametrize(
    ("settings", "shortest"), [(WINDOWS, "PT0.000001S"), (GRACES, "PT0S")], ids=["window", "grace"]
)
def test_a_length_of_time_is_ten_years_at_most_and_a_window_not_nothing(
    settings: tuple[str, ...], shortest: str
) -> None:
    for setting in settings:
        for text in (shortest, "P3650D"):
            assert getattr(read_policy(json.dumps({setting: text})), setting) == parse_duration(
                text
            )
        for text in ("P3650DT0.000001S", *(["PT0S"] if settings is WINDOWS else [])):
            with pytest.raises(InvalidPolicy, match=setting):
                read_policy(json.dumps({setting: text}))


def test_a_ladder_has_at_most_twenty_reminders() -> None:
    leads = [f"PT{minutes}M" for minutes in range(1, 22)]
    assert len(read_policy(json.dumps({"work_reminders": leads[:20]})).work_reminders) == 20
    with pytest.raises(InvalidPolicy, match="work_reminders"):
        read_policy(json.dumps({"work_reminders": leads}))


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{", '{"nudge_limit": NaN}', b"\xff"])
def test_a_text_that_is_no_policy_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidPolicy):
        read_policy(text)


@pytest.mark.parametrize(("swing", "deposit", "fits"), [(20, 7_999, True), (20, 8_000, False)])
def test_a_quote_cut_by_the_full_swing_must_exceed_the_deposit(
    swing: int, deposit: int, *, fits: bool
) -> None:
    text = json.dumps({"quote_swing_percent": swing, "deposit_bps": deposit})
    if fits:
        assert read_policy(text).deposit_bps == deposit
    else:
        with pytest.raises(InvalidPolicy, match="deposit"):
            read_policy(text)


def test_every_state_that_waits_has_a_window() -> None:
    assert set(Policy().windows) == WAITING_STATES | {State.IN_ARBITRATION}


def test_a_state_that_could_wait_for_ever_makes_every_policy_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if somebody had added a state that waits, and forgotten its window.
    monkeypatch.delitem(WINDOW_SETTINGS, State.OFFERED)
    with pytest.raises(InvalidPolicy, match=r"no window for .*offered"):
        read_policy("{}")


def test_a_reminder_lead_not_shorter_than_the_window_is_skipped() -> None:
    policy = read_policy('{"accept_window": "PT4H"}')
    assert policy.reminder_leads(State.OFFERED) == (timedelta(hours=1),)


def test_reminder_leads_come_longest_first_and_once_each() -> None:
    policy = read_policy('{"accept_reminders": ["PT1H", "PT3H", "PT60M", "PT2H"]}')
    assert policy.reminder_leads(State.OFFERED) == tuple(timedelta(hours=n) for n in (3, 2, 1))


def test_states_that_wait_for_no_person_have_no_reminders() -> None:
    assert [
        Policy().reminder_leads(state) for state in (State.AWAITING_DEPOSIT, State.FORFEITED)
    ] == [
        (),
        (),
    ]


def test_a_policy_version_is_the_same_for_the_same_numbers_only() -> None:
    assert (
        Policy().version == read_policy("{}").version == read_policy(json.dumps(DEFAULTS)).version
    )
    assert Policy().version != Policy(nudge_limit=4).version


def test_a_copy_of_a_policy_with_another_number_has_another_version() -> None:
    policy = Policy()
    name = policy.version
    assert policy.model_copy(update={"nudge_limit": 4}).version != name
    assert policy.model_copy() == policy
    with pytest.raises(ValueError, match="nudge_limit"):
        policy.model_copy(update={"nudge_limit": -1})


@pytest.mark.parametrize("text", ["PT30M", "P1D", "P7D", "P1DT2H3M4.5S", "PT0.000001S", "PT0S"])
def test_a_duration_is_written_as_it_was_read(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


def test_a_day_is_always_24_hours() -> None:
    assert parse_duration("P1W") == parse_duration("P7D") == parse_duration("PT168H")


# A policy as the first version of this program stored it, and the version it stored it under.
STORED_POLICY = {
    name: value for name, value in DEFAULTS.items() if name not in DEFAULTS_WHEN_INTRODUCED
}

STORED_VERSION = "p546777df3957"


def test_a_policy_stored_by_the_first_version_still_has_its_version() -> None:
    assert (
        read_stored_policy(json.dumps(STORED_POLICY)).version == Policy().version == STORED_VERSION
    )


def test_a_number_missing_from_a_stored_policy_is_as_when_it_was_introduced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if a later version had changed its mind about the default.
    monkeypatch.setitem(DEFAULTS_WHEN_INTRODUCED, "review_window", "P5D")
    assert read_stored_policy(json.dumps(STORED_POLICY)).review_window == timedelta(days=5)
    assert read_policy(json.dumps(STORED_POLICY)).review_window == timedelta(days=3)


def test_a_number_in_a_stored_policy_is_taken_at_its_word() -> None:
    policy_text = json.dumps(STORED_POLICY | {"review_window": "P9D"})
    assert read_stored_policy(policy_text).review_window == timedelta(days=9)
    assert read_stored_policy(policy_text).version != STORED_VERSION
    assert read_stored_policy(
        read_stored_policy(policy_text).model_dump_json()
    ) == read_stored_policy(policy_text)


@pytest.mark.parametrize("name", sorted(DEFAULTS_WHEN_INTRODUCED))
def test_every_number_added_later_changes_the_policy_version(name: str) -> None:
    value = DEFAULTS_WHEN_INTRODUCED[name]
    changed_value: object = value
    if isinstance(value, bool):
        changed_value = not value
    elif isinstance(value, int):
        changed_value = value + 1 if value < 10_000 else value - 1
    elif isinstance(value, list):
        changed_value = ["PT2H"]
    else:
        changed_value = {"elapsed": "civil_cn"}.get(value, "P1DT1H")
    assert read_policy(json.dumps({name: changed_value})).version != Policy().version
