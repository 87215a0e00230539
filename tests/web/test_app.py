"""Web process: it takes its address or says in one line why it cannot."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import replace

import httpx2
import pytest

from ops.local.address import listen_on
from ops.web.app import run
from tests.support.concurrency import eventually
from tests.web.gateway_harness import GatewayHarness
from workers.settings import Settings, SettingsError


def test_an_address_that_is_taken_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SettingsError, match=rf"^{bind} is taken; EARNEST_WEB_BIND") as refusal:
            listen_on(bind)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("bind", ["203.0.113.1:80", "no.such.host.invalid:80"])
def test_an_address_of_another_host_is_refused(bind: str) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        listen_on(bind)


@pytest.mark.parametrize("bind", ["8000", "host", ":8000", "host:", "host:99999", "host:x"])
def test_a_malformed_address_is_refused(bind: str) -> None:
    with pytest.raises(SettingsError, match="must be like"):
        Settings.read({"EARNEST_WEB_BIND": bind})


def test_the_web_process_writes_its_address_and_ends_though_a_request_waits(
    gateway: GatewayHarness,
) -> None:
    settings = replace(gateway.settings, web_bind="127.0.0.1:0")
    stopping, ready = threading.Event(), threading.Event()
    server_thread = threading.Thread(target=run, args=(settings, stopping, ready.set))
    server_thread.start()
    assert ready.wait(60)
    url = json.loads((settings.var / "web.json").read_text())["url"]
    assert httpx2.get(f"{url}/readyz").json()["ok"]
    assert os.access(settings.var / "operator-token", os.R_OK)

    def wait() -> None:
        # Whether it comes before the end or after, it must not be left waiting.
        with suppress(httpx2.HTTPError):
            httpx2.get(f"{url}/commands/unknown-1", params={"wait": 30}, timeout=40)

    waiter = threading.Thread(target=wait)
    waiter.start()
    stopping.set()
    server_thread.join(20)
    eventually(lambda: not server_thread.is_alive() and not waiter.is_alive())
