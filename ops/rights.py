"""Rights: what each party may ask about an order now, and what it would come to and cost.

The rows are those of the table; what each comes to is what the judges themselves say when they are
asked for a trial. So what is shown here cannot differ from what would happen.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

from models.commands.operators import Acted
from models.creators import Creator
from models.fields import instant_text
from models.lifecycle import NOT_ASKED, REVIEWS, TRANSITIONS, Role, State
from models.orders.decision import Verdict
from models.orders.order import Order
from models.reasons import Reason, Unusable
from ops.terms import terms
from ops.trials import attempt, effect, payment, wanted_fen

Account = dict[str, Any]


SOMEBODY = "-"
"""In a trial, the name of an operator or of the payment side: the rules do not care."""


OBVIOUS = frozenset({Reason.WRONG_STATE, Reason.CLOCK_RUNNING, Reason.NOTHING_TO_RESTORE})
"""Refusals of what nobody would ask: there is no work, pause or revision that it could be about."""


LASTING = ("left", "not_before", "not_after")
"""Terms that say why something is refused, or from when it is not."""


ACTED = frozenset(
    get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Acted)[0])
)
"""What an operator may do in the place of a client or a creator."""


def rights(order: Order, creator: Creator, at: datetime) -> list[Account]:
    """List what may be asked about an order on which time has been enforced until `at`.

    What a judge would refuse for a reason worth knowing is listed with that reason.
    """
    rows: list[Account] = []
    for transition in TRANSITIONS:
        if transition.source is not order.state or transition.command in NOT_ASKED:
            continue
        for role in (role for role in Role if role in transition.roles):
            party_id = name_of(order, creator, role, transition.command)
            row = _tried(order, creator, at, transition.command, (role, party_id or SOMEBODY))
            if row is not None and (party_id is not None or role in UNNAMED):
                _add(rows, row, {"role": role.value, "id": party_id})
    rows += _stand_in(order, rows)
    return sorted(rows, key=lambda row: list(Role).index(Role(row["who"][0]["role"])))


UNNAMED = (Role.OPERATOR, Role.PAYMENTS, Role.PLATFORM)


def name_of(order: Order, creator: Creator, role: Role, command: str) -> str | None:
    """Name the one who may speak in a role, or return None where there is nobody, or anybody."""
    provider_id = order.client_provider if command in REVIEWS else order.creator_provider
    return {
        Role.CLIENT: order.client_id,
        Role.CREATOR: order.creator_id,
        Role.MCN: creator.agency,
        Role.PROVIDER: provider_id,
    }.get(role)


def _tried(
    order: Order, creator: Creator, at: datetime, kind: str, requester: tuple[Role, str]
) -> Account | None:
    if kind == "confirm_payment":
        return _paid(order, at)
    decision = attempt(order, creator, at, kind, requester)
    arguments: Account = {}
    if decision.reason is Reason.COST_MISMATCH:
        arguments = {"accept_cost_fen": decision.cost_fen}
    elif decision.reason is Reason.WOULD_FORFEIT:
        arguments = {"accept_forfeit": True}
    if arguments:
        decision = attempt(order, creator, at, kind, requester, **arguments)
    if decision.reason in OBVIOUS:
        return None
    return _row(order, kind, decision, arguments | terms(order, creator, at, kind))


def _row(order: Order, kind: str, decision: Verdict, limits: Account) -> Account:
    if decision.reason is not None:
        lasting_limits = {name: value for name, value in limits.items() if name in LASTING}
        return {"command": kind, "refused": decision.reason.value, "terms": lasting_limits}
    effects = effect(decision, order)
    becomes = [effects.pop("becomes")]
    effects.pop("reason", None)
    if "outcomes" in limits:
        # Of what an operator may decide, the trial was only one.
        becomes, effects = sorted(set(limits["outcomes"].values())), {}
    if kind == "reinstate_order":
        del effects["due_at"]
    return {"command": kind, "becomes": becomes, "refused": None, "terms": limits | effects}


def _paid(order: Order, at: datetime) -> Account:
    decision = payment(order, at)
    if isinstance(decision, Unusable):
        return {"command": "confirm_payment", "refused": decision.value, "terms": {}}
    limits: Account = {"amount_fen": wanted_fen(order)}
    if order.state is not State.OFFERED and not order.stoppers:
        limits["paid_until"] = instant_text(order.pay_by)
    if order.state is State.FORFEITED:
        noticed_by = order.entered_at + order.policy.late_notice_window
        limits["noticed_until"] = instant_text(noticed_by)
    return _row(order, "confirm_payment", decision, limits)


def _add(rows: list[Account], new_row: Account, party: Account) -> None:
    """Add a row, or another who may ask the same and with the same effect."""
    for row in rows:
        if all(row.get(key) == new_row.get(key) for key in ("command", "refused", "terms")):
            row["who"].append(party)
            return
    rows.append({"command": new_row["command"], "who": [party], "becomes": []} | new_row)


def _stand_in(order: Order, rows: list[Account]) -> list[Account]:
    """Say for what an operator may stand in; not for what operators may ask themselves."""
    sides = {Role.CLIENT.value, Role.CREATOR.value}
    kinds = [
        row["command"]
        for row in rows
        if row["refused"] is None and any(party["role"] in sides for party in row["who"])
    ]
    acted_kinds = list(dict.fromkeys(kind for kind in kinds if kind in ACTED))
    if order.is_final or not acted_kinds:
        return []
    parties = [{"role": Role.OPERATOR.value, "id": None}]
    return [
        {
            "command": "operator_act",
            "who": parties,
            "becomes": [],
            "refused": None,
            "terms": {"stands_in_for": acted_kinds},
        }
    ]
