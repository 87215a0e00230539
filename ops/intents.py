"""Intents: what an operator wants done and why, before it is known to how many orders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models.commands import AnyCommand
from models.commands.parsing import Malformed, parse
from models.fields import duration_text, instant_text
from ops.powers import LENT, OWN, Power
from ops.refused import Refused

UNTIL = "until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A power to be used by an operator, with what it needs said.

    `longer` says until when, measured from each order's own deadline.
    """

    power: Power
    operator: str
    reason: str
    said: Mapping[str, Any]
    longer: timedelta | None = None

    def command(
        self, command_id: str, order_id: str | None, since: datetime | None = None
    ) -> dict[str, Any]:
        """Write the command for one order; `since` is what `longer` is measured from."""
        fields = dict(self.said)
        if self.longer is not None and since is not None:
            fields[UNTIL] = instant_text(since + self.longer)
        head = {"id": command_id, "by": {"role": "operator", "id": self.operator}}
        return self.power.command(fields, order_id=order_id, reason=self.reason, head=head)

    def document(self) -> dict[str, Any]:
        """Describe it, as it is kept beside what it led to."""
        return {
            "kind": self.power.kind,
            "lent": self.power.lent,
            "by": self.operator,
            "reason": self.reason,
            "said": dict(self.said),
            "longer": None if self.longer is None else duration_text(self.longer),
        }


def find_power(kind: str, *, on_behalf: bool) -> Power | None:
    """Return an operator's own power, or one that it may use in a party's stead."""
    return (LENT if on_behalf else OWN).get(kind)


def checked(body: Mapping[str, Any]) -> tuple[str, AnyCommand]:
    """Write a command as its text, and read it as the pipeline will; raise `Refused`."""
    text = json.dumps(body, ensure_ascii=False)
    try:
        return text, parse(text)
    except Malformed as error:
        raise Refused(error.detail) from None


def digest(*parts: object) -> str:
    """Name what the parts say, in 32 characters."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
