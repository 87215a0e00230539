"""Plugin: pytest, kept ready with everything imported, forks once for each mutant.

A mutant inside a function is put into the function that is already there, so that nothing is
imported again; what importing runs needs a process of its own, in which the likely tests come
first and what hangs is ended.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from hypothesis import Phase, settings

MAX_MEMORY_BYTES = 4 * 1024**3
"""What a mutant that never stops collecting may have."""

IMPORT_TIMEOUT_S = 120
SURVIVED, KILLED, NEEDS_IMPORT, BROKEN = 0, 1, 64, 70
"""Exit codes of a forked process; one that a signal ended has none. `BROKEN`: this module is."""

# The same examples each time, and no search for the shortest: that a test fails is enough.
settings.register_profile(
    "mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("mutation")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mutation")
    group.addoption("--mutation-pipes", nargs=2, type=int, help="read requests, write answers")
    group.addoption("--mutated-package", metavar="NAME", help="whose functions are looked at")
    group.addoption("--answer-file", metavar="FILE", help="which test failed, or who calls what")
    group.addoption("--test-limits", metavar="FILE", help="the likeliest tests first, as JSON")


CALLED_BY_IMPORT = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Watch the package being imported, before a conftest imports anything."""
    options = early_config.known_args_namespace
    if options.mutation_pipes:
        folder = Path.cwd() / options.mutated_package
        early_config.stash[CALLED_BY_IMPORT] = calls_of_import(folder)


def pytest_configure(config: pytest.Config) -> None:
    pipes, limits_file = config.getoption("mutation_pipes"), config.getoption("test_limits")
    if pipes:
        folder = Path.cwd() / config.getoption("mutated_package")
        answer_file = Path(config.getoption("answer_file"))
        server = MutantServer(folder, answer_file, config.stash[CALLED_BY_IMPORT], *pipes)
        config.pluginmanager.register(server)
    if limits_file:
        limits_s = json.loads(Path(limits_file).read_text(encoding="utf-8"))
        config.pluginmanager.register(LimitedRun(limits_s))


def end_what_hangs(seconds: float) -> None:
    """End this process by a signal that nobody handles, unless it is told again in time."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


class LimitedRun:
    """Runs a session with the likely tests first, each for as long as it may take."""

    def __init__(self, limits_s: dict[str, float]) -> None:
        """Take limits by test, the likeliest first; a test without one comes last."""
        self._limits_s = limits_s
        self._ranks = {test: rank for rank, test in enumerate(limits_s)}
        limit_memory()
        end_what_hangs(IMPORT_TIMEOUT_S)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._ranks.get(item.nodeid, len(self._ranks)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        end_what_hangs(self._limits_s.get(item.nodeid, IMPORT_TIMEOUT_S))
        try:
            return (yield)
        finally:
            end_what_hangs(IMPORT_TIMEOUT_S)


class MutantServer:
    """Answers requests, one JSON object a line: to record calls, or to try a mutant."""

    def __init__(
        self,
        folder: Path,
        answer_file: Path,
        called_by_import: list[str],
        read_fd: int,
        write_fd: int,
    ) -> None:
        """Look at the functions under a folder; what is to be said goes into a file."""
        self._folder, self._answer_file = f"{folder}/", answer_file
        self._requests, self._write_fd = os.fdopen(read_fd), write_fd
        self._called_by_import = called_by_import
        self._failed_test = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        items = {item.nodeid: item for item in session.items}
        functions = find_functions(self._folder)
        for line in self._requests:
            request = json.loads(line)
            child = os.fork()
            if child == 0:
                # Whatever happens here, only one process may go on with the loop.
                code = BROKEN
                try:
                    code = self._serve(request, items, functions)
                finally:
                    os._exit(code)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(self._write_fd, f"{json.dumps({'status': status})}\n".encode())
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._failed_test:
            self._failed_test = report.nodeid

    def _serve(
        self,
        request: dict[str, Any],
        items: dict[str, pytest.Item],
        functions: dict[tuple[str, str], list[FunctionType]],
    ) -> int:
        limit_memory()
        if request["kind"] == "list":
            return self._answer(SURVIVED, json.dumps(list(items)))
        if request["kind"] == "record":
            recorder = CallRecorder(self._folder)
            for item in items.values():
                recorder.record(item)
                if self._failed_test:
                    return self._answer(KILLED, self._failed_test)
            calls = {"tests": recorder.tests, "called_by_import": self._called_by_import}
            return self._answer(SURVIVED, json.dumps(calls))
        if not put_in(request["source"], request["path"], request["function"], functions):
            return NEEDS_IMPORT
        for test, limit_s in request["limits_s"].items():
            end_what_hangs(limit_s)
            item = items[test]
            try:
                run_item(item)
            except (Exception, KeyboardInterrupt, SystemExit, pytest.exit.Exception):  # noqa: BLE001
                # It broke out of the test itself, and of pytest.
                self._failed_test = self._failed_test or test
            if self._failed_test:
                return self._answer(KILLED, self._failed_test)
        return SURVIVED

    def _answer(self, code: int, text: str) -> int:
        self._answer_file.write_text(text, encoding="utf-8")
        return code


def run_item(item: pytest.Item) -> None:
    """Run a test by itself; fixtures of a wider scope are made anew for it."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def calls_of_import(folder: Path) -> list[str]:
    """Import every module of a package; name the functions that are called by that."""
    with traced_calls() as codes:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
    return function_names(codes, f"{folder}/")


class CallRecorder:
    """Finds out which functions under a folder each test calls, and how long it takes."""

    def __init__(self, folder: str) -> None:
        """Begin with no test."""
        self._folder = folder
        self._caches = find_caches()
        self._file = ""
        self.tests: dict[str, dict[str, Any]] = {}

    def record(self, item: pytest.Item) -> None:
        """Run a test; each file begins with empty caches, so that it makes its calls itself."""
        file, self._file = self._file, item.nodeid.partition("::")[0]
        if file != self._file:
            for cache in self._caches:
                cache.cache_clear()
        began_at = time.perf_counter()
        with traced_calls() as codes:
            run_item(item)
        duration_s = time.perf_counter() - began_at
        names = function_names(codes, self._folder)
        self.tests[item.nodeid] = {"duration_s": duration_s, "functions": names}


@contextmanager
def traced_calls() -> Iterator[dict[int, CodeType]]:
    """Collect the code of all functions that are called, in any thread."""
    # By identity: code is compared by all that it contains.
    codes: dict[int, CodeType] = {}

    def trace(frame: FrameType, _event: str, _argument: object) -> None:
        codes[id(frame.f_code)] = frame.f_code

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield codes
    finally:
        sys.settrace(None)
        threading.settrace(None)


def function_names(codes: dict[int, CodeType], folder: str) -> list[str]:
    """Name the outermost functions of code under a folder: by file and qualified name."""
    names = {
        f"{Path(code.co_filename).relative_to(Path.cwd())}:{outermost(code.co_qualname)}"
        for code in codes.values()
        if code.co_filename.startswith(folder)
    }
    return sorted(names)


def outermost(qualified_name: str) -> str:
    return qualified_name.partition(".<locals>")[0]


def find_caches() -> list[Any]:
    """Give the caches of functions in the project's modules, tests included."""
    wrapper = type(functools.cache(len))
    root = f"{Path.cwd()}/"
    return [
        cache
        for cache in gc.get_objects()
        if isinstance(cache, wrapper)
        and isinstance(cache.__wrapped__, FunctionType)
        and cache.__wrapped__.__code__.co_filename.startswith(root)
    ]


def find_functions(folder: str) -> dict[tuple[str, str], list[FunctionType]]:
    """Give the functions that stand in the modules under a folder, by file and qualified name."""
    functions = defaultdict(list)
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename.startswith(folder):
            code = function.__code__
            functions[code.co_filename, code.co_qualname].append(function)
    return functions


def put_in(
    source: str, path: str, name: str, functions: dict[tuple[str, str], list[FunctionType]]
) -> bool:
    """Give a function the code of a mutant; tell whether that was possible."""
    filename = str(Path.cwd() / path)
    new_codes: dict[str, list[CodeType]] = defaultdict(list)
    for code in codes_within(compile(source, filename, "exec", dont_inherit=True), name):
        new_codes[code.co_qualname].append(code)
    old_functions = [
        function
        for (file, qualified_name), named_functions in functions.items()
        if file == filename and outermost(qualified_name) == name
        for function in named_functions
    ]
    replacements = [new_codes[function.__code__.co_qualname] for function in old_functions]
    # Several of one name, as a property's getter and setter, only an import tells apart.
    if not replacements or any(len(codes) != 1 for codes in replacements):
        return False
    try:
        for function, (code,) in zip(old_functions, replacements, strict=True):
            function.__code__ = code
    except ValueError:
        return False
    return True


def codes_within(code: CodeType, name: str) -> Iterator[CodeType]:
    """Give the code of a function and of all functions in it."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if outermost(inner.co_qualname) == name:
                yield inner
            yield from codes_within(inner, name)
