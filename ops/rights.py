"""Rights: what each party may ask about an order now, and what it would come to and cost.

The rows are those of the table; what each comes to is what the judges themselves say when they are
asked for a trial. So what is shown here cannot differ from what would happen.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

from models.creator import Creator
from models.decide import Verdict
from models.fields import instant_text
from models.lifecycle import NOT_ASKED, REVIEWS, TRANSITIONS, Role, State
from models.operator_commands import Acted
from models.order import Order
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
    for one in TRANSITIONS:
        if one.source is not order.state or one.command in NOT_ASKED:
            continue
        for role in (role for role in Role if role in one.roles):
            who = name_of(order, creator, role, one.command)
            found = _tried(order, creator, at, one.command, (role, who or SOMEBODY))
            if found is not None and (who is not None or role in UNNAMED):
                _add(rows, found, {"role": role.value, "id": who})
    rows += _stand_in(order, rows)
    return sorted(rows, key=lambda row: list(Role).index(Role(row["who"][0]["role"])))


UNNAMED = (Role.OPERATOR, Role.PAYMENTS, Role.PLATFORM)


def name_of(order: Order, creator: Creator, role: Role, command: str) -> str | None:
    """Name the one who may speak in a role, or return None where there is nobody, or anybody."""
    served = order.client_provider if command in REVIEWS else order.creator_provider
    return {
        Role.CLIENT: order.client_id,
        Role.CREATOR: order.creator_id,
        Role.MCN: creator.agency,
        Role.PROVIDER: served,
    }.get(role)


def _tried(
    order: Order, creator: Creator, at: datetime, kind: str, by: tuple[Role, str]
) -> Account | None:
    if kind == "confirm_payment":
        return _paid(order, at)
    verdict = attempt(order, creator, at, kind, by)
    asked: Account = {}
    if verdict.reason is Reason.COST_MISMATCH:
        asked = {"accept_cost_fen": verdict.cost_fen}
    elif verdict.reason is Reason.WOULD_FORFEIT:
        asked = {"accept_forfeit": True}
    if asked:
        verdict = attempt(order, creator, at, kind, by, **asked)
    if verdict.reason in OBVIOUS:
        return None
    return _row(order, kind, verdict, asked | terms(order, creator, at, kind))


def _row(order: Order, kind: str, verdict: Verdict, said: Account) -> Account:
    if verdict.reason is not None:
        kept = {name: one for name, one in said.items() if name in LASTING}
        return {"command": kind, "refused": verdict.reason.value, "terms": kept}
    found = effect(verdict, order)
    becomes = [found.pop("becomes")]
    found.pop("reason", None)
    if "outcomes" in said:
        # Of what an operator may decide, the trial was only one.
        becomes, found = sorted(set(said["outcomes"].values())), {}
    if kind == "reinstate_order":
        del found["due_at"]
    return {"command": kind, "becomes": becomes, "refused": None, "terms": said | found}


def _paid(order: Order, at: datetime) -> Account:
    found = payment(order, at)
    if isinstance(found, Unusable):
        return {"command": "confirm_payment", "refused": found.value, "terms": {}}
    said: Account = {"amount_fen": wanted_fen(order)}
    if order.state is not State.OFFERED and not order.stoppers:
        said["paid_until"] = instant_text(order.pay_by)
    if order.state is State.FORFEITED:
        noticed_by = order.entered_at + order.policy.late_notice_window
        said["noticed_until"] = instant_text(noticed_by)
    return _row(order, "confirm_payment", found, said)


def _add(rows: list[Account], found: Account, who: Account) -> None:
    """Add a row, or another who may ask the same and with the same effect."""
    for row in rows:
        if all(row.get(key) == found.get(key) for key in ("command", "refused", "terms")):
            row["who"].append(who)
            return
    rows.append({"command": found["command"], "who": [who], "becomes": []} | found)


def _stand_in(order: Order, rows: list[Account]) -> list[Account]:
    """Say for what an operator may stand in; not for what operators may ask themselves."""
    sides = {Role.CLIENT.value, Role.CREATOR.value}
    kinds = [
        row["command"]
        for row in rows
        if row["refused"] is None and any(one["role"] in sides for one in row["who"])
    ]
    acted = list(dict.fromkeys(kind for kind in kinds if kind in ACTED))
    if order.is_final or not acted:
        return []
    who = [{"role": Role.OPERATOR.value, "id": None}]
    return [
        {
            "command": "operator_act",
            "who": who,
            "becomes": [],
            "refused": None,
            "terms": {"stands_in_for": acted},
        }
    ]
