"""Sender: hands a campaign in through both doors, as fast as it is settled, and logs it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Self
from urllib.parse import urlsplit

from models.errors import TransientError
from models.fields import format_instant, parse_instant
from tests.law.campaign import DealtCall, Salvo
from tests.law.evidence import LoggedCommand
from tests.law.formats import CommandKey
from workers.client import CommandClient
from workers.timestamps import from_us, now_us, to_us

ACCEPTED = 202
CONNECTIONS = 4
HTTP_TIMEOUT_S = 60.0
MAX_UNSETTLED = 500
"""Messages that may wait before the next salvo: enough for every worker, and soon settled."""

POLL_INTERVAL_S = 0.01


class GatewayClient:
    """Posts commands to the gateway, over a connection for each thread."""

    def __init__(self, url: str, token: str) -> None:
        self.address = urlsplit(url).netloc
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        self.headers, self.local = headers, threading.local()

    def post(self, texts: Sequence[str]) -> list[int] | None:
        """Hand in commands; return when each was received, or None where they were refused."""
        try:
            connection = self._connection()
            body = f"[{','.join(texts)}]".encode()
            connection.request("POST", "/commands", body, self.headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self.local.connection = None
            return None
        if response.status != ACCEPTED:
            return None
        accepted_commands = json.loads(answer)["accepted"]
        return [to_us(parse_instant(accepted["received_at"])) for accepted in accepted_commands]

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.address, timeout=HTTP_TIMEOUT_S)
            self.local.connection = connection
        return connection


class CampaignSender:
    """Sends salvo after salvo, of `command_count` commands in all, and logs each.

    `count_unsettled` says how many messages wait.
    """

    def __init__(
        self,
        client: CommandClient,
        gateway: GatewayClient | None,
        count_unsettled: Callable[[], int],
        command_count: int,
    ) -> None:
        self.client, self.gateway, self.count_unsettled = client, gateway, count_unsettled
        self.command_count = command_count
        self.log: list[LoggedCommand] = []
        self.message_count = 0
        self.stopping = threading.Event()
        self._posts: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def send(self, salvo: Salvo, *, until: float) -> None:
        """Send what a step asks, once few enough wait; give up at the instant `until`."""
        while self.count_unsettled() > MAX_UNSETTLED and now_us() < until:
            self.stopping.wait(POLL_INTERVAL_S)
        sent_at = from_us(now_us())
        # Everything is written first: between opponents there is no time for it.
        written_calls = [(call, self._log_call(call, sent_at)) for call in salvo]
        for call, commands in written_calls:
            if call.door == "http":
                self._posts.append(self._pool.submit(self._post, commands))
            else:
                self._submit(commands, call.per_message)
        self.wait_for_posts()

    def wait_for_posts(self) -> None:
        """Wait until the gateway has answered everything."""
        for post in self._posts:
            post.result()
        self._posts.clear()

    def find_unanswered(
        self, answered: Collection[CommandKey], before_us: int
    ) -> dict[str, LoggedCommand]:
        """Find what was sent before an instant and nobody answered, by text."""
        return {
            command.text: command
            for command in self.log.copy()
            if (command.stamp or command.received_us or 0) <= before_us
            and (command.sender, command.command_id) not in answered
            and (None, command.command_id) not in answered
        }

    def send_again(self, commands: Collection[LoggedCommand]) -> None:
        """Send commands again, each in a message of its own."""
        copies = [
            LoggedCommand(command.sender, command.command_id, command.text, -1, -1)
            for command in commands
        ]
        self.log += copies
        self._submit(copies, 1)

    def _log_call(self, call: DealtCall, sent_at: datetime) -> list[LoggedCommand]:
        per_message = len(call.commands) if call.door == "http" else call.per_message
        commands = [
            LoggedCommand(
                f"{dealt.body['by']['role']}:{dealt.body['by']['id']}",
                dealt.body["id"],
                write_text(dealt.body, sent_at),
                self.message_count + place // per_message,
                dealt.exchange,
            )
            for place, dealt in enumerate(call.commands)
        ]
        self.message_count = commands[-1].message + 1
        self.log += commands
        return commands

    def _post(self, commands: list[LoggedCommand]) -> None:
        """Post commands; what the gateway refuses whole goes through Redis."""
        texts = [command.text for command in commands]
        received_us = self.gateway.post(texts) if self.gateway else None
        if received_us is None:
            self._submit(commands, len(commands))
            return
        for command, received in zip(commands, received_us, strict=True):
            command.received_us = received

    def _submit(self, commands: list[LoggedCommand], per_message: int) -> None:
        texts = [command.text for command in commands]
        try:
            stamps = self.client.submit_many(texts, per_message=per_message)
        except TransientError:
            # It may have arrived or not: what has no outcome in the end is sent again.
            return
        for command, stamp in zip(commands, stamps, strict=True):
            command.stamp = stamp


def write_text(body: dict[str, object], sent_at: datetime) -> str:
    """Write a command, its instants counted from the moment of sending."""

    def write_instant(offset: timedelta) -> str:
        return format_instant(sent_at + offset)

    return json.dumps(body, ensure_ascii=False, default=write_instant)
