"""Fixtures: how many trials the fault suite makes, and what chance begins with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.fault.run import LOG_LEVEL, SEED


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let whoever has more time try more; this works where `tests/fault` is named."""
    parser.addoption("--trials", type=int, help="blows of each kind of fault")
    parser.addoption("--seed", type=int, help="what chance begins with")


@pytest.fixture(scope="session")
def trials(pytestconfig: pytest.Config) -> int | None:
    """Give the number of trials that was asked for, or None."""
    trials: int | None = pytestconfig.getoption("--trials", default=None)
    return trials


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """Give what chance begins with; printed, so that a failure can be repeated."""
    seed: int = pytestconfig.getoption("--seed", default=None) or SEED
    print(f"--seed {seed}")  # noqa: T201
    return seed


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep what our own parts log out of the way of what went wrong."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVEL))
    yield
    structlog.configure(**before)
