"""Tools: what the linters, the type checker and the import contracts say is: nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.project import ROOT, files

LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports_command as main; main()"


TOOLS = {
    "ruff check": ["-m", "ruff", "check"],
    "ruff format": ["-m", "ruff", "format", "--check"],
    "mypy": ["-m", "mypy"],
    "import-linter": ["-c", LINT_IMPORTS, "--no-cache"],
    "honcho": ["-m", "honcho", "check"],
}


# A lock file is for everybody: it must not remember where one of us fetched from.
SOURCES_OF_PACKAGES = re.compile(r"index[-_]url|find[-_]links|trusted[-_]host", re.IGNORECASE)


HASH = re.compile(r"^\s*--hash=sha256:[0-9a-f]{64}", re.MULTILINE)


ADDRESS = re.compile(r"://|^\s*-|\sfile:|\s@\s", re.MULTILINE)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", TOOLS)
def test_the_tool_finds_nothing(tool: str) -> None:
    command = [sys.executable, *TOOLS[tool]]
    completed_process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert completed_process.returncode == 0, completed_process.stdout + completed_process.stderr


LOCKED = {
    "requirements.lock": ("requirements.in",),
    "requirements-dev.lock": ("requirements-dev.in",),
    "requirements-analysts.lock": ("requirements-analysts.in",),
    "requirements-audit.lock": ("requirements-audit.in",),
}


@pytest.mark.parametrize(
    "name", [*LOCKED, *(source for sources in LOCKED.values() for source in sources)]
)
def test_requirements_name_packages_and_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert ADDRESS.findall(HASH.sub("", text)) == []


@pytest.mark.parametrize("name", LOCKED)
def test_every_locked_package_has_a_hash(name: str) -> None:
    lock = (ROOT / name).read_text()
    entries = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)
    assert [entry.split()[0] for entry in entries[1:] if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", LOCKED)
def test_everything_asked_for_is_locked(name: str) -> None:
    required_packages = {package for source in LOCKED[name] for package in packages(source)}
    assert sorted(required_packages - packages(name)) == []


def test_analysts_read_with_the_arrow_that_we_write_with() -> None:
    writer_lock = (ROOT / "requirements.lock").read_text()
    analyst_lock = (ROOT / "requirements-analysts.lock").read_text()
    (version,) = re.findall(r"^pyarrow==\S+", writer_lock, flags=re.MULTILINE)
    assert version in analyst_lock


def test_what_runs_and_what_tests_it_are_locked_apart() -> None:
    runtime_lock = (ROOT / "requirements.lock").read_text()
    runtime_packages = packages("requirements.lock")
    assert runtime_packages & packages("requirements-dev.lock") == set()
    # The comments of the lock name who wants a package: `# via`, and lines that begin with `#   `.
    dependents = re.findall(r"^    # (?:via |  )(\S.*)$", runtime_lock, flags=re.MULTILINE)
    assert set(dependents) <= runtime_packages | {"-r requirements.in"}


def packages(name: str) -> set[str]:
    return set(re.findall(r"^[a-z][\w-]*", (ROOT / name).read_text(), flags=re.MULTILINE))


def test_no_file_says_where_packages_come_from() -> None:
    telling = [path for path in files() if path != Path(__file__) and names_a_package_source(path)]
    assert telling == []


def names_a_package_source(path: Path) -> bool:
    return bool(SOURCES_OF_PACKAGES.search(path.read_text(encoding="utf-8", errors="ignore")))
