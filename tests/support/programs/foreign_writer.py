"""Foreign writer: a program that is none of ours, and has locked SQLite's file for a while."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from workers.settings import project_root

BEGIN = "BEGIN IMMEDIATE"
"""What whoever tidies up by hand types into SQLite's shell, before going to lunch."""


@contextmanager
def foreign_writer(database: str, *statements: str) -> Iterator[subprocess.Popen[str]]:
    """Keep another process in a transaction that writes to a file, as long as the block lasts."""
    argv = [sys.executable, "-m", __name__, database, *(statements or [BEGIN])]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project_root()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.stdin.close()


def main(database: str, *statements: str) -> None:
    """Run statements, and then do nothing until the input ends."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        print("locked", flush=True)  # noqa: T201 - whoever started this waits for it
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
