"""Event: the envelope that every published fact travels in. Names are a storage format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from json.encoder import encode_basestring_ascii as quote
from typing import Any, ClassVar, TypeVar, dataclass_transform

from pydantic import TypeAdapter

from models.fields import format_instant


class Fact:
    """What happened, in the past tense; `type` is its published name."""

    __slots__ = ()
    type: ClassVar[str]


T = TypeVar("T", bound=Fact)

EVENT_TYPES: dict[str, type[Fact]] = {}
"""Every kind of event, by its published name."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def register_event(name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a kind of event, published under `name`."""

    def decorate(cls: type[T]) -> type[T]:
        fact_class = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        fact_class.type = name
        EVENT_TYPES[name] = fact_class
        return fact_class

    return decorate


@cache
def fact_adapter_for(name: str) -> TypeAdapter[Fact]:
    """Return what reads and writes one kind of fact, by its published name."""
    return TypeAdapter(EVENT_TYPES[name])


@dataclass(frozen=True, slots=True)
class Event:
    """One fact in its place: the `sequence`-th about `subject`, since `at`, because of `caused_by`.

    `subject` is `order:`, `creator:`, `mcn:`, `client:`, `provider:`, `payment:`, `refund:`,
    `payout:`, `calendar:`, `timeline:` or `command:` and an id; sequences of all but the last have
    no gaps. A command's id is `<role>:<sender>:<command id>`, `-` where it does not tell.
    `caused_by` is `command:` and that, `deadline:<state>`, `reminder:<state>`, `ban:<violation>`,
    `contract:<creator>`, `upgrade:<version>` or `recovery:<operator>`.
    """

    subject: str
    sequence: int
    at: datetime
    caused_by: str
    fact: Fact

    @property
    def id(self) -> str:
        """Return the event's stable id, by which a consumer drops a repeat."""
        return f"{self.subject}/{self.sequence}"

    @property
    def order_id(self) -> str | None:
        """Return the order it is about, or None."""
        return self.subject[6:] if self.subject.startswith("order:") else None

    def text(self) -> str:
        """Return the event as consumers see it: the text of one flat JSON object."""
        order_id = self.order_id
        about = "" if order_id is None else f'"order_id":{quote(order_id)},'
        head = (
            f'{{"type":"{self.fact.type}",{about}"at":"{format_instant(self.at)}",'
            f'"sequence":{self.sequence},"caused_by":{quote(self.caused_by)},'
        )
        body = fact_adapter_for(self.fact.type).serializer.to_json(self.fact).decode()
        return head + body[1:]

    def published(self) -> dict[str, Any]:
        """Return the event as consumers see it, parsed."""
        body: dict[str, Any] = json.loads(self.text())
        return body
