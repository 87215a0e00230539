"""Lifecycle document: what is drawn is what the transition table says."""

from __future__ import annotations

from models.events.event import EVENT_TYPES
from models.lifecycle import END_REASONS, FINAL_STATES, State
from models.reasons import RejectionReason
from ops.lifecycle_docs import (
    LIFECYCLE_FILE,
    README_FILE,
    lifecycle_diagram,
    lifecycle_markdown,
    readme_with_diagram,
)


def test_the_lifecycle_document_on_disk_is_not_stale() -> None:
    assert LIFECYCLE_FILE.read_text("utf-8") == lifecycle_markdown(), (
        "run python -m ops.lifecycle_docs"
    )


def test_the_readme_shows_the_present_diagram() -> None:
    text = README_FILE.read_text("utf-8")
    assert readme_with_diagram(text) == text, "run python -m ops.lifecycle_docs"


def test_the_diagram_draws_every_state_that_can_be_reached() -> None:
    diagram = lifecycle_diagram()
    missing = {state for state in State if f"--> {state}: " not in diagram}
    assert missing == set()
    assert {state for state in State if f"    {state} --> [*]" in diagram} == FINAL_STATES - missing


def test_transitions_that_all_states_of_work_share_are_drawn_once() -> None:
    diagram = lifecycle_diagram()
    assert diagram.count("--> cancelled: cancel_order, withdraw_order\n") == 1
    assert "    work --> in_arbitration: dispute_order, ban_for_good\n" in diagram
    assert "    in_arbitration --> work: resolve_dispute\n" in diagram


def test_every_state_has_a_section_that_says_how_it_is_entered_and_left() -> None:
    for state in State:
        section = lifecycle_markdown().split(f"### `{state}`\n")[1].split("### ")[0]
        assert "Entered by " in section
        assert ("It waits for " in section) is (state not in FINAL_STATES)


def test_the_diagram_names_the_windows_by_their_settings() -> None:
    diagram = lifecycle_diagram()
    assert "    offered --> expired: accept_window is over\n" in diagram
    assert (
        "balance_overdue --> forfeited: confirm_unpaid, payment_notice_grace is over\n" in diagram
    )


def test_every_command_in_every_state_has_an_answer() -> None:
    section = lifecycle_markdown().split("## Every verdict")[1]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert head[1:] == [f"`{state}`" for state in State]
    answers = {row[0].strip("`"): dict(zip(State, row[1:], strict=True)) for row in rows}
    assert len(answers) == 29
    assert answers["cancel_order"][State.AWAITING_BALANCE] == (
        "client, operator → cancelled, forfeited"
    )
    assert answers["cancel_order"][State.EXPIRED] == "late?"
    assert answers["accept_order"][State.FORFEITED] == "wrong_state"
    assert answers["accept_order"][State.BALANCE_OVERDUE] == "late"
    assert answers["withdraw_order"][State.FORFEITED] == "late?"


def test_the_lifecycle_document_lists_every_published_name() -> None:
    text = lifecycle_markdown()
    names = [
        *EVENT_TYPES,
        *RejectionReason,
        *(reason for reasons in END_REASONS.values() for reason in reasons),
    ]
    assert [name for name in names if f"`{name}`" not in text] == []
