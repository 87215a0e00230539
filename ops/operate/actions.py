"""Actions: everything an operator may ask, in its own name or on behalf of a party, and its fields.

The fields are drawn from the command's own schema. The command line makes options of them and the
ops page inputs, so neither knows any command by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from models.commands import AnyCommand
from models.commands.command import Command, OrderCommand
from models.commands.operators import Acted, OperatorAct
from models.lifecycle import FINAL, ROLES, Role, State, find
from ops.json_schema import Schema, inlined

HEAD = ("kind", "id", "by")
WHY = "reason"

IN_BULK = frozenset(
    {"extend_deadline", "pause_clock", "resume_clock", "cancel_order", "reinstate_order"}
)
"""What makes sense for many orders at once; all else names amounts or decides one case."""

IDLE = {"cancel_order": ("accept_forfeit", "accept_cost_fen")}
"""Fields that mean nothing from an operator, who cancels free of cost."""


Takes = Literal["text", "number", "flag", "choice", "instant", "texts", "records"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One field: its name, what it takes, and whether it must be given, were it only as null."""

    name: str
    takes: Takes
    required: bool
    nullable: bool = False
    long: bool = False
    choices: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """One command: what must be said beside the reason, and whether it is about one order.

    `lent` is a party's command that an operator asks in that party's stead.
    """

    kind: str
    about: str
    entries: tuple[Entry, ...]
    of_an_order: bool
    lent: bool

    @property
    def in_bulk(self) -> bool:
        """Tell whether it may be asked for many orders at once."""
        return self.kind in IN_BULK and not self.lent

    def command(
        self,
        fields: Mapping[str, Any],
        *,
        order_id: str | None,
        reason: str,
        head: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Write the command; `head` is its id and who asks."""
        subject = {} if order_id is None else {"order_id": order_id}
        if not self.lent:
            return {**head, "kind": self.kind, **subject, **fields, WHY: reason}
        inner_command = {"kind": self.kind, **subject, **fields}
        return {**head, "kind": LEND, "command": inner_command, WHY: reason}


def _own() -> Iterator[Power]:
    for model in get_args(AnyCommand):
        kind = kind_of(model)
        roles = getattr(model, "roles", ROLES.get(kind, frozenset()))
        if Role.OPERATOR in roles:
            yield _power(kind, model, (WHY, *IDLE.get(kind, ())), on_behalf=False)


def _lent() -> Iterator[Power]:
    for model in get_args(get_args(Acted)[0]):
        yield _power(kind_of(model), model, (), on_behalf=True)


def _power(
    kind: str, model: type[Command], excluded_fields: tuple[str, ...], *, on_behalf: bool
) -> Power:
    of_an_order = issubclass(model, OrderCommand)
    hidden_fields = (*HEAD, *excluded_fields, *(("order_id",) if of_an_order else ()))
    return Power(
        kind=kind,
        about=(model.__doc__ or "").partition("\n")[0],
        entries=entries(model, hidden_fields),
        of_an_order=of_an_order,
        lent=on_behalf,
    )


def kind_of(model: type[Command]) -> str:
    """Return the kind that a command's class is for."""
    return str(get_args(model.model_fields["kind"].annotation)[0])


LONG_TEXT = 500
"""A text that may be longer than this wants room on a page."""


def entries(model: type[Command], without: Collection[str]) -> tuple[Entry, ...]:
    """Return the fields of a command, in their order, but for some."""
    return _entries(inlined(model.model_json_schema(mode="validation")), without)


def _entries(schema: Schema, without: Collection[str] = ()) -> tuple[Entry, ...]:
    required = schema.get("required", ())
    return tuple(
        _entry(name, node, name in required)
        for name, node in schema["properties"].items()
        if name not in without
    )


def _entry(name: str, node: Schema, required: bool) -> Entry:  # noqa: FBT001
    variants = [variant for variant in node.get("anyOf", [node]) if variant.get("type") != "null"]
    schema = variants[0]
    return Entry(
        name=name,
        takes=_takes(schema),
        required=required,
        nullable="anyOf" in node,
        long=schema.get("maxLength", 0) > LONG_TEXT,
        choices=tuple(schema.get("enum", ())),
        entries=_entries(schema["items"]) if _takes(schema) == "records" else (),
    )


def _takes(node: Schema) -> Takes:
    if "enum" in node:
        return "choice"
    if node["type"] == "array":
        return "records" if node["items"].get("type") == "object" else "texts"
    if node["type"] == "string":
        return "instant" if node.get("format") == "date-time" else "text"
    return "flag" if node["type"] == "boolean" else "number"


OWN: dict[str, Power] = {power.kind: power for power in _own()}
LENT: dict[str, Power] = {power.kind: power for power in _lent()}
LEND = kind_of(OperatorAct)


def open_in(state: State) -> list[Power]:
    """Return what the table allows an operator in a state, its own powers first.

    When all is over nobody's part is played any more.
    """
    own_powers = [power for power in OWN.values() if _is_listed(state, power.kind, {Role.OPERATOR})]
    on_behalf_powers = [] if state in FINAL else list(LENT.values())
    return own_powers + [
        power for power in on_behalf_powers if _is_listed(state, power.kind, SIDES)
    ]


SIDES = {Role.CLIENT, Role.CREATOR}
"""In whose stead an operator may ask."""


def _is_listed(state: State, kind: str, roles: set[Role]) -> bool:
    transition = find(state, kind)
    return transition is not None and not transition.roles.isdisjoint(roles)
