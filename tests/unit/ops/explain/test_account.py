"""Account: the explanation of every ending, dispute and wait leaves no question open."""

from __future__ import annotations

import pytest

from models.lifecycle import END_REASONS, DisputeReason, State
from ops.order_views import WAITS_FOR, next_step
from tests.support.explanations import explanation_text
from tests.support.stories import HISTORIES, story_of

PHRASES = """
awaiting_deposit
    placed with creator k1 at 100,000 fen, 105,000 fen with the fee
    it waits for the client to pay until 2026-03-02T02:30:00Z, and PT10M more for late notices
    after 2026-03-02T02:40:00Z it becomes expired (deposit_not_paid).
    confirm_payment → offered, of 10,500 fen, paid until 2026-03-02T02:30:00Z
expired_unpaid
    the time for the client to pay (deposit_window PT30M), and PT10M more for notices under way,
    was over at 2026-03-02T02:40:00Z (people were told 2026-03-02T02:30:00Z): expired
offered
    payment pay_5 of 10,500 fen is held; offered: creator k1 may answer until 2026-03-03T02:00:00Z
    it becomes expired (not_accepted): 10,500 fen back to the client.
    A reminder goes out at 2026-03-02T14:00:00Z.
    accept_order → awaiting_balance, with a new quote of 80,000 to 120,000 fen if wanted
expired_offer
    the time for the creator to accept or decline (accept_window P1D) was over at 2026-03-03T
    expired: creator k1 had not answered; 10,500 fen go back
    an operator is told if refund rf_pay_5_o1 has not left
declined
    creator:k1 asked, by command cmd_00007, at 2026-03-02T02:00:00Z: declined by creator:k1
    refund rf_pay_5_o1 to client c1, waiting since 2026-03-02T02:00:00Z
declined_banned
    creator k1 is banned from 2026-03-02T02:00:00Z until 2026-03-09T02:00:00Z, for violation x7
    declined by the platform (creator_banned); 10,500 fen go back
    2026-03-09T02:00:00Z  the ban for violation x7 is over
declined_left
    the contract of creator k1 is ended by creator:k1, at 2026-03-02T02:00:00Z: declined by
    It has no contract now: no new orders.
awaiting_balance
    accepted by creator:k1 at 100,000 fen; 94,500 fen are due until 2026-03-09T02:00:00Z
    after 2026-03-09T02:00:00Z it becomes balance_overdue
    By balance_window P7D, balance_reminders P3D P1D PT2H.
    cancel_order → forfeited, with accept_forfeit true, 10,500 fen forfeited
    revise_quote → stays, 80,000 to 120,000 fen, until 2026-03-03T02:00:00Z
balance_banned_paused
    Stopped by a ban of the creator since 2026-03-02T02:00:00Z (ban:x9), until 2026-03-09T02:00:00Z
    Stopped by an operator since 2026-03-02T02:00:00Z (command:operator:op:cmd_00008)
    With P7D left it runs on at 2026-04-01T02:00:00Z and is due
    client c1, operator: cancel_order → cancelled, 10,500 fen back to the client
    revise_quote: refused now, creator_banned
balance_overdue
    the time for the client to pay the balance (balance_window P7D) was over at 2026-03-09T02:00:00Z
    after 2026-03-09T02:10:00Z it becomes forfeited (balance_not_paid): 10,500 fen forfeited.
    confirm_unpaid → forfeited, 10,500 fen forfeited
forfeited_late
    the time for notices of a balance paid in time (payment_notice_grace PT10M) was over
    Before that, the time for the client to pay the balance (balance_window P7D) was over
    2026-03-11T02:10:00Z  the last notice of a balance paid in time is heard, and reinstates
    release_forfeit: refused now, too_soon (not before 2026-03-11T02:10:00Z)
    of 94,500 fen, paid until 2026-03-09T02:00:00Z, if it is noticed until 2026-03-11T02:10:00Z
forfeited_unpaid
    payments:psp confirmed, by command cmd_00008, at 2026-03-09T02:00:00.000001Z, that nothing is
forfeited_asked
    the deposit of 10,500 fen is forfeited: the client left after the creator had accepted
    release_forfeit → stays, parts that add up to 10,500 fen
released
    released by operator:op, saying “as agreed by telephone”: 10,500 fen to creator k1
    payout po_o1_creator to creator:k1, waiting since
cancelled_by_operator
    cancelled by operator:op (operator_cancelled); 10,500 fen, everything, go back
withdrawn
    cancelled by creator:k1 (creator_withdrew); 10,500 fen, everything, go back
in_fulfilment
    everything is paid, 105,000 fen are held, the first work is wanted until 2026-03-16T02:00:00Z
    it becomes cancelled (no_work): 105,000 fen back to the client.
    cancel_order → cancelled, at no cost, 105,000 fen back to the client, rising to 10 % once
cancelled_no_work
    the time for the creator to hand in the first work (first_work_window P14D) was over
    cancelled by time alone (no_work); 105,000 fen, everything, go back
cancelled_by_a_ban
    creator k1 is banned from 2026-06-30T02:00:00Z for good, for violation x11, number 4
    cancelled by the platform (creator_banned); 105,000 fen, everything, go back
cancelled_left
    the contract of creator k1 is ended by creator:k1
    cancelled by the platform (creator_left); nothing was held
script_review
    script 1 handed in by creator:k1 (https://pan.example/draft); the client may answer until
    after 2026-03-05T02:00:00Z it becomes producing
    reject_script → script_revision, 3 left
    with accept_cost_fen 10500, at a cost of 10,500 fen, 10 % of the price, 10,000 fen to the
    rising to 50 % once the content is handed in and 100 % once the content is sent back 2 times
scripts_exhausted
    reject_script: refused now, no_rejections_left (0 left)
script_revision
    script 1 sent back by client:c1, saying “too long”; 2 more may be sent back
    after 2026-03-09T02:00:00Z it becomes in_arbitration (script_overdue).
producing_silent
    the time for the client to approve the script or send it back (review_window P3D) was over
    script 1 approved by silence: the client had said nothing
    By production_window P7D, production_grace P3D, work_reminders P1D PT4H.
content_review
    content 1 handed in by creator:k1, saying “final cut”
    cancel_order → cancelled, with accept_cost_fen 52500, at a cost of 52,500 fen, 50 % of the
rejected_twice
    content 2 sent back by client:c1, saying “too dark”; 0 more may be sent back
    with accept_cost_fen 105000, at a cost of 105,000 fen, 100 % of the price
ready_live
    script 1 approved by client:c1; the next step is due 2026-03-23T12:00:00Z
    rising to 100 % with an approved script from 2026-03-19T16:00:00Z
published
    published by creator:k1 at https://pan.example/draft
    confirm_delivery → accepted_delivery, next deadline 2026-03-05T02:00:00Z
accepted_delivery
    it becomes completed (settled): 100,000 fen to the creator's side, 5,000 fen to the platform.
    dispute_order → in_arbitration
script_overdue
    the time for the creator to hand in another script (revision_window P7D) was over
    put before an operator by time alone (script_overdue), out of script_revision
    resolve_dispute, as approve → producing or cancel → cancelled or extend → script_revision
content_overdue
    put before an operator by time alone (content_overdue), out of producing
    resolve_dispute, as cancel → cancelled or extend → producing, cancel with creator_bps 0 to
not_published
    (not_published), out of ready_to_publish; until it is decided, leaving costs the client 105,000
banned_for_good
    put before an operator by the platform (creator_banned), out of script_review
    creator k1 is banned from 2026-06-30T02:00:00Z for good, for violation x12, number 4
disputed_work
    put before an operator by client:c1 (disputed), saying “not what was agreed”, out of published
    it waits for an operator to resolve the dispute, and for nothing else: no time ends that.
    An operator is reminded at 2026-04-01T02:00:00Z, and then again and again.
    the work is out, so nobody leaves until it is decided
cancelled_at_a_cost
    at a cost of 10,500 fen: 10,000 fen to the creator's side, 500 fen to the platform; 94,500 fen
    by cost_bps 1000, amount_fen 100000, fee_fen 5000
    payout po_o1_creator to creator:k1, waiting since 2026-03-02T02:00:00Z
cancelled_arbitrated
    the dispute is resolved by operator:op, saying “as agreed by telephone”: it ends, 25 % of the
    at a cost of 26,250 fen: 25,000 fen to the creator's side, 1,250 fen to the platform
completed_agency
    the time for settlement, unless somebody disputes (settlement_delay P3D) was over
    completed and settled: 30,000 fen to agency m1, 70,000 fen to creator k1, 5,000 fen to the
    Before that, the time for the client to confirm delivery, or to dispute it (acceptance_window
    of what the creator's side is paid, 30 % goes to agency m1
    rate_order → stays
rated
    rated 5 of 5 by client:c1
"""


def phrases() -> dict[str, list[str]]:
    """Read the table: under the name of a situation what must be said of it."""
    phrases_by_situation: dict[str, list[str]] = {}
    for line in PHRASES.strip().splitlines():
        if line.startswith(" "):
            phrases_by_situation[list(phrases_by_situation)[-1]].append(line.strip())
        else:
            phrases_by_situation[line] = []
    return phrases_by_situation


@pytest.mark.parametrize("situation", phrases())
def test_an_explanation_says_of_every_situation_what_an_operator_would_ask(situation: str) -> None:
    text = one_line(explanation_text(story_of(situation)))
    assert [phrase for phrase in phrases()[situation] if one_line(phrase) not in text] == []


@pytest.mark.parametrize("situation", HISTORIES)
def test_orders_show_says_in_a_sentence_what_is_waited_for(situation: str) -> None:
    order = story_of(situation).order()
    sentence = next_step(order)
    if order.is_final:
        assert sentence == f"nothing; it ended as {order.state} ({order.reason})"
        return
    assert sentence.startswith(f"it waits for {WAITS_FOR[order.state]}")
    assert ("is stopped by" in sentence) is bool(order.stoppers)
    assert ("no time ends that" in sentence) is (order.state is State.IN_ARBITRATION)


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_explained_situations_leave_out_no_ending_no_dispute_and_no_wait() -> None:
    orders = [story_of(situation).order() for situation in phrases()]
    endings = {(state, reason) for state, reasons in END_REASONS.items() for reason in reasons}
    disputes = {(State.IN_ARBITRATION, reason) for reason in DisputeReason}
    assert {(order.state, order.reason) for order in orders} >= endings | disputes
    assert {order.state for order in orders} == set(State)
