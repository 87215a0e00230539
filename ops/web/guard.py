"""Guard: what every request must be, and every response must say, whatever it is about."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.web.problems import Problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script but ours, no style but ours, nothing from elsewhere, nobody's frame."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """Refuses names that are not ours where the machine itself is trusted.

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

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._fault(Headers(scope=scope))
        answer = self.app if problem is None else problem.answer()
        await answer(scope, receive, sealed)

    def _fault(self, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self.local_only and name not in LOCAL:
            return Problem(421, "this door answers to localhost; EARNEST_TOKENS opens it to others")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return Problem(403, "a page from elsewhere may not ask here")
        return None
