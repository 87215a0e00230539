"""Works: what can happen to one order from the first work to the last fen.

How to read the tables: `script`. `live` is a broadcast, `plain` is work that needs no script.
"""

from __future__ import annotations

from functools import cache

from examples.script import Story, read_stories

PASSAGES = {
    "FILM": "last+1~1.5 content; last+1~1.5 approve; AIR",
    "AIR": "last+1~1.5 publish; last+1~1.5 confirm; PAID",
    "PAID": "completed+1~1.6 payout",
    "SCRIPT": "funded+1~2 script; last+1~1.5 approve",
}

QUICK = {
    "full": "placed+1~1.4 pay; offered+1~1.4 accept",
    "deposit": "placed+1~1.4 pay; offered+1~1.4 accept; accepted+1~1.4 pay",
}
"""How an order whose story is about the work comes to it."""

USUAL = """
  6 | video | last+1~3 script; last+1~2 approve; last+1~3 content; last+1~2 approve;
              last+1~3 publish; last+1~2 confirm; PAID; last+1~1.5 rate
  4 | video | last+1~2 script; last+1~2 approve; last+1~2 content; lapse+1~2 publish;
              last+1~2 confirm; PAID
  3 | video | last+1~2 script; lapse+1~2 content; last+1~2 approve; last+1~2 publish; PAID
  3 | video | last+1~2 script; last+1~2 approve; last+1~2 content; last+1~2 approve;
              last+1~2 publish
  2 | video | last+1~2 script; last+1~1.5 reject; last+1~2 script; last+1~2 approve;
              last+1~2 content; last+1~2 approve; last+1~2 publish; last+1~2 confirm
  4 | plain | last+1~3 content; last+1~2 approve; last+1~3 publish; last+1~2 confirm; PAID;
              last+1~2 rate
  2 | plain | last+1~2 content; lapse+1~2 publish; PAID
  2 | plain | last+1~2 content; last+1~2 reject; last+1~3 content; last+1~2 approve;
              last+1~2 publish
  4 | live  | last+1~3 script; last+1~2 approve; last+1~3 publish; last+1~2 confirm; PAID;
              last+1~2 rate
  2 | live  | last+1~2 script; lapse+1~3 publish; PAID
  1 | live  | last+1~2 script; last+1~2 reject; last+1~2 script; last+1~2 approve;
              last+1~3 publish
"""
"""What becomes of an order that is paid; some payouts wait for longer than the demo plays."""

WORKS = """
# Silence approves, and after that it is too late to object.
  4 | full video   | funded+1~2 script; lapse+1~2 content; lapse+1~2 publish; PAID
  3 | full live    | funded+1~2 script; lapse+1~2 publish; PAID; last+1~1.5 rate
  2 | full plain   | funded+1~2 content; lapse+1~2 publish; PAID
  2 | full video   | funded+1~2 script; lapse+1~1 reject; last+3.9~4 content;
                     last+1~1.5 approve; AIR
  1 | full video   | SCRIPT; FILM; last+1~1.2 rate; last+1~1.2 rate
# Reminders help.
  2 | full video   | funded+8.9~9 script; last+3.9~4 approve; last+4.9~5 content; last+1~2 approve;
                     AIR
  2 | full plain   | funded+1~2 content; last+1~2 reject; last+4.9~5 content; last+3.9~4 approve;
                     last+4.9~5 publish; last+3.9~4 confirm
# Scripts are sent back, three times at most, and contents twice.
  2 | full video   | funded+1~1.5 script; last+1~1.3 reject; last+1~1.3 script; last+1~1.3 reject;
                     last+1~1.3 script; last+1~1.3 reject; last+1~1.3 script; last+1~1 reject;
                     last+2.9~3 approve; FILM
  2 | full plain   | funded+1~1.5 content; last+1~1.3 reject; last+1~1.3 content;
                     last+1~1.3 reject; last+1~1.3 content; last+1~1 reject; last+2.9~3 approve; AIR
  2 | full live    | funded+1~1.5 script; last+1~1.3 reject; last+1~1.3 script; last+1~2 approve;
                     AIR
# Nobody begins.
  5 | full         | funded+1~2 confirm
  3 | full         | lapse+1~2 refund
  2 | deposit video| lapse+1~2 script; last+1~2 refund; last+1~2 refund
# What is overdue comes before an operator.
  3 | full video   | funded+1~2 script; last+1~2 reject; lapse+1~3 resolve as=approve; FILM
  2 | full video   | funded+1~2 script; last+1~2 reject; lapse+1~3 resolve as=extend until=6;
                     last+1~2 script; last+1~1.5 approve; FILM
  2 | full live    | funded+1~2 script; last+1~2 reject; lapse+1~3 resolve as=cancel bps=0;
                     last+1~2 refund
  2 | deposit video| SCRIPT; lapse+1~1.3 resolve as=approve; last+3.2~3.6 resolve as=extend until=5;
                     last+1~2 content; last+1~1.5 approve; AIR
  2 | full video   | SCRIPT; lapse+1~3 resolve as=cancel bps=1500; last+1~2 payout; last+1~2 refund
  2 | full plain   | funded+1~2 content; last+1~2 reject; lapse+1~3 resolve as=approve; AIR
  3 | deposit plain| funded+1~2 content; last+1~2 approve; lapse+1~3 resolve as=cancel bps=5000;
                     last+1~2 payout
  1 | full plain   | funded+1~2 content; last+1~2 approve;
                     lapse+1~1.3 resolve as=extend until=86400;
                     last+3.2~3.6 resolve as=extend until=6; AIR
# Somebody disputes; the operator goes on as if approved, gives time, or ends it at a price.
  2 | full video   | SCRIPT; last+1~1.3 content; last+1.8~2 dispute;
                     last+1~3 resolve as=approve; AIR
  2 | full video   | funded+1~2 script; last+1~1.5 dispute by=creator;
                     last+1~3 resolve as=extend until=5; last+1~2 approve; FILM
  2 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~2 publish; last+1~2 dispute;
                     last+1~4 resolve as=approve; PAID; last+1~1.2 rate
  2 | full live    | SCRIPT; last+1~2 publish; last+1~2 dispute;
                     last+1~4 resolve as=cancel bps=3000; last+1~2 payout; last+1~1.2 refund
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~2 publish; last+1~2 dispute;
                     last+7~8 resolve as=cancel bps=10000; last+1~2 payout
  2 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~2 publish; last+1~2 confirm;
                     last+1~1.5 dispute; last+1~3 resolve as=approve; PAID
  1 | full live    | SCRIPT; last+1~2 publish; last+1~2 confirm; last+1~1.5 dispute;
                     last+1~3 resolve as=extend until=4; PAID
  2 | full video   | SCRIPT; last+1~1.5 dispute; last+2.3~3 cancel cost; last+1~2 payout;
                     last+1~1.2 refund
  1 | full video   | SCRIPT; last+1~1.5 dispute by=creator; last+2.3~3 withdraw; last+1~2 refund
  2 | full plain   | funded+1~2 content; last+1~1.5 dispute
# To cancel has its price, which must be said.
  3 | full video   | funded+1~2 script; last+1~1 cancel; last+2.9~3 cancel cost; last+1~2 refund;
                     last+1~1.2 payout
  3 | deposit video| SCRIPT; last+1~2 content; last+1.8~2 cancel cost; last+1~2 payout;
                     last+1~1.2 refund
  2 | full plain   | funded+1~1.5 content; last+1~1.3 reject; last+1~1.3 content;
                     last+1~1.3 reject; last+1.8~3 cancel cost; last+1~2 payout
  2 | full live    | funded+1~2 script; last+1.8~2 cancel cost; last+1~2 payout; last+1~2 refund
  2 | full live    | SCRIPT; last+1.8~3 cancel cost; last+1~2 payout; last+1~2 refund
  2 | full live today | SCRIPT; last+1.8~3 cancel cost; last+1~2 payout
  1 | full video   | SCRIPT; FILM; last+1~1.2 cancel cost
# The creator withdraws late, which costs the client nothing.
  2 | full video   | SCRIPT; last+1.8~3 withdraw; last+1~2 refund
  2 | full plain   | funded+1~2 content; last+1.8~2 withdraw; last+1~2 refund
  1 | agency plain | funded+1~2 content; last+1~1.5 approve; last+1.8~3 withdraw by=mcn
# Service providers work for one side, never for both.
  3 | full video   | funded+1~1.2 appoint who=1; last+1~1.2 appoint by=creator who=2;
                     last+1~1.5 script by=provider; last+1~1.5 approve by=provider;
                     last+1~2 content by=provider; last+1~2 approve by=provider;
                     last+1~2 publish by=provider; last+1~2 confirm by=provider; PAID
  1 | full video   | funded+1~1.2 appoint who=3; last+1~1.2 appoint by=creator who=3;
                     last+1~1.2 appoint by=creator who=9; last+2.2~2.6 script;
                     last+1~1.3 appoint who=nobody; last+1~1.3 approve by=provider;
                     lapse+1~2 content; last+1~2 approve; AIR
# Operators give time, stop the clock, and lend a hand.
  2 | full video   | funded+1~3 extend until=5; funded+11~12 script; last+1~2 approve; FILM
  1 | full plain   | funded+1~2 extend until=86400; last+2.2~3 content; last+1~2 approve; AIR
  2 | full video   | funded+1~1.5 pause; last+1.2~1.5 resume; last+1~2 script;
                     last+1~2 approve; FILM
  1 | full plain   | funded+1~1.2 pause; last+1~1 extend until=5; last+2.1~2.1 resume;
                     last+1~1 resume; last+2.9~3.2 content; last+1~2 approve; AIR
  1 | full plain   | funded+1~1.2 pause; last+1~1.2 pause; lapse+1~2 content;
                     last+1~2 approve; AIR
  1 | full video   | funded+1~2 act kind=submit_script; last+1~2 act kind=approve_script;
                     last+1~1.2 act by=client kind=dispute_order; last+1~1.5 content;
                     last+1~2 approve; last+1~2 act kind=publish_work;
                     last+1~2 act kind=confirm_delivery; PAID
# Money that leaves may come back; a payout may be held, and then paid after all, or reversed.
  1 | full         | lapse+1~2 refund_fails; last+1~2 refund
  1 | full         | lapse+1~2 refund; last+1~2 refund_fails again; last+1~2 refund
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; AIR; last+1~1.2 payout_fails;
                     last+1~1.2 payout
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~1.5 publish;
                     last+1~1.5 confirm; completed+1~1.6 payout_fails; last+1~1.5 payout
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~1.5 publish;
                     last+1~1.5 confirm; completed+1~1.6 hold; last+1~1.5 let_go;
                     last+1~1.5 payout
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~1.5 publish;
                     last+1~1.5 confirm; completed+1~1.6 hold; last+1~1.5 payout;
                     last+1~1.5 payout_fails; last+1~1.5 let_go
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~1.5 publish;
                     last+1~1.5 confirm; completed+1~1.6 hold; last+1~1.5 reverse to=client;
                     last+1~1.5 payout; last+1~1.5 refund
  1 | full plain   | funded+1~2 content; last+1~1.5 approve; last+1~1.5 publish;
                     last+1~1.5 confirm; completed+1~1.6 hold; last+1~1.5 reverse to=platform
"""

AGREED = """
# The day of publication is moved, by both sides or by an operator.
  2 | full video   | SCRIPT; last+1~1.3 propose to=6; last+1~1.3 agree; FILM
  1 | full live    | SCRIPT; last+1~1.3 propose by=client to=8; last+1~1.3 agree by=creator;
                     last+1~2 publish; last+1~1.5 confirm; PAID
  1 | full video   | funded+1~1.2 agree; last+1~1.2 propose to=9; last+1~1.2 agree off=2;
                     last+1~1.2 agree by=creator; last+1~1.2 script; last+1~1.2 approve; FILM
  1 | full plain   | funded+1~1.2 move to=12; last+1~1.2 content; last+1~1.5 approve; AIR
# An operator says in whose stead it acts where both sides may ask.
  1 | full plain   | funded+1~1.2 appoint who=1; last+1~1.2 act kind=appoint_provider side=client;
                     last+1~2 content; last+1~1.5 approve; AIR
"""


def works() -> list[Story]:
    """Read the table."""
    return read_stories(WORKS, PASSAGES)


def agreed() -> list[Story]:
    """Read what is told last, so that what was told before stays as it is."""
    return read_stories(AGREED, PASSAGES)


@cache
def usual(kind: str) -> list[Story]:
    """Read what becomes of an order that is paid: of so many orders of some kind, this."""
    return [story for story in read_stories(USUAL, PASSAGES) if kind in story.terms]
