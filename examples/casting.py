"""Casting: who orders what of whom, and for how much."""

from __future__ import annotations

from random import Random

from examples.cast import (
    CLOSINGS,
    OCCASIONS,
    OPENINGS,
    REQUESTS,
    CastCreator,
    Client,
    clients,
    creators,
)
from examples.stage import Body, shanghai_text

# What a task of each type costs, in yuan: from, to.
PRICES = {
    "douyin_video": (3_000, 180_000),
    "douyin_live": (8_000, 300_000),
    "huoshan": (500, 20_000),
    "xigua": (1_500, 60_000),
    "toutiao": (800, 15_000),
}
WEIGHTS = {"douyin_video": 10, "douyin_live": 4, "huoshan": 3, "xigua": 3, "toutiao": 2}
LIVE = "douyin_live"
DATED_SHARE, PLAIN_SHARE = 0.3, 0.2
"""How many orders say when to publish, and how many works need no script."""

ROUND_SHARE = 0.8
"""How many prices are in whole hundreds of yuan."""

Words = frozenset[str]
"""What a table says of an order: `full` or `deposit`; `live`, `video` or `plain`; `agency`."""


class Casting:
    """Whoever has no part yet."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.clients = clients()
        signed = [creator for creator in creators() if creator.mcn_id]
        direct = [creator for creator in creators() if not creator.mcn_id]
        # Whoever changes agency, breaks the rules or leaves is in no other story.
        self.reserved = {"signed": signed[-12:], "direct": direct[-4:]}
        self.free = signed[:-12] + direct[:-4]

    def client(self) -> Client:
        return self.chance.choice(self.clients)

    def creator(self, words: Words) -> CastCreator:
        return self.reserve("signed") if "agency" in words else self.chance.choice(self.free)

    def reserve(self, contract: str) -> CastCreator:
        """Choose a creator who is in no other story."""
        return self.reserved[contract].pop()

    def terms(self, words: Words, client: Client, *, free: bool) -> Body:
        """Think of what is ordered; `free`: as dates and scripts happen to be, else by the words.

        An order with a date may wait for weeks, which not every story bears.
        """
        task_type = self._task_type(words)
        plain = "plain" in words or (free and self.chance.random() < PLAIN_SHARE)
        body: Body = {
            "name": f"{client.name}·{client.product}·{self.chance.choice(OCCASIONS)}",
            "task_type": task_type,
            "industry": client.industry,
            "brief": self._brief(client, task_type),
            "amount_fen": self._price(task_type),
            "prepay_deposit": "full" not in words,
            "needs_script": False if plain and task_type != LIVE else None,
        }
        if free and self.chance.random() < DATED_SHARE:
            body["expected_publish_at"] = shanghai_text(86_400 * self.chance.randint(5, 40))
        return body

    def _task_type(self, words: Words) -> str:
        """Choose a type: `live` is a broadcast, `video` and `plain` anything else."""
        if "live" in words:
            return LIVE
        types = dict(WEIGHTS)
        if words & {"video", "plain"}:
            del types[LIVE]
        return self.chance.choices(tuple(types), tuple(types.values()))[0]

    def _price(self, task_type: str) -> int:
        """Choose a price, mostly round, more often low than high."""
        low, high = PRICES[task_type]
        yuan: float = low * (high / low) ** self.chance.random()
        return (
            round(yuan / 100) * 10_000 if self.chance.random() < ROUND_SHARE else round(yuan * 100)
        )

    def _brief(self, client: Client, task_type: str) -> str:
        requests = self.chance.sample(REQUESTS, self.chance.choice((1, 2, 2, 3, 4, 6, 9)))
        lines = (OPENINGS[task_type], *requests, self.chance.choice(CLOSINGS))
        return "".join(lines).format(product=client.product, client=client.name)
