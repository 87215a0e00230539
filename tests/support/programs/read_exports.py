"""Export reader: what pandas and DuckDB make of exported folders, printed as JSON.

Runs by itself, with the Python of an environment that has both: see requirements-analysts.in.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

EXPORTS = ("orders", "events", "postings")

BALANCES = """
    SELECT family, CAST(sum(amount) AS BIGINT) FROM (
        SELECT source_family AS family, -amount_fen AS amount FROM '{0}'
        UNION ALL SELECT target_family, amount_fen FROM '{0}'
    ) GROUP BY family
"""

HELD = "SELECT CAST(sum(held_fen) AS BIGINT) FROM '{0}'"
LATEST = "SELECT epoch_us(max(happened_at)) FROM '{0}'"


def main(folder: Path) -> None:
    """Print what types the columns have, and what they add up to, to pandas and to DuckDB."""
    json.dump({"pandas": by_pandas(folder), "duckdb": by_duckdb(folder)}, sys.stdout)


def by_pandas(folder: Path) -> dict[str, Any]:
    frames = {table: pd.read_parquet(folder / table) for table in EXPORTS}
    postings = frames["postings"]
    by_source = postings.groupby("source_family", observed=True)["amount_fen"].sum()
    by_target = postings.groupby("target_family", observed=True)["amount_fen"].sum()
    balances, latest = by_target.sub(by_source, fill_value=0), frames["events"]["happened_at"].max()
    return {
        "types": {
            table: {name: str(kind) for name, kind in frame.dtypes.items()}
            for table, frame in frames.items()
        },
        "balances": {name: int(fen) for name, fen in balances.items()},
        "held_fen": int(frames["orders"]["held_fen"].sum()),
        "latest_us": (latest - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1),
    }


def by_duckdb(folder: Path) -> dict[str, Any]:
    parts = {table: f"{folder / table}/*.parquet" for table in EXPORTS}
    relations = {table: duckdb.sql(f"DESCRIBE FROM '{path}'") for table, path in parts.items()}
    return {
        "types": {
            table: {row[0]: row[1] for row in relation.fetchall()}
            for table, relation in relations.items()
        },
        "balances": dict(duckdb.sql(BALANCES.format(parts["postings"])).fetchall()),
        "held_fen": scalar(HELD.format(parts["orders"])),
        "latest_us": scalar(LATEST.format(parts["events"])),
    }


def scalar(query: str) -> int:
    return int(duckdb.sql(query).fetchall()[0][0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
