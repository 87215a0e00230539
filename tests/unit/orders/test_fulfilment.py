"""Fulfilment: who may ask what from the first script to the last rating, and what becomes of it."""

from __future__ import annotations

import pytest

from models.events.event import Event
from models.fields import format_instant
from models.reasons import RejectionReason
from tests.support.command_fields import fields_for
from tests.support.stories import (
    MOVES,
    POLICY,
    TOTAL,
    OrderStory,
    audit,
    place,
    play_step,
    read_table,
    span,
    story_of,
    story_with_parties,
)

DECISIONS = read_table("""
    while              asked                by        after    becomes            because
    in_fulfilment      script               creator   14d      script_review      -
    in_fulfilment      script               mcn       1h       script_review      -
    in_fulfilment      script               creator   14d+1us  cancelled          late
    in_fulfilment      script               client    1h       -                  not_allowed
    in_fulfilment      script               mcn:m2    1h       -                  not_allowed
    in_fulfilment      content              creator   1h       -                  wrong_state
    at_work_noscript   content              creator   1h       content_review     -
    at_work_noscript   script               creator   1h       -                  wrong_state
    at_work_live       script               creator   1h       script_review      -
    at_work_live       content              creator   1h       -                  wrong_state
    in_fulfilment      agree                client    1h       -                  wrong_state
    in_fulfilment      dispute              client    1h       -                  wrong_state
    in_fulfilment      cancel               client    1h       cancelled          -
    in_fulfilment      cancel 1             client    1h       -                  cost_mismatch
    in_fulfilment      cancel               operator  1h       cancelled          -
    script_review      agree                client    3d       producing          -
    script_review      agree                client    3d+1us   producing          late
    script_review      agree                creator   1h       -                  not_allowed
    script_review      return               client    3d       script_revision    -
    script_review      return               client    3d+1us   producing          late
    scripts_exhausted  return               client    1h       -                  no_rejections_left
    scripts_exhausted  agree                client    1h       producing          -
    script_review      script               creator   1h       -                  wrong_state
    script_review      cancel 10500         client    1h       cancelled          -
    script_review      cancel               client    1h       -                  cost_mismatch
    script_review      cancel               operator  1h       -                  wrong_state
    script_review      withdraw             creator   1h       cancelled          -
    script_review      withdraw             client    1h       -                  not_allowed
    script_review      dispute              client    1h       in_arbitration     -
    script_review      dispute              creator   1h       in_arbitration     -
    script_review      dispute              mcn       1h       in_arbitration     -
    script_review      dispute              operator  1h       -                  not_allowed
    script_revision    script               creator   7d       script_review      -
    script_revision    script               creator   7d+1us   in_arbitration     late
    script_revision    cancel 10500         client    1h       cancelled          -
    script_revision    withdraw             mcn       1h       cancelled          -
    script_revision    dispute              client    1h       in_arbitration     -
    producing          content              creator   10d      content_review     -
    producing          content              creator   10d+1us  in_arbitration     late
    producing          script               creator   1h       -                  wrong_state
    producing          cancel 10500         client    1h       cancelled          -
    producing          withdraw             creator   1h       cancelled          -
    producing          dispute              creator   1h       in_arbitration     -
    producing_again    cancel 52500         client    1h       cancelled          -
    rejected_twice     cancel 105000        client    1h       cancelled          -
    content_review     approve              client    3d       ready_to_publish   -
    content_review     approve              client    3d+1us   ready_to_publish   late
    content_review     reject               client    3d       producing          -
    rejected_enough    reject               client    1h       -                  no_rejections_left
    rejected_enough    approve              client    1h       ready_to_publish   -
    content_review     cancel 52500         client    1h       cancelled          -
    content_review     withdraw             creator   1h       cancelled          -
    content_review     dispute              client    1h       in_arbitration     -
    ready_to_publish   publish              creator   3d       published          -
    ready_to_publish   publish              creator   3d+1us   in_arbitration     late
    ready_to_publish   cancel 52500         client    1h       cancelled          -
    ready_to_publish   withdraw             creator   1h       cancelled          -
    ready_to_publish   dispute              creator   1h       in_arbitration     -
    published          deliver              client    7d       accepted_delivery  -
    published          deliver              client    7d+1us   accepted_delivery  late
    published          deliver              client    10d+1us  completed          late
    published          dispute              client    7d       in_arbitration     -
    published          dispute              creator   7d+1us   in_arbitration     -
    published          cancel 52500         client    1h       -                  wrong_state
    published          withdraw             creator   1h       -                  wrong_state
    accepted_delivery  dispute              client    3d       in_arbitration     -
    accepted_delivery  dispute              client    3d+1us   completed          late
    accepted_delivery  deliver              client    1h       -                  wrong_state
    completed          rate                 client    90d      -                  -
    rated              rate                 client    1h       -                  wrong_state
    completed          rate                 creator   1h       -                  not_allowed
    disputed_script    resolve approve      operator  90d      producing          -
    disputed_script    resolve approve      client    1h       -                  not_allowed
    script_overdue     resolve approve      operator  1h       producing          -
    content_overdue    resolve approve      operator  1h       -                  nothing_to_approve
    disputed_content   resolve approve      operator  1h       ready_to_publish   -
    not_published      resolve approve      operator  1h       -                  nothing_to_approve
    disputed_work      resolve approve      operator  1h       accepted_delivery  -
    disputed_script    resolve extend       operator  1h       script_review      -
    script_overdue     resolve extend       operator  1h       script_revision    -
    content_overdue    resolve extend       operator  1h       producing          -
    not_published      resolve extend       operator  1h       ready_to_publish   -
    disputed_work      resolve extend       operator  1h       published          -
    disputed_work      resolve cancel=0     operator  1h       cancelled          -
    disputed_work      resolve cancel=5000  operator  1h       cancelled          -
    disputed_script    cancel 10500         client    90d      cancelled          -
    disputed_script    cancel 52500         client    1h       -                  cost_mismatch
    disputed_work      cancel 52500         client    1h       -                  wrong_state
    disputed_script    withdraw             creator   1h       cancelled          -
    disputed_script    dispute              client    1h       -                  wrong_state
    disputed_script    agree                client    1h       -                  wrong_state
    script_review      pay 1                payments  1h       -                  -
    script_revision    pay 1                payments  1h       -                  -
    producing          pay 1                payments  1h       -                  -
    content_review     pay 1                payments  1h       -                  -
    ready_to_publish   pay 1                payments  1h       -                  -
    published          pay 1                payments  1h       -                  -
    accepted_delivery  pay 1                payments  1h       -                  -
    disputed_work      pay 1                payments  1h       -                  -
    completed          pay 1                payments  1h       -                  -
    forfeited_late     reinstate            operator  90d      awaiting_balance   -
    forfeited_unpaid   reinstate            operator  1h       awaiting_balance   -
    forfeited_asked    reinstate            operator  1h       -                  wrong_state
    forfeited_late     release              operator  2d+1us   -                  -
    forfeited_late     release              operator  2d       -                  too_soon
    forfeited_asked    release              operator  1s       -                  -
    released           release              operator  1h       -                  already_released
""")


def ask_row(row: dict[str, str]) -> tuple[OrderStory, str | None]:
    """Ask what a row says in the situation that it names; return the reason of a refusal."""
    story = story_of(row["while"])
    at = story.order().entered_at + span(row["after"])
    action, _, argument = row["asked"].partition(" ")
    if action == "pay":
        return story, story.pay("p_late", {"o1": int(argument)}, at).reason
    kind = MOVES[action][0]
    fields = fields_for(kind, story.order(), at, argument)
    return story, story.ask(kind, row["by"], at, order_id="o1", **fields).reason


@pytest.mark.parametrize("row", DECISIONS, ids=lambda row: "  ".join(row.values()))
def test_a_decision_on_fulfilment_falls_as_the_table_says(row: dict[str, str]) -> None:
    before = story_of(row["while"]).order()
    story, reason = ask_row(row)
    becomes = before.state if row["becomes"] == "-" else row["becomes"]
    assert (reason or "-", story.order().state) == (row["because"], becomes)
    if becomes == before.state:
        assert story.order().due_at == before.due_at
    assert audit(story) == []


UNEXPECTED_PAYMENTS = [row for row in DECISIONS if row["asked"].startswith("pay")]


@pytest.mark.parametrize("row", UNEXPECTED_PAYMENTS, ids=lambda row: row["while"])
def test_money_that_nobody_waits_for_goes_back(row: dict[str, str]) -> None:
    story, _ = ask_row(row)
    assert story.unapplied_reasons() == [
        "order_closed" if row["while"] == "completed" else "nothing_due"
    ]


# How long each state waits, and what silence makes of it.
TIMEOUTS = read_table("""
    while              after  becomes            event
    in_fulfilment      14d    cancelled          order.cancelled
    script_review      3d     producing          script.approved
    script_revision    7d     in_arbitration     order.in_arbitration
    producing          10d    in_arbitration     order.in_arbitration
    content_review     3d     ready_to_publish   content.approved
    ready_to_publish   3d     in_arbitration     order.in_arbitration
    published          7d     accepted_delivery  delivery.accepted
    accepted_delivery  3d     completed          order.completed
""")


@pytest.mark.parametrize("row", TIMEOUTS, ids=lambda row: row["while"])
def test_time_ends_a_state_just_after_its_deadline_and_at_it(row: dict[str, str]) -> None:
    story = story_of(row["while"])
    before, due = story.order(), story.order().entered_at + span(row["after"])
    assert before.due_at == due
    assert [event.fact.type for event in story.wake("o1", due)] in (
        [],
        ["creator.reminded"],
        ["client.reminded"],
    )
    first: Event = story.wake("o1", due + span("1us"))[0]
    assert (first.fact.type, first.at) == (row["event"], due)
    assert first.caused_by == f"deadline:{before.state}"
    assert story.order().state == row["becomes"]
    assert story.order().entered_at == due


def test_an_approval_by_silence_is_signed_silence() -> None:
    for situation in ("script_review", "content_review", "published"):
        story = story_of(situation)
        play_step(story, "time")
        (approval,) = [
            event for event in story.events if event.caused_by == f"deadline:{situation}"
        ]
        assert approval.published()["by"] == "silence"


def test_many_deadlines_lapse_in_one_wake_each_at_its_own_instant() -> None:
    story = story_of("published")
    entered_at = story.order().entered_at
    story.wake("o1", entered_at + span("90d"))
    ends = [(event.fact.type, event.at - entered_at) for event in story.events[-3:-1]]
    assert ends == [("delivery.accepted", span("7d")), ("order.completed", span("10d"))]


def test_every_version_of_a_script_is_kept_with_its_links_and_numbered() -> None:
    story = story_of("scripts_exhausted")
    submissions = [event.published() for event in story.events_of("script.submitted")]
    assert [submission["version"] for submission in submissions] == [1, 2, 3, 4]
    assert all(submission["links"] == ["https://pan.example/draft"] for submission in submissions)
    rejections_left = [
        event.published()["rejections_left"] for event in story.events_of("script.rejected")
    ]
    assert rejections_left == [2, 1, 0]


def test_expected_publication_puts_deadlines_off_and_never_forward() -> None:
    late = {"expected_publish_at": "2026-04-20T12:00:00+08:00"}

    story = story_with_parties()
    place(story, **late)
    for step in ("pay", "accept", "pay", "script", "agree"):
        play_step(story, step)
    assert story.order().due_at == story.order().expected_publish_at + span("3d")  # type: ignore[operator]
    for step in ("content", "approve"):
        play_step(story, step)
    assert story.order().due_at == story.order().expected_publish_at + span("3d")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("situation", "kind", "leads"),
    [
        ("in_fulfilment", "creator.reminded", ["P1D", "PT4H"]),
        ("script_review", "client.reminded", ["P1D", "PT4H"]),
        ("script_revision", "creator.reminded", ["P1D", "PT4H"]),
        ("producing", "creator.reminded", ["P1D", "PT4H"]),
        ("content_review", "client.reminded", ["P1D", "PT4H"]),
        ("ready_to_publish", "creator.reminded", ["P1D", "PT4H"]),
        ("published", "client.reminded", ["P1D", "PT4H"]),
        ("accepted_delivery", "client.reminded", []),
    ],
)
def test_whoever_is_waited_for_is_reminded(situation: str, kind: str, leads: list[str]) -> None:
    story = story_of(situation)
    due_at = story.order().due_at
    assert due_at is not None
    for ahead in ("1d", "4h", "1m"):
        story.wake("o1", due_at - span(ahead))
    assert [event.published()["lead"] for event in story.events_of(kind)] == leads


def test_an_operator_is_told_of_an_undecided_dispute_at_thirty_days_and_then_daily() -> None:
    story = story_of("disputed_work")
    entered_at = story.order().entered_at
    for after in ("30d-1us", "30d", "30d", "30d23h", "31d", "35d12h", "35d13h"):
        story.wake("o1", entered_at + span(after))
    alerts = [event.published() for event in story.events_of("operator.alerted")]
    at_stake = {(alert["alert"], alert["amount_fen"], alert["payment_id"]) for alert in alerts}
    assert at_stake == {("arbitration_overdue", TOTAL, story.order().held[-1].payment_id)}
    assert [alert["due_at"] for alert in alerts] == [
        "2026-04-01T02:00:00Z",
        "2026-04-02T02:00:00Z",
        "2026-04-06T02:00:00Z",
    ]
    assert story.order().state == "in_arbitration"
    assert story.order().wake_at == entered_at + span("36d")


def test_a_decision_to_go_on_sets_a_new_deadline_within_a_month() -> None:
    story = story_of("disputed_script")
    fields = {"order_id": "o1", "outcome": "extend", "reason": "a last chance"}
    began_at = story.now
    for until, reason in (
        (began_at, RejectionReason.UNTIL_OUT_OF_RANGE),
        (began_at + span("30d1us"), RejectionReason.UNTIL_OUT_OF_RANGE),
        (began_at + POLICY.longest_extension, None),
    ):
        until_field = {"until": until.isoformat()}
        assert story.ask("resolve_dispute", "operator", **fields, **until_field).reason == reason
    assert story.order().due_at == began_at + span("30d")


@pytest.mark.parametrize("by", ["creator", "operator"])
@pytest.mark.parametrize(
    ("ahead", "told"), [("-1h", "-1h"), ("0s", "0s"), ("1us", "0s"), ("5m", "0s"), ("5m+1us", None)]
)
def test_a_publication_is_not_ahead_of_its_receipt_by_more_than_clocks_differ(
    ahead: str, told: str | None, by: str
) -> None:
    story = story_of("ready_to_publish")
    published_at = format_instant(story.now + span(ahead))
    work = {"order_id": "o1", "url": "https://example.com/1", "published_at": published_at}
    if by == "operator":
        command = work | {"kind": "publish_work"}
        outcome = story.ask("operator_act", "operator", command=command, reason="by telephone")
    else:
        outcome = story.ask("publish_work", "creator", **work)
    if told is None:
        assert outcome.reason == "malformed"
        field = "command.published_at" if by == "operator" else "published_at"
        assert str(outcome.detail).startswith(f"{field}: ")
        return
    (publication,) = [event.published() for event in story.events_of("work.published")]
    assert publication["published_at"] == format_instant(story.now + span(told))


def test_versions_of_a_script_and_of_a_work_are_counted_from_one() -> None:
    for situation, kind in (("scripts_exhausted", "script"), ("rejected_enough", "content")):
        story = story_of(situation)
        submissions = story.events_of(f"{kind}.submitted")
        versions = [event.published()["version"] for event in submissions]
        assert versions == list(range(1, len(versions) + 1))
        rejections = [event.published() for event in story.events_of(f"{kind}.rejected")]
        assert [rejection["version"] for rejection in rejections] == versions[: len(rejections)]
