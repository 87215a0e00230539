"""Parquet: pandas and DuckDB open it, with proper types and the totals of the books."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_earnest
from tests.support.servers import skip_or_fail
from tests.support.store_harness import StoreHarness
from tests.support.stories import BALANCE, place
from workers.settings import project_root
from workers.timestamps import to_us

FEN = (
    *("original_amount_fen", "amount_fen", "fee_fen", "total_fen", "deposit_fen"),
    *("held_fen", "balance_due_fen", "forfeited_fen"),
)

COLUMNS = {
    "orders": {
        "whole": (*FEN, "mcn_share_bps", "revisions", "sequence"),
        "name": ("task_type", "public_status", "state", "reason", "policy_version"),
        "instant": (
            *("placed_at", "offered_at", "entered_at", "due_at", "ended_at"),
            "expected_publish_at",
        ),
        "flag": ("prepay_deposit", "released", "rated"),
        "text": ("order_id", "client_id", "creator_id", "mcn_id", "name", "industry"),
    },
    "events": {
        "whole": ("position", "sequence"),
        "name": ("type",),
        "instant": ("happened_at", "recorded_at"),
        "text": ("subject", "order_id", "caused_by", "body"),
    },
    "postings": {
        "whole": ("position", "ordinal", "sequence", "amount_fen"),
        "name": ("type", "source_family", "target_family"),
        "instant": ("happened_at",),
        "text": ("subject", "order_id", "source", "target"),
    },
}

TYPES = {
    "pandas": {
        "whole": "int64",
        "name": "category",
        "instant": "datetime64[us, UTC]",
        "flag": "bool",
        "text": "str",
    },
    "duckdb": {
        "whole": "BIGINT",
        "name": "VARCHAR",
        "instant": "TIMESTAMP WITH TIME ZONE",
        "flag": "BOOLEAN",
        "text": "VARCHAR",
    },
}


@pytest.fixture
def analysis(harness: StoreHarness, tmp_path: Path) -> dict[str, Any]:
    """Give what analysts find of orders in several situations."""
    python = project_root() / "var" / "analysts" / "bin" / "python"
    if not python.exists():
        skip_or_fail("pandas and DuckDB are not installed: see requirements-analysts.in")
    url = harness.engine.url.render_as_string(hide_password=False)
    harness.bring_to("forfeited_late")
    harness.offer("o2", "o3", "o4")
    place(harness, "o5")
    harness.ask("accept_order", "creator", order_id="o2")
    harness.pay("balance_of_o2", {"o2": BALANCE})
    harness.ask("decline_order", "creator", order_id="o3")
    for dataset in COLUMNS:
        output_options = ("--format", "parquet", "--output", tmp_path / dataset)
        result = run_earnest("export", dataset, *output_options, EARNEST_DATABASE_URL=url)
        assert result.status == 0, result.err
    script = project_root() / "tests" / "support" / "programs" / "read_exports.py"
    process = subprocess.run(
        [str(python), str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return dict(json.loads(process.stdout))


def test_parquet_files_have_the_types_and_totals_of_the_books(
    harness: StoreHarness, analysis: dict[str, Any]
) -> None:
    balances = {name: fen for name, fen in harness.reader.balances().items() if fen}
    held_fen = sum(order.held_fen for order in harness.uow.orders.values())
    for reader, types in TYPES.items():
        for dataset, kinds in COLUMNS.items():
            expected_types = {name: types[kind] for kind, names in kinds.items() for name in names}
            assert analysis[reader]["types"][dataset] == expected_types, (reader, dataset)
        assert {name: fen for name, fen in analysis[reader]["balances"].items() if fen} == balances
        assert analysis[reader]["held_fen"] == held_fen == balances["escrow"]
        assert analysis[reader]["latest_us"] == max(row.at for row in harness.rows("events"))
    assert to_us(harness.now) >= analysis["duckdb"]["latest_us"]
