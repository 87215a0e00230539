"""Fixtures: the whole pipeline, and a browser that looks at it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ops.local.up import LocalStack
from tests.support.servers import skip_or_fail
from workers.settings import Settings

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> Path:
    """Find a browser; skip at home if there is none, fail in CI."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return Path(path) if path else skip_or_fail("Chromium is not installed")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests; without its sandbox, which root cannot have."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[LocalStack]:
    """Run the pipeline, with the web process on any free port."""
    assert browser.is_connected()
    settings = Settings.read({"EARNEST_WEB_BIND": "127.0.0.1:0"}, var=tmp_path_factory.mktemp("up"))
    with LocalStack(settings, quiet=True, workers=1) as local_stack:
        yield local_stack


@pytest.fixture(scope="session")
def address(local_stack: LocalStack) -> str:
    """Give the web process's address."""
    url: str = json.loads((local_stack.settings.var / "web.json").read_text())["url"]
    return url


@pytest.fixture
def page_complaints() -> list[str]:
    """Collect the errors and dialogs of a page, and its requests to other servers."""
    return []


@pytest.fixture
def page(browser: Browser, address: str, page_complaints: list[str]) -> Iterator[Page]:
    """Give a fresh page, which may have no errors, no dialogs and no requests to other servers."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on(
        "console",
        lambda message: page_complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: page_complaints.append(str(error)))
    page.on("dialog", lambda dialog: page_complaints.append(f"dialog {dialog.message}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(address) else page_complaints.append(request.url)
        ),
    )
    yield page
    context.close()
    assert page_complaints == []
