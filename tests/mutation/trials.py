"""Trials: a mutant in a copy of the tree, against the tests, the likeliest first."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.mutation.mutants import SourceMutant
from tests.mutation.plugin import BROKEN, NEEDS_IMPORT

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "var", "node_modules", "__pycache__")

Ending = Literal["killed", "timeout", "survived"]

FIRST_STAGE_S = 8.0
"""Tests, by their time, that are collected and run before the rest is even imported."""

LIMIT_FACTOR = 5.0
"""How many times as long as before a test may take, and some seconds more, until it never ends."""

NO_TESTS = 5
"""An exit code of pytest."""

PLUGINS = (
    "pytest_timeout",
    "_hypothesis_pytestplugin",
    "tests.mutation.plugin",
    "no:cacheprovider",
)
"""All that these tests want; loading the others would take as long as most mutants live."""

ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


class MutationError(Exception):
    """Why no mutant can be tried, for the person who asked."""


@dataclass(frozen=True)
class Target:
    """What is mutated and what should notice; all paths are relative to the root."""

    root: Path = ROOT
    package: str = "models"
    tests: tuple[str, ...] = ("tests/unit", "tests/property")
    pytest_arguments: tuple[str, ...] = ("-m", "not slow")
    patience_s: float = 10.0
    """How much longer than several times as long as before a test may take."""


@dataclass(frozen=True)
class Trial:
    """What came of a mutant, how long it took, and which test noticed."""

    mutant: SourceMutant
    ending: Ending
    duration_s: float
    killer: str = ""


@dataclass
class CallMap:
    """Which test calls which functions and takes how long, from one run without a mutant."""

    tests: dict[str, dict[str, Any]]
    called_by_import: list[str]
    """Functions that make tables, say: what they did is done when a test begins."""

    files: dict[str, float] = field(init=False)
    """Seconds by file, the quickest first."""

    def __post_init__(self) -> None:
        """Add up what each file takes."""
        durations_s: dict[str, float] = defaultdict(float)
        for test, record in self.tests.items():
            durations_s[file_of(test)] += record["duration_s"]
        self.files = dict(sorted(durations_s.items(), key=lambda entry: entry[1]))

    def is_imported(self, mutant: SourceMutant) -> bool:
        """Tell whether importing runs the mutated place."""
        name = f"{mutant.path}:{mutant.function}"
        return mutant.function is None or name in self.called_by_import

    def calls(self, test: str, mutant: SourceMutant) -> bool:
        """Tell whether a test runs the mutated place; what importing runs, all of them do."""
        name = f"{mutant.path}:{mutant.function}"
        return self.is_imported(mutant) or name in self.tests[test]["functions"]

    def stages(self, mutant: SourceMutant) -> list[list[str]]:
        """Divide the files that run the place: the likeliest for a few seconds, then the rest."""
        calling_files = {file_of(test) for test in self.tests if self.calls(test, mutant)}
        likely_files = sorted(
            calling_files, key=lambda file: (not is_mirror(file, mutant.path), self.files[file])
        )
        first_files: list[str] = []
        total_s = 0.0
        for file in likely_files:
            total_s += self.files[file]
            if total_s > FIRST_STAGE_S and first_files:
                break
            first_files.append(file)
        return [stage for stage in (first_files, likely_files[len(first_files) :]) if stage]

    def limits_s(self, mutant: SourceMutant, patience_s: float) -> dict[str, float]:
        """Give the tests that may notice, the likeliest first, and how long each may take.

        They are whole files: what one test has found out and cached another may look at.
        """
        calling_files = {file_of(test) for test in self.tests if self.calls(test, mutant)}
        likely_tests = sorted(
            (test for test in self.tests if file_of(test) in calling_files),
            key=lambda test: (
                not self.calls(test, mutant),
                not is_mirror(file_of(test), mutant.path),
                self.tests[test]["duration_s"],
            ),
        )
        return {
            test: patience_s + LIMIT_FACTOR * self.tests[test]["duration_s"]
            for test in likely_tests
        }


def file_of(test: str) -> str:
    return test.partition("::")[0]


def is_mirror(test_file: str, path: str) -> bool:
    """Tell whether a file of tests is named after a module, or after its folder."""
    stem, folder = Path(path).stem, Path(path).parent.name
    test_path = Path(test_file)
    return test_path.stem.startswith(f"test_{stem}") or (
        stem == "__init__" and test_path.parent.name == folder
    )


class Copy:
    """A copy of the tree, in which one mutant at a time is tried out.

    A mutant in a function is tried by a process that has imported everything and forks; what
    importing runs, like a table or a field's limit, is written into the copy and imported.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        """Copy what the tests may want to read, and start the process."""
        self._target, self._folder = target, folder
        self.root = folder / "tree"
        shutil.copytree(target.root, self.root, ignore=NOT_COPIED, symlinks=True)
        self._answer_file = folder / "answer"
        child_reads, self._request_fd = os.pipe()
        self._answer_fd, child_writes = os.pipe()
        self._answers = os.fdopen(self._answer_fd)
        arguments = ["--mutation-pipes", str(child_reads), str(child_writes)]
        arguments += ["--mutated-package", target.package, "--answer-file", str(self._answer_file)]
        self._output = (folder / "output").open("w+", encoding="utf-8")
        self._server = subprocess.Popen(
            self._command([*arguments, *target.tests]),
            cwd=self.root,
            env=os.environ | ENVIRONMENT,
            pass_fds=(child_reads, child_writes),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        os.close(child_reads)
        os.close(child_writes)

    def close(self) -> None:
        """Let the process end: there are no more requests."""
        os.close(self._request_fd)
        self._server.wait()
        self._answers.close()
        self._output.close()

    def list_tests(self) -> list[str]:
        """Name all tests that there are."""
        self._request(kind="list")
        tests: list[str] = json.loads(self._answer_file.read_text(encoding="utf-8"))
        return tests

    def record_calls(self) -> CallMap:
        """Run every test without a mutant; raise MutationError if one fails."""
        if self._request(kind="record") != 0:
            failed_test = self._answer_file.read_text(encoding="utf-8")
            raise MutationError(f"without a mutant, this test fails: {failed_test}")
        return CallMap(**json.loads(self._answer_file.read_text(encoding="utf-8")))

    def try_out(self, mutant: SourceMutant, calls: CallMap) -> Trial:
        """Run the tests until one fails; a process that died, or hung and was ended, is a failure.

        Only tests that call the function are run: another cannot tell.
        """
        began_at = time.perf_counter()
        self._answer_file.write_text("", encoding="utf-8")
        limits_s = calls.limits_s(mutant, self._target.patience_s)
        status = NEEDS_IMPORT
        if not calls.is_imported(mutant):
            status = self._request(
                kind="try",
                source=mutant.source,
                path=mutant.path,
                function=mutant.function,
                limits_s=limits_s,
            )
        if status == NEEDS_IMPORT:
            status = self._import_and_run(mutant, calls.stages(mutant), limits_s)
        ending: Ending = "timeout" if status < 0 else "killed" if status else "survived"
        killer = self._answer_file.read_text(encoding="utf-8")
        return Trial(mutant, ending, time.perf_counter() - began_at, killer)

    def _request(self, **request: object) -> int:
        """Ask the process; return the exit code of what it forked, or minus the signal."""
        with contextlib.suppress(BrokenPipeError):
            data = f"{json.dumps(request)}\n".encode()
            while data:
                data = data[os.write(self._request_fd, data) :]
        answer = self._answers.readline()
        if not answer:
            self._server.wait()
            output = Path(self._output.name).read_text(encoding="utf-8")
            raise MutationError(f"the tests cannot be run:\n{output}")
        status: int = json.loads(answer)["status"]
        if status == BROKEN:
            raise MutationError(Path(self._output.name).read_text(encoding="utf-8"))
        return status

    def _import_and_run(
        self, mutant: SourceMutant, stages: list[list[str]], limits_s: dict[str, float]
    ) -> int:
        limits_file = self._folder / "limits.json"
        limits_file.write_text(json.dumps(limits_s), encoding="utf-8")
        with self.mutated(mutant):
            for files in stages:
                process = subprocess.run(
                    self._command(["-x", "--test-limits", str(limits_file), *files]),
                    cwd=self.root,
                    env=os.environ | ENVIRONMENT,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if process.returncode not in {0, NO_TESTS}:
                    self._answer_file.write_text(failure_of(process.stdout), encoding="utf-8")
                    return process.returncode
        return 0

    @contextmanager
    def mutated(self, mutant: SourceMutant) -> Iterator[None]:
        """Write the mutant's module in the place of the right one, for a while."""
        path = self.root / mutant.path
        original = path.read_text(encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()
        try:
            path.write_text(mutant.source, encoding="utf-8")
            yield
        finally:
            path.write_text(original, encoding="utf-8")

    def _command(self, arguments: Sequence[str]) -> list[str]:
        plugins = [f"-p{name}" for name in PLUGINS]
        # pytest-timeout would use the alarm by which the plugin ends what hangs.
        options = ("-q", "--tb=no", "--timeout-method=thread", "-o", "addopts=-rfE")
        command = [sys.executable, "-m", "pytest", *plugins, *options]
        return [*command, *self._target.pytest_arguments, *arguments]


def failure_of(output: str) -> str:
    """Name the test that failed, from pytest's summary."""
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split()[1]
    return ""


@contextmanager
def copies(target: Target, count: int) -> Iterator[list[Copy]]:
    """Make copies of the tree for so many trials at a time; remove them in the end."""
    with tempfile.TemporaryDirectory(prefix="earnest-mutants-") as folder:
        trees = [Copy(target, Path(folder) / str(number)) for number in range(count)]
        try:
            yield trees
        finally:
            for tree in trees:
                tree.close()
