"""Actions: everything an operator may ask, in its own name or on behalf of a party, and its fields.

The fields are drawn from the command's own schema. The command line makes options of them and the
ops page inputs, so neither knows any command by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from models.commands import AnyCommand
from models.commands.command import Command, OrderCommand
from models.commands.operators import OnBehalfCommand, OperatorAct
from models.lifecycle import (
    FINAL_STATES,
    OWED_STATUSES,
    ROLES_BY_COMMAND,
    Role,
    State,
    find_transition,
)
from models.obligations import Payment, Payout, SuspenseItem
from ops.json_schema import Schema, inline_references

SENDER_FIELDS = ("kind", "id", "by")

REASON_FIELD = "reason"

ORDER_FIELD = "order_id"

DEBT_FIELDS = ("payout_id", "payment_id")
"""The fields by which a command that is about money names it."""

BULK_KINDS = frozenset(
    {"extend_deadline", "pause_clock", "resume_clock", "cancel_order", "reinstate_order"}
)
"""What makes sense for many orders at once; all else names amounts or decides one case."""

UNUSED_FIELDS = {"cancel_order": ("accept_forfeit", "accept_cost_fen")}
"""Fields that mean nothing from an operator, who cancels free of cost."""

FieldKind = Literal["text", "number", "flag", "choice", "instant", "texts", "records"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field: its name, what it takes, and whether it must be given, were it only as null."""

    name: str
    takes: FieldKind
    required: bool
    nullable: bool = False
    long: bool = False
    choices: tuple[str, ...] = ()
    entries: tuple[FormField, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """One command: what must be said beside the reason, and whether it is about one order.

    `on_behalf` marks a party's command that an operator asks in that party's stead; `debt_field` is
    the field that names a payout or a payment, in one that is about that.
    """

    kind: str
    about: str
    entries: tuple[FormField, ...]
    needs_order: bool
    on_behalf: bool
    debt_field: str | None = None

    @property
    def in_bulk(self) -> bool:
        """Tell whether it may be asked for many orders at once."""
        return self.kind in BULK_KINDS and not self.on_behalf

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
        if not self.on_behalf:
            return {**head, "kind": self.kind, **subject, **fields, REASON_FIELD: reason}
        inner_fields = {name: value for name, value in fields.items() if name != SIDE_FIELD}
        inner_command = {"kind": self.kind, **subject, **inner_fields}
        side = {SIDE_FIELD: fields[SIDE_FIELD]} if fields.get(SIDE_FIELD) else {}
        act = {**head, "kind": ON_BEHALF_KIND, "command": inner_command, **side}
        return {**act, REASON_FIELD: reason}


def _own_actions() -> Iterator[OperatorAction]:
    for model in get_args(AnyCommand):
        kind = kind_of(model)
        roles = getattr(model, "roles", ROLES_BY_COMMAND.get(kind, frozenset()))
        if Role.OPERATOR in roles:
            yield _operator_action(
                kind, model, (REASON_FIELD, *UNUSED_FIELDS.get(kind, ())), on_behalf=False
            )


def _on_behalf_actions() -> Iterator[OperatorAction]:
    for model in get_args(get_args(OnBehalfCommand)[0]):
        action = _operator_action(kind_of(model), model, (), on_behalf=True)
        if {Role.CLIENT, Role.CREATOR} <= ROLES_BY_COMMAND[action.kind]:
            action = replace(action, entries=(*action.entries, *_SIDE_ENTRY))
        yield action


SIDE_FIELD = "side"
"""Which side an operator stands in for, where both may ask."""


def _operator_action(
    kind: str, model: type[Command], excluded_fields: tuple[str, ...], *, on_behalf: bool
) -> OperatorAction:
    of_an_order = issubclass(model, OrderCommand)
    hidden_fields = (*SENDER_FIELDS, *excluded_fields, *(("order_id",) if of_an_order else ()))
    return OperatorAction(
        kind=kind,
        about=(model.__doc__ or "").partition("\n")[0],
        entries=form_fields(model, hidden_fields),
        needs_order=of_an_order,
        on_behalf=on_behalf,
        debt_field=next(filter(model.model_fields.__contains__, DEBT_FIELDS), None),
    )


def kind_of(model: type[Command]) -> str:
    """Return the kind that a command's class is for."""
    return str(get_args(model.model_fields["kind"].annotation)[0])


LONG_TEXT_CHARACTERS = 500
"""A text that may be longer than this wants room on a page."""


def form_fields(model: type[Command], without: Collection[str]) -> tuple[FormField, ...]:
    """Return the fields of a command, in their order, but for some."""
    return _schema_fields(inline_references(model.model_json_schema(mode="validation")), without)


def _schema_fields(schema: Schema, without: Collection[str] = ()) -> tuple[FormField, ...]:
    required = schema.get("required", ())
    return tuple(
        _form_field(name, node, name in required)
        for name, node in schema["properties"].items()
        if name not in without
    )


def _form_field(name: str, node: Schema, required: bool) -> FormField:  # noqa: FBT001
    variants = [variant for variant in node.get("anyOf", [node]) if variant.get("type") != "null"]
    schema = variants[0]
    return FormField(
        name=name,
        takes=_field_kind(schema),
        required=required,
        nullable="anyOf" in node,
        long=schema.get("maxLength", 0) > LONG_TEXT_CHARACTERS,
        choices=tuple(schema.get("enum", ())),
        entries=_schema_fields(schema["items"]) if _field_kind(schema) == "records" else (),
    )


def _field_kind(node: Schema) -> FieldKind:
    if "enum" in node:
        return "choice"
    if node["type"] == "array":
        return "records" if node["items"].get("type") == "object" else "texts"
    if node["type"] == "string":
        return "instant" if node.get("format") == "date-time" else "text"
    return "flag" if node["type"] == "boolean" else "number"


ON_BEHALF_KIND = kind_of(OperatorAct)

_SIDE_ENTRY = tuple(
    entry
    for entry in form_fields(OperatorAct, (*SENDER_FIELDS, "command"))
    if entry.name == SIDE_FIELD
)

OWN_ACTIONS: dict[str, OperatorAction] = {action.kind: action for action in _own_actions()}

ON_BEHALF_ACTIONS: dict[str, OperatorAction] = {
    action.kind: action for action in _on_behalf_actions()
}


def actions_in(state: State) -> list[OperatorAction]:
    """Return what the table allows an operator in a state, its own actions first.

    When all is over nobody's part is played any more.
    """
    own_actions = [
        action for action in OWN_ACTIONS.values() if _is_listed(state, action.kind, {Role.OPERATOR})
    ]
    on_behalf_actions = [] if state in FINAL_STATES else list(ON_BEHALF_ACTIONS.values())
    return own_actions + [
        action for action in on_behalf_actions if _is_listed(state, action.kind, PARTY_ROLES)
    ]


def debt_actions(
    payouts: Iterable[Payout], suspended: Iterable[SuspenseItem], payments: Iterable[Payment]
) -> list[OperatorAction]:
    """Return what an operator may do with the money of an order, and with which of it.

    `suspended` are shares that wait for the order, `payments` those that did not pay for it.
    """
    held, sendable = list[str](), list[str]()
    for payout in payouts:
        if payout.status in OWED_STATUSES:
            (sendable if payout.held_at is None else held).append(payout.payout_id)
    ids_by_kind = {
        "hold_payout": sendable,
        "release_payout": held,
        "reverse_payout": held,
        "resolve_suspense": [item.payment_id for item in suspended],
        "void_payment": [
            payment.payment_id
            for payment in payments
            if payment.applied_at is None and payment.voided_at is None
        ],
    }
    return [_choosing(OWN_ACTIONS[kind], ids) for kind, ids in ids_by_kind.items() if ids]


def _choosing(action: OperatorAction, ids: list[str]) -> OperatorAction:
    """Offer a choice of ids where an action names the money; the order is that of the page."""
    entries = (
        replace(entry, takes="choice", choices=tuple(ids))
        if entry.name == action.debt_field
        else entry
        for entry in action.entries
        if entry.name != ORDER_FIELD
    )
    return replace(action, entries=tuple(entries))


PARTY_ROLES = {Role.CLIENT, Role.CREATOR}
"""In whose stead an operator may ask."""


def _is_listed(state: State, kind: str, roles: set[Role]) -> bool:
    transition = find_transition(state, kind)
    return transition is not None and not transition.roles.isdisjoint(roles)
