"""Bulk runs: a plan is stored whole or not at all, and carried out by one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.errors import UsageError
from ops.operate.bulk_runs import HEAD_FILE, PLAN_FILE, BulkRun, BulkRunDraft, find_run, list_runs

BY = '"by": {"role": "operator", "id": "ann"}'
TEXTS = [f'{{"id": "command-{number}", {BY}}}' for number in (1, 2)]

# Plans, and dies where a name of `BulkRunDraft` is called for the first time.
DYING_PROGRAM = """
import os, signal, sys
from pathlib import Path
from ops.operate import bulk_runs
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
setattr(bulk_runs, sys.argv[2], die) if sys.argv[2] != "rename" else setattr(Path, "rename", die)
draft = bulk_runs.BulkRunDraft(Path(sys.argv[1]), "same")
with draft.open() as plan:
    draft.add(plan, '{"id": "command-9"}')
    draft.publish(plan, {"task": "same"})
"""


def make_run(root: Path, task: str = "same") -> BulkRun:
    draft = BulkRunDraft(root, task)
    with draft.open() as plan:
        for text in TEXTS:
            draft.add(plan, text)
        return draft.publish(plan, {"task": task, "kind": "pause_clock"})


def test_a_run_is_found_again_with_every_command_of_its_plan(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    found_run = find_run(tmp_path, run.name)
    assert found_run.head == {"task": "same", "kind": "pause_clock", "orders": 2}
    assert list(found_run.commands()) == [
        ("operator:ann:command-1", TEXTS[0]),
        ("operator:ann:command-2", TEXTS[1]),
    ]
    assert found_run.report() is None
    found_run.finish({"applied": 2})
    assert find_run(tmp_path, run.name).report() == {"applied": 2}


@pytest.mark.parametrize("function_name", ["_sync_file", "_sync_folder", "rename"])
def test_a_process_that_dies_while_it_plans_leaves_nothing_that_could_be_taken_for_a_run(
    tmp_path: Path, function_name: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", DYING_PROGRAM, str(tmp_path), function_name], check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert list_runs(tmp_path) == []
    run = make_run(tmp_path)
    assert [listed_run.name for listed_run in list_runs(tmp_path)] == [run.name]
    assert [path.name for path in tmp_path.iterdir()] == [run.name]
    assert len(list(run.commands())) == len(TEXTS)


def test_a_plan_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    draft = BulkRunDraft(tmp_path, "same")
    with draft.open() as plan:
        draft.add(plan, TEXTS[0])
    assert list(tmp_path.iterdir()) == []


def test_a_task_is_planned_by_one_process_at_a_time_and_another_task_meanwhile(
    tmp_path: Path,
) -> None:
    first = BulkRunDraft(tmp_path, "same")
    with first.open() as plan:
        first.add(plan, TEXTS[0])
        with pytest.raises(UsageError, match="planning the same"):
            make_run(tmp_path)
        other_run = make_run(tmp_path, "other")
        first_run = first.publish(plan, {"task": "same"})
        # From now on the name is free: whoever wants the same finds the run itself.
        third_run = make_run(tmp_path)
    assert {run.name for run in list_runs(tmp_path)} == {
        run.name for run in (other_run, first_run, third_run)
    }


def test_a_run_is_carried_out_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.locked(), pytest.raises(UsageError, match="another process"), run.locked():
        pass
    with run.locked():
        pass


def test_a_plan_that_somebody_has_changed_is_not_carried_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with (run.folder / PLAN_FILE).open("a") as plan:
        plan.write("no command\n")
    with pytest.raises(UsageError, match="changed by other hands"):
        list(run.commands())


def test_a_run_of_another_name_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run nothing"):
        find_run(tmp_path / "nowhere", "nothing")


def test_a_run_gets_its_name_only_when_everything_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, rename = os.fsync, Path.rename

    def noted_sync(descriptor: int) -> None:
        order.append(file_name(descriptor))
        sync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        order.append("renamed")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    draft = BulkRunDraft(tmp_path, "same")
    with draft.open() as plan:
        draft.add(plan, TEXTS[0])
        draft.publish(plan, {"task": "same"})
    assert order == [PLAN_FILE, HEAD_FILE, ".draft-same", "renamed", tmp_path.name]


def file_name(descriptor: int) -> str:
    return Path(f"/proc/self/fd/{descriptor}").readlink().name
