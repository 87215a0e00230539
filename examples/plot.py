"""Plot: one order's life as it is being written, command by command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from examples.cast import CastCreator, Client
from examples.rehearsal import Rehearsal
from examples.stage import Body, Sender, Stage, seconds
from models.orders.order import Order

AGENCY_SHARE = 0.4
"""How often an agency answers for its creator, where either may."""

Options = Mapping[str, str]
"""What a script says of a command beside its verb: flags, and names with values."""


@dataclass
class Plot:
    """One order: its terms, its rehearsal, and the last command about it."""

    stage: Stage
    rehearsal: Rehearsal
    order_id: str
    client: Client
    creator: CastCreator
    terms: Body
    start: float = 0.0
    last: float = 0.0
    body: Body | None = None

    def begin(self, rehearsal: Rehearsal, start: float) -> None:
        """Begin to be written, perhaps once more."""
        self.rehearsal, self.start, self.last, self.body = rehearsal, start, start, None

    def order(self, at: float) -> Order:
        """Return the order as it is at some second."""
        self.rehearsal.wait(at)
        return self.rehearsal.order(self.order_id)

    def moment(self, name: str) -> float:
        """Return when something happened, or will; `lapse` is the end of the present wait."""
        if name == "start":
            return self.start
        if name == "last":
            return self.last
        if name == "lapse":
            ends_at = self.rehearsal.order(self.order_id).lapses_at
            if ends_at is None:
                raise LookupError(f"{self.order_id} waits for nobody")
            return seconds(ends_at)
        return self.rehearsal.moment(self.order_id, name)

    def say(self, at: float, kind: str, by: Sender, **fields: object) -> Body:
        """Write one command, and play it in the rehearsal."""
        return self.rehearse(at, self.stage.say(at, kind, by, **fields))

    def rehearse(self, at: float, body: Body) -> Body:
        """Play a command that is written in the rehearsal."""
        self.rehearsal.play(at, body)
        self.last, self.body = at, body
        return body

    def ask(self, at: float, kind: str, by: Sender, **fields: object) -> Body:
        """Write one command about the order."""
        return self.say(at, kind, by, order_id=self.order_id, **fields)

    def pick(self, sentences: Sequence[str | None]) -> str | None:
        """Choose a sentence, about this client and this product, or none where that is usual."""
        sentence = self.stage.chance.choice(sentences)
        return sentence and sentence.format(client=self.client.name, product=self.client.product)

    def for_client(self, options: Options) -> Sender:
        """Say who speaks for the client: itself, or the provider that it has appointed."""
        if options.get("by") == "provider":
            order = self.rehearsal.order(self.order_id)
            return "provider", order.client_provider or "provider-1"
        return "client", self.client.client_id

    def for_creator(self, options: Options) -> Sender:
        """Choose who speaks for the creator: the script's choice, else either who may."""
        spokesperson = options.get("by", "")
        if spokesperson == "stranger":
            return "creator", "creator-00"
        if spokesperson == "former":
            return "mcn", self.creator.mcn_id or ""
        if spokesperson == "provider":
            order = self.rehearsal.order(self.order_id)
            return "provider", order.creator_provider or "provider-1"
        agency = self.rehearsal.creator(self.creator.creator_id).agency
        picks_agency = not spokesperson and self.stage.chance.random() < AGENCY_SHARE
        if agency and (picks_agency or spokesperson == "mcn"):
            return "mcn", agency
        return "creator", self.creator.creator_id


Verb = Callable[[Plot, float, Options], object]
"""What a script can ask for: to write something at some second."""
