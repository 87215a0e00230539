"""Auth: bearer tokens, what each lets its caller say and see, and what every request must be.

Every response, whatever it is about, gets its security headers here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.commands.command import Party
from models.fields import SENDER_ROLES
from models.orders.order import Order
from ops.web.errors import Fault, Problem, fault_text
from workers.queries.order_filters import OrderFilter
from workers.settings import Settings, SettingsError

STAFF_ROLES = frozenset({"operator", "platform"})
"""Roles that look after the whole, and so may look at all of it."""

OBSERVER = "observer"
"""A role of tokens alone: it reads everything and asks nothing, as monitoring and auditors do."""

MIN_TOKEN_CHARACTERS = 16
"""Characters of a token that is not to be guessed."""

ListingRole = Literal["client", "creator", "mcn"]
"""Roles whose tokens list the orders of one party."""

LOOPBACK_PREFIXES = ("127.", "localhost:", "[::1]:")


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to speak in a role: as one of that role, or, without an id, as any of them."""

    role: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request. `trusted` is a caller on this machine where no tokens are set."""

    grants: tuple[Grant, ...] = ()
    trusted: bool = False

    def may_speak_for(self, by: Party) -> bool:
        """Tell whether a command may claim to come from `by`.

        An operator's word is never taken without a token, not even on this machine.
        """
        if self.trusted and by.role != "operator":
            return True
        return any(grant.role == by.role and grant.id in (None, by.id) for grant in self.grants)

    def is_staff(self) -> bool:
        """Tell whether the whole is this caller's to look after."""
        return self.trusted or any(grant.role in STAFF_ROLES for grant in self.grants)

    def is_observing(self) -> bool:
        """Tell whether everything may be looked at: by the staff, and by observers."""
        return self.is_staff() or any(grant.role == OBSERVER for grant in self.grants)

    def operator_id(self) -> str | None:
        """Return the name under which this caller operates, or None for somebody who may not."""
        operator_ids = [grant.id or "operator" for grant in self.grants if grant.role == "operator"]
        return operator_ids[0] if operator_ids else None

    def may_see_all(self) -> bool:
        """Tell whether no order is hidden: from observers, and systems that serve everybody."""
        return self.is_observing() or any(
            grant.id is None or grant.role == "payments" for grant in self.grants
        )

    def may_see(self, order: Order, mcn_id: str | None) -> bool:
        """Tell whether an order is this caller's business; `mcn_id` is its creator's agency."""
        order_parties = {
            ("client", order.client_id),
            ("creator", order.creator_id),
            ("mcn", mcn_id),
        }
        order_parties |= {
            ("provider", provider_id)
            for provider_id in (order.client_provider, order.creator_provider)
        }
        return self.may_see_all() or any(
            (grant.role, grant.id) in order_parties for grant in self.grants
        )


def restrict_to_caller(
    caller: Caller, order_filter: OrderFilter, *, roles: Sequence[ListingRole], refusal: str
) -> OrderFilter | None:
    """Narrow a list of orders to what a caller may see; None where that is nothing.

    One rule for every list: who may see all, lists all; else a grant for one of the `roles` lists
    its own party's. A token with several such grants lists for the party that the filter names.
    Raise `Problem` 403 with `refusal` where no grant lists, 422 where it is unclear for whom.
    """
    if caller.may_see_all():
        return order_filter
    own_parties = [
        (role, grant.id) for role in roles for grant in caller.grants if grant.role == role
    ]
    if not own_parties:
        raise Problem(403, refusal)
    requested = {role: party_of(order_filter, role) for role in roles}
    named = [(role, party_id) for role, party_id in own_parties if requested[role] == party_id]
    possible = named or [party for party in own_parties if requested[party[0]] is None]
    if not possible:
        return None
    if len(possible) > 1 and not named:
        choices = " or ".join(f"{role}={party_id}" for role, party_id in possible)
        fault = Fault(field=possible[0][0], detail=f"this token is of several: say {choices}")
        raise Problem(422, fault_text(fault), errors=[fault])
    role, party_id = possible[0]
    return restrict_to_party(order_filter, role, party_id)


def party_of(order_filter: OrderFilter, role: ListingRole) -> str | None:
    """Return the party of a role to which a filter restricts a list."""
    match role:
        case "client":
            return order_filter.client
        case "creator":
            return order_filter.creator
        case "mcn":
            return order_filter.mcn


def restrict_to_party(
    order_filter: OrderFilter, role: ListingRole, party_id: str | None
) -> OrderFilter:
    """Narrow a list to the orders of one party."""
    match role:
        case "client":
            return replace(order_filter, client=party_id)
        case "creator":
            return replace(order_filter, creator=party_id)
        case "mcn":
            return replace(order_filter, mcn=party_id)


class Tokens:
    """The tokens that are good here. What is kept in memory are their digests."""

    def __init__(self, entries: list[tuple[bytes, Grant]], *, required: bool) -> None:
        """Keep digests and what each grants; `required` where nobody is trusted without."""
        self.entries, self.required = entries, required

    def caller(self, header: str | None) -> Caller:
        """Find out who asks; raise `Problem` 401 for a wrong token, and for none where needed."""
        if header is None and not self.required:
            return Caller(trusted=True)
        scheme, _, token = (header or "").partition(" ")
        grants = self._grants(token.strip()) if scheme.lower() == "bearer" else ()
        if not grants:
            detail = "a bearer token is wanted" if header is None else "no such token"
            raise Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="earnest"'})
        return Caller(grants, trusted=not self.required)

    def _grants(self, token: str) -> tuple[Grant, ...]:
        token_digest = digest(token)
        # Every entry is compared, to the last byte: time tells nothing about where it matched.
        return tuple(
            [
                grant
                for known_digest, grant in self.entries
                if hmac.compare_digest(known_digest, token_digest)
            ]
        )


def open_tokens(settings: Settings) -> Tokens:
    """Read the tokens, or on this machine alone make do with an operator's of our own.

    Raise `SettingsError` for a file that cannot be used, and for an address open to the world
    without one.
    """
    if settings.tokens is not None:
        return Tokens(read_tokens(settings.tokens), required=True)
    if not is_loopback(settings.web_bind):
        raise SettingsError(
            f"EARNEST_WEB_BIND {settings.web_bind} is open to others: EARNEST_TOKENS must name a "
            "file of tokens, a line `role[/id] token` each"
        )
    return Tokens([(digest(own_token(settings.var)), Grant("operator", None))], required=False)


def is_loopback(bind: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    return bind.startswith(LOOPBACK_PREFIXES)


def own_token(var: Path) -> str:
    """Return the operator's token of a state folder, made the first time, readable by its owner."""
    var.mkdir(parents=True, exist_ok=True)
    path = var / "operator-token"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        token = secrets.token_urlsafe(24)
        file.write(token + "\n")
    return token


def read_tokens(path: Path) -> list[tuple[bytes, Grant]]:
    """Read a file of tokens; raise `SettingsError` that names the line, never the token."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"EARNEST_TOKENS {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"EARNEST_TOKENS {path}: not a text in UTF-8") from None
    entries = []
    for line_number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        party, _, token = line.strip().partition(" ")
        role, _, party_id = party.partition("/")
        if role not in SENDER_ROLES | {OBSERVER} or len(words) != len(("who", "token")):
            raise SettingsError(f"EARNEST_TOKENS line {line_number}: `role[/id] token` is wanted")
        if len(token.strip()) < MIN_TOKEN_CHARACTERS:
            raise SettingsError(
                f"EARNEST_TOKENS line {line_number}: {MIN_TOKEN_CHARACTERS} characters at least"
            )
        entries.append((digest(token.strip()), Grant(role, party_id or None)))
    if not entries:
        raise SettingsError(f"EARNEST_TOKENS {path}: no token in it")
    return entries


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script but ours, no style but ours, nothing from elsewhere, nobody's frame."""

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class SecurityMiddleware:
    """Sets security headers; refuses names that are not ours where the machine itself is trusted.

    A page from elsewhere can make a name of its own point here; the browser then sends that name,
    and we do not answer to it.
    """

    def __init__(self, app: ASGIApp, *, local_only: bool) -> None:
        """Wrap an application."""
        self.app, self.local_only = app, local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer for the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._problem(Headers(scope=scope))
        respond = self.app if problem is None else problem.response()
        await respond(scope, receive, send_with_headers)

    def _problem(self, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self.local_only and name not in LOCAL_HOSTS:
            return Problem(421, "this door answers to localhost; EARNEST_TOKENS opens it to others")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return Problem(403, "a page from elsewhere may not ask here")
        return None
