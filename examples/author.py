"""Author: the campaign's writer: one cast, one stage, one story after another."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from examples import deposit, merged
from examples.cast import CastCreator, Client, clients, creators, mcns, providers
from examples.casting import LIVE, Casting, Words
from examples.plot import Plot
from examples.rehearsal import Rehearsal
from examples.scenes import Scene
from examples.script import Script, Story, read_script
from examples.stage import CONSOLE, Stage
from examples.telling import no_sequel, tell
from examples.works import QUICK, usual

SEED = 20_260_302
CREATORS_AT = 1.3
FIRST_ORDER, LAST_ORDER, LAST_REST = 2.8, 23.0, 35.0
"""Seconds: when creators are admitted, when orders are placed, and when all have come to rest."""

NO_OPTIONS: dict[str, str] = {}
TODAY = {"today": "3"}
"""A broadcast that is to take place this very day."""


class Author:
    """Who writes the campaign."""

    def __init__(self) -> None:
        # Not for secrets: the same seed must make the same file.
        self.stage = Stage(Random(SEED))  # noqa: S311
        self.chance = self.stage.chance
        self.casting = Casting(self.chance)
        self.orders = 0

    def open(self) -> None:
        """Admit everybody, creators when their agencies are settled."""
        parties = (
            *(("mcn", party_id, name) for party_id, name in mcns()),
            *(("provider", party_id, name) for party_id, name in providers()),
            *(("client", client.client_id, client.name) for client in clients()),
        )
        for n, (kind, party_id, name) in enumerate(parties):
            self.stage.say(
                n * 0.01, f"register_{kind}", CONSOLE, **{f"{kind}_id": party_id}, name=name
            )
        for n, creator in enumerate(creators()):
            self._admit(CREATORS_AT + n * 0.006, creator)
        opening = Rehearsal.of(self.stage.opening)
        for at, body in self.stage.commands:
            opening.play(at, body)
        self.stage.opening = opening.simulation.state

    def tell(self, story: Story, *, work: bool = False) -> None:
        """Write one order's story; `work`: all of it is about the work, which it comes to fast."""
        plot = self._plot(story.terms, free=not work)
        quick = QUICK["full" if "full" in story.terms else "deposit"] if work else ""
        script = (*read_script(quick, {}), *story.script)

        def write(start: float) -> float:
            plot.begin(self._rehearsal(), start)
            deposit.place(plot, start, TODAY if "today" in story.terms else NO_OPTIONS)
            return tell([(plot, script)], no_sequel if work else self.sequel)

        self._in_time(write, LAST_ORDER)

    def sequel(self, plot: Plot) -> Script:
        """Choose what becomes of an order that is paid."""
        is_plain = plot.terms.get("needs_script") is False
        kind = "live" if plot.terms["task_type"] == LIVE else "plain" if is_plain else "video"
        stories = usual(kind)
        return self.chance.choices(stories, [story.orders for story in stories])[0].script

    def group(self, bend: str, size: int) -> None:
        """Write the story of several orders that are paid together."""
        client, other_client = self.chance.sample(self.casting.clients, 2)
        plots = [self._plot(frozenset({"deposit"}), client) for _ in range(size)]
        if bend == "two_clients":
            plots[0].client = other_client

        def write(start: float) -> float:
            shared_rehearsal = self._rehearsal()
            for plot in plots:
                plot.begin(shared_rehearsal, start)
            merged.tell(plots, bend, start)
            return tell([(plot, ()) for plot in plots], self.sequel)

        # Early, for the reason that `oddities.UNKNOWN_PERIOD` gives.
        self._in_time(write, FIRST_ORDER if bend == "lost_order" else LAST_ORDER)

    def scene(self, scene: Scene) -> None:
        """Write the stories of several orders that share a creator, or a moment."""
        creator = self.casting.reserve(scene.contract) if scene.contract else None
        stories = [story for story in scene.stories for _ in range(story.orders)]
        parts = [(self._plot(story.terms, creator=creator), story.script) for story in stories]

        def write(start: float) -> float:
            shared_rehearsal = self._rehearsal()
            for plot, _ in parts:
                plot.begin(shared_rehearsal if creator else self._rehearsal(), start)
            return tell(parts, self.sequel)

        self._in_time(write, FIRST_ORDER + 1)

    def _plot(
        self,
        words: Words,
        client: Client | None = None,
        creator: CastCreator | None = None,
        *,
        free: bool = False,
    ) -> Plot:
        """Think of an order; `free` is what `casting` says it is."""
        self.orders += 1
        client = client or self.casting.client()
        creator = creator or self.casting.creator(words)
        terms = self.casting.terms(words, client, free=free) | {"creator_id": creator.creator_id}
        name = f"ord-{self.orders:04}"
        return Plot(self.stage, self._rehearsal(), name, client, creator, terms)

    def _admit(self, at: float, creator: CastCreator) -> None:
        contract = "mcn" if creator.mcn_id else "direct"
        terms = {"contract": contract, "mcn_id": creator.mcn_id, "mcn_share_bps": creator.share_bps}
        identity = {"creator_id": creator.creator_id, "name": creator.name}
        self.stage.say(at, "register_creator", CONSOLE, **identity, **terms)

    def _rehearsal(self) -> Rehearsal:
        return Rehearsal.of(self.stage.opening)

    def _in_time(self, write: Callable[[float], float], latest: float) -> None:
        """Write a story that ends in time, and let it begin at any moment up to `latest`."""
        mark = len(self.stage.commands)
        while (spare_s := LAST_REST - write(FIRST_ORDER)) < 0:
            del self.stage.commands[mark:]
        self.stage.put_off(mark, self.chance.uniform(0, min(spare_s, latest - FIRST_ORDER)))
