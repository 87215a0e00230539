"""Scenes: several orders whose stories are told together, as what happens touches all of them.

How to read the tables: `script`; all that a scene tells begins at one `start`. A `press` is no
order, but what is said of the creator meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from examples.script import Story, read_stories

OPEN = {
    "PAY": "last+1~1.1 pay",
    "ACCEPT": "last+1~1.1 pay; last+1~1.1 accept",
    "AFTER": "last+1~1.5 approve; last+1~1.5 publish; last+1~1.5 confirm; completed+1~1.6 payout",
}

# Four steps, and one too many. The third ban begins when the second ends, the one for good at once:
# when the work that was paid for is out.
LADDER = """
 1 | press          | start+1~1 report number=1; start+7~7 report number=2;
                      start+8.3~8.3 report number=2; start+9.5~9.5 report number=2 other;
                      start+11~11 report number=3; start+20~20 report number=4;
                      start+21.5~21.5 report number=5
 1 | deposit        | start+5~5 place
 1 | deposit        | start+3~3.2 place; PAY; start+8.3~9 refund
 1 | full           | start+3~3.2 place; PAY
 2 | deposit        | start+3~3.2 place; ACCEPT; start+8.3~9 cancel; last+1.2~2 refund
 2 | deposit        | start+3~3.2 place; ACCEPT; start+8.3~9 pay
 1 | deposit        | start+3~3.2 place; ACCEPT; start+9.6~10.2 revise quote=110
 2 | full           | start+0~0.3 place; ACCEPT
 1 | deposit        | start+9.6~10.2 place
"""

# The first report was wrong, so the second is the first, and nobody is banned.
OVERTURNED = """
 1 | press          | start+0~0 report number=1; start+5~5 report number=2;
                      start+8.2~8.2 overturn number=1; last+1.2~1.2 overturn number=1;
                      last+1.2~1.2 overturn number=99
 3 | deposit        | start+1.7~1.7 place; PAY; last+1~1.1 accept; start+9.3~9.3 pay
 1 | full           | start+2~2.2 place; PAY
 1 | full           | start+9.5~10 place; ACCEPT
"""

LEAVING = """
 1 | press          | start+5~5 leave; last+1.2~1.5 leave by=platform
 1 | deposit        | start+3~3.2 place
 1 | deposit        | start+2~2.2 place; PAY; start+6.3~7 refund
 1 | full           | start+0~0.3 place; ACCEPT
 1 | deposit        | start+7.6~8 place
"""

DISMISSED = """
 1 | press          | start+5~5 leave by=platform
 1 | full           | start+2~2.2 place; PAY; start+6.3~7 refund
 2 | full           | start+3~3.2 place
"""

# One outage, one reason, many orders: without it, what comes at 14 would be too late.
OUTAGE = """
 6 | full video     | start+0~0.3 place; start+1.5~1.8 pay; start+3~3.3 accept;
                      start+5~5.3 extend by=tool until=6; start+14.3~15 script;
                      last+1~1.5 approve; last+1~1.5 content; AFTER
 4 | full plain     | start+0~0.3 place; start+1.5~1.8 pay; start+3~3.3 accept;
                      start+5~5.3 extend by=tool until=6; start+14.3~15 content; AFTER
"""


@dataclass(frozen=True)
class Scene:
    """Stories told together, of one creator under some contract if they share one."""

    contract: str | None
    stories: tuple[Story, ...]


def scenes() -> list[Scene]:
    """Read the tables."""
    tables = (
        *((LADDER, "direct"), (OVERTURNED, "signed"), (LEAVING, "direct")),
        *((DISMISSED, "direct"), (OUTAGE, None)),
    )
    return [Scene(contract, tuple(read_stories(table, OPEN))) for table, contract in tables]
