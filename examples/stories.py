"""Stories: what can happen to one order until everything is paid, or it ends before that.

How to read the table: `script`. Where everything is paid, the work follows: `works.USUAL`.
"""

from __future__ import annotations

from examples.script import Story, read_stories

STORIES = """
# Everything goes well.
 12 | deposit | placed+1~4 pay; offered+1~5 accept; accepted+5~6 pay
  4 | deposit | placed+1~3 pay; offered+7~10 accept; accepted+1~3 pay
  7 | full    | placed+1~4 pay; offered+1~5 accept
  3 | full    | placed+1~3 pay; offered+7~10 accept
  3 | deposit | placed+1~3 pay; offered+1~2 pay; offered+3~5 accept
  3 | deposit | placed+6~7 pay paid=placed+3.8; offered+1~3 accept; accepted+5~6 pay
  3 | deposit | placed+1~2 pay; offered+1~2 accept; overdue+1~2 pay paid=accepted+7.9
  3 | deposit | placed+1~2 pay; offered+1~2 accept; forfeited+1~2 pay paid=accepted+7.5
# Quotes move.
  3 | deposit | placed+1~3 pay; offered+1~5 accept quote=112; accepted+5~6 pay
  3 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~3 revise quote=90; accepted+5~6 pay
  3 | deposit | placed+1~3 pay; offered+1~4 accept; accepted+1~1.5 revise quote=120;
                accepted+2.6~3 restore; accepted+5~6 pay
  2 | deposit | placed+1~3 pay; offered+1~4 accept quote=80; accepted+1~1 restore;
                accepted+2.2~2.5 revise quote=110; accepted+5.2~6 pay
  2 | deposit | placed+1~3 pay; offered+1~4 accept; accepted+1~1.4 revise quote=115;
                accepted+2.5~3 pay old; accepted+5~6 pay
  3 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~1.8 revise quote=121;
                accepted+5~6 pay
  2 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~3 restore; accepted+5~6 pay
  2 | full    | placed+1~3 pay; offered+1~2 accept quote=110; offered+4.2~5 accept
  2 | deposit | placed+1~3 pay; offered+1~2 pay; offered+3~4 accept quote=105; offered+7~8 accept
  2 | deposit | placed+1~2 pay; offered+8~8.2 accept; accepted+5.2~6 revise quote=110
# The deposit does not come, or not in time.
  7 | deposit |
  4 | full    |
  3 | deposit | placed+6~7 cancel
  3 | deposit | placed+6.3~7 pay paid=placed+6.2
  2 | deposit | placed+9~10 pay paid=placed+3.8; last+1.2~3 refund
# Nobody accepts.
  8 | deposit | placed+1~4 pay
  5 | full    | placed+1~4 pay
  4 | deposit | placed+1~3 pay; offered+1~1.3 nudge; offered+4.8~5 nudge; offered+8.5~10 nudge
  3 | deposit | placed+1~3 pay; offered+13~14 accept; last+1.2~2 refund
  2 | deposit | placed+1~2 pay; offered+1~3 pay; offered+13~14 refund; last+1~1.5 refund
# A nudge helps.
  4 | deposit | placed+1~3 pay; offered+1~1.2 nudge; last+1.1~1.4 nudge; offered+7~10 accept;
                accepted+1~3 nudge; accepted+5~6 pay
# The creator refuses, or walks away.
  6 | deposit | placed+1~4 pay; offered+1~5 decline
  3 | full    | placed+1~4 pay; offered+1~5 decline; last+1.2~3 refund; last+1.2~2 refund again
  3 | deposit | placed+1~4 pay; offered+1~3 decline; last+1~2 accept; last+1.2~3 refund
  5 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~3 withdraw; last+1.2~3 refund
  3 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~3 pay; last+1.2~3 withdraw
# The client, or an operator, cancels.
  4 | deposit | placed+1~4 cancel
  5 | deposit | placed+1~4 pay; offered+1~5 cancel; last+1.2~3 refund
  3 | full    | placed+1~3 pay; offered+1~5 accept; last+1.2~3 cancel; last+1.2~3 refund
  5 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~1.6 cancel;
                accepted+5~6 cancel forfeit
  2 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+2.6~3 cancel forfeit;
                last+2~3 pay paid=accepted+1.4
  1 | deposit | placed+1~4 cancel by=operator
  2 | deposit | placed+1~4 pay; offered+1~5 cancel by=operator
  2 | deposit | placed+1~3 pay; offered+1~5 accept; accepted+1~3 cancel by=operator
  1 | full    | placed+1~3 pay; offered+1~5 accept; last+1.2~3 cancel by=operator
# The balance does not come, or not in time.
  8 | deposit | placed+1~3 pay; offered+1~5 accept
  4 | deposit | placed+1~3 pay; offered+1~4 accept; overdue+1~2 unpaid
  3 | deposit | placed+1~3 pay; offered+1~4 accept; overdue+1.2~2 pay paid=overdue+1.1
  2 | deposit | placed+1~1.5 pay; offered+1~1.5 accept; forfeited+7~7.5 pay paid=accepted+7.5
  2 | deposit | placed+1~3 pay; offered+1~4 accept; overdue+1~2 cancel forfeit
# An operator undoes a forfeiture, or says who gets the deposit.
  3 | deposit | placed+1~2 pay; offered+1~2 accept; forfeited+1~2 reinstate until=8; last+1~1.8 pay
  1 | deposit | placed+1~1.2 pay; offered+1~1.2 accept; overdue+1~1.2 unpaid;
                last+1~1.3 reinstate until=86400; last+3.5~4 reinstate until=8; last+1~1.8 pay
  2 | deposit | placed+1~2 pay; offered+1~2 accept; overdue+1~1.5 unpaid;
                last+1~2 release platform=100; last+6~6.5 release platform=40 creator=60;
                last+1~1.2 release platform=100; last+1~1.2 payout
  1 | agency  | placed+1~2 pay; offered+1~2 accept; forfeited+7~7.5 release client=100 plus=1;
                last+3~3.3 release platform=20 creator=60 client=20; last+1~1.2 payout;
                last+1~1.2 refund; last+1~1.2 reinstate until=8
  2 | deposit | placed+1~2 pay; offered+1~3 accept; accepted+1~3 cancel forfeit;
                last+1~2 release platform=50 creator=50
  1 | deposit | placed+1~2 pay; offered+1~3 accept; accepted+1~3 cancel forfeit;
                last+1~2 release client=100; last+1.2~2 refund
# Notices of payments are wrong, and put right, or not.
  2 | deposit | placed+1~2 pay typo; last+1~1.4 give; offered+1~5 accept; accepted+5~6 pay
  2 | deposit | placed+1~1.4 pay yuan; last+1~1.1 void; last+1~1.1 pay right for=deposit;
                offered+1~5 accept; accepted+5~6 pay for=balance
  1 | deposit | placed+1~2 pay zone; offered+1~5 accept; accepted+5~6 pay
  1 | deposit | placed+1~2 pay for=deposit; offered+1~1.2 pay for=deposit; offered+3~5 accept;
                accepted+5~6 pay
  1 | deposit | placed+1~2 pay; last+1~1.2 void; offered+3~5 accept; accepted+5~6 pay
  1 | deposit | placed+1~1.5 pay typo yuan; last+1~1.2 give
  1 | deposit | placed+1~1.5 pay typo from=20; last+1~1.2 give
  1 | deposit | placed+1~1.5 pay typo; last+1~1.2 cancel; last+1~1.2 give
  1 | deposit | placed+1~1.5 pay; offered+1~1.2 pay; last+1~1.2 pay typo; last+1~1.2 give;
                offered+4.7~5 accept
# Things are said twice, or differently, or by the wrong person.
  3 | deposit | placed+1~2 pay; last+1~1.5 again; offered+3~5 accept; last+1~2 again;
                accepted+5~6 pay
  2 | deposit | placed+1~2 pay; last+1~1.5 anew; offered+3~5 accept; accepted+1~2 pay;
                last+1~2 anew
  2 | deposit | placed+1~2 pay; last+1~1.2 conflict; offered+4.4~5 accept; accepted+5~6 pay
  3 | deposit | placed+1~2 pay; offered+1~3 accept; accepted+1~2 pay; last+1.2~2 pay;
                last+1.2~2 refund
  2 | deposit | placed+1~3 reuse; last+1~1 pay; offered+1~5 accept; accepted+5~6 pay
  2 | deposit | placed+1~1 anew; last+3~3.2 pay; offered+1~5 accept; accepted+5~6 pay
  2 | deposit | placed+1~3 pay; offered+1~1.5 accept by=stranger; last+3.2~3.4 accept;
                accepted+5~6 pay
  2 | agency  | placed+1~3 pay; offered+1~2 accept by=mcn; last+1~1.5 accept by=creator;
                accepted+5~6 pay
  3 | agency  | placed+1~3 pay; offered+1~1.2 switch; offered+2.2~2.5 accept by=former;
                offered+4.7~5 accept by=mcn; accepted+5~6 pay
"""


def stories() -> list[Story]:
    """Read the table."""
    return read_stories(STORIES, {})
