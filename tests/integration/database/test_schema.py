"""Schema: the database refuses rows that no program of ours would write."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from models.errors import BrokenInvariant, Conflict, Unavailable
from tests.support.servers import PostgresServer
from tests.support.store_harness import StoreHarness
from tests.support.stories import read_table
from workers.database import schema
from workers.database.engine import open_database, reading, writing
from workers.server_checks import refuse_unsafe_postgresql
from workers.settings import SettingsError


@pytest.fixture
def filled_harness(harness: StoreHarness) -> StoreHarness:
    """Give a harness with rows in every table that the rules fill, and one order that has ended."""
    harness.bring_to("cancelled_agency")
    harness.offer("o2")
    harness.pay("stray", {"nobodys": 100})
    harness.ask("nudge_creator", "client", order_id="o1")
    harness.ask("confirm_refund", "payments", refund_id=harness.rows("refunds")[0].refund_id)
    return harness


def execute(engine: Engine, statement: str) -> int:
    with writing(engine) as connection:
        return connection.execute(text(statement)).rowcount


UNWRITABLE = read_table("""
    constraint                          change
    ck_orders_state_known               orders SET state = 'lost' WHERE order_id = 'o2'
    ck_orders_ended                     orders SET reason = NULL WHERE order_id = 'o1'
    ck_orders_ended                     orders SET reason = 'why not' WHERE order_id = 'o2'
    ck_orders_final_holds_nothing       orders SET held_fen = 1 WHERE order_id = 'o1'
    ck_orders_waits_and_wakes           orders SET wake_at = NULL WHERE order_id = 'o2'
    ck_orders_money_in_range            orders SET amount_fen = 0
    ck_orders_money_in_range            orders SET original_amount_fen = 0
    ck_orders_money_in_range            orders SET total_fen = amount_fen - 1
    ck_orders_money_in_range            orders SET deposit_fen = -1
    ck_orders_money_in_range            orders SET deposit_fen = total_fen + 1
    ck_orders_money_in_range            orders SET held_fen = -1 WHERE order_id = 'o2'
    ck_orders_money_in_range            orders SET held_fen = total_fen + 1 WHERE order_id = 'o2'
    ck_orders_money_in_range            orders SET balance_due_fen = -1
    ck_orders_money_in_range            orders SET balance_due_fen = total_fen + 1
    ck_orders_shown_as_it_is            orders SET public_status = 'lost'
    ck_orders_shown_as_it_is            orders SET public_status = 'finished' WHERE order_id = 'o1'
    ck_receipts_outcome_known           receipts SET outcome = 'maybe', reason = NULL
    ck_receipts_refusal_says_why        receipts SET reason = NULL WHERE outcome = 'rejected'
    ck_receipts_refusal_says_why        receipts SET reason = 'late' WHERE outcome = 'applied'
    ck_events_sequence_counts           events SET sequence = 0 WHERE position = 1
    ck_postings_moves_something         postings SET amount_fen = 0
    ck_postings_moves_something         postings SET amount_fen = -1
    ck_postings_moves_somewhere         postings SET target = source
    ck_payments_some_money              payments SET amount_fen = 0
    ck_payments_no_foresight            payments SET paid_at = received_at + 1
    ck_refunds_some_money               refunds SET amount_fen = 0
    ck_payouts_some_money               payouts SET amount_fen = 0
    ck_refunds_status_known             refunds SET status = 'lost', confirmed_at = NULL
    ck_refunds_confirmed_says_when      refunds SET confirmed_at = NULL WHERE status = 'confirmed'
    ck_refunds_waits_while_owed         refunds SET waits_since = 1 WHERE status = 'confirmed'
    ck_refunds_attempts_count           refunds SET attempt = 0
    ck_payouts_status_known             payouts SET status = 'lost', waits_since = NULL
    ck_payouts_confirmed_says_when      payouts SET confirmed_at = 1
    ck_payouts_waits_while_owed         payouts SET status = 'reversed'
    ck_payouts_attempts_count           payouts SET attempt = 0
    ck_payouts_held_waits_not           payouts SET held_at = 1
    ck_suspended_some_money             suspended SET amount_fen = 0
    ck_creators_standing_known          creators SET standing = 'famous'
""")


@pytest.mark.parametrize("row", UNWRITABLE, ids=lambda row: row["change"])
def test_the_database_refuses_an_impossible_row(
    filled_harness: StoreHarness, row: dict[str, str]
) -> None:
    before = filled_harness.rows(row["change"].split()[0])
    with pytest.raises(BrokenInvariant, match=row["constraint"]):
        execute(filled_harness.engine, f"UPDATE {row['change']}")
    assert filled_harness.rows(row["change"].split()[0]) == before


def test_every_check_constraint_has_an_impossible_row_to_try_it(
    filled_harness: StoreHarness,
) -> None:
    declared = {
        str(constraint.name)
        for db_table in schema.metadata.tables.values()
        for constraint in db_table.constraints
    }
    checks = {name for name in declared if name.startswith("ck_")}
    # An archive table has the same checks as its original: those it adds are tried below.
    own_checks = {name for name in checks if not name.startswith("ck_archived_")}
    assert own_checks == {row["constraint"] for row in UNWRITABLE}
    assert {f"ck_archived_{name}_at_rest" for name in NOT_ENDED} < checks
    for row in UNWRITABLE:
        name, _, condition = row["change"].partition(" WHERE ")
        where_clause = f" WHERE {condition}" if condition else ""
        with reading(filled_harness.engine) as connection:
            query = text(f"SELECT 1 FROM {name.split()[0]}{where_clause}")  # noqa: S608
            assert connection.execute(query).first(), f"{row['change']} concerns no row"


# What the archive refuses, though its original holds it: what has not come to rest.
NOT_ENDED = {
    "orders": "ended_at IS NULL",
    "events": "published_at IS NULL",
    "refunds": "status IN ('failed', 'requested')",
    "payouts": "status IN ('failed', 'requested')",
}


@pytest.mark.parametrize("name", NOT_ENDED)
def test_the_archive_refuses_rows_that_are_still_open(
    filled_harness: StoreHarness, name: str
) -> None:
    if name == "refunds":
        filled_harness.ask("cancel_order", "client", order_id="o2")
    columns = ", ".join(schema.metadata.tables[name].c.keys())
    open_rows_query = f"SELECT {columns} FROM {name} WHERE {NOT_ENDED[name]}"  # noqa: S608
    with reading(filled_harness.engine) as connection:
        assert connection.execute(text(open_rows_query)).first(), "nothing is open"
    with pytest.raises(BrokenInvariant, match=f"ck_archived_{name}_at_rest"):
        execute(filled_harness.engine, f"INSERT INTO archived_{name} ({columns}) {open_rows_query}")


EVENT = "subject, sequence, type, at, recorded_at, caused_by, body"
REFUND = "base_id, payment_id, order_id, client_id, amount_fen, requested_at, confirmed_at"
REFUND += ", status, attempt, alerts, reference_stem"
SAME_REFERENCE = f"SELECT refund_id || '~9', {REFUND} FROM refunds"  # noqa: S608

DUPLICATES = [
    "orders SELECT * FROM orders",
    "receipts SELECT * FROM receipts",
    "postings SELECT * FROM postings",
    "payments SELECT * FROM payments",
    "creators SELECT * FROM creators",
    "mcns SELECT * FROM mcns",
    "payouts SELECT * FROM payouts",
    "suspended SELECT * FROM suspended",
    "policies SELECT * FROM policies",
    "refunds SELECT * FROM refunds",
    f"refunds (refund_id, {REFUND}) {SAME_REFERENCE}",
    f"events ({EVENT}) SELECT {EVENT} FROM events",  # noqa: S608
]


@pytest.mark.parametrize("twin", DUPLICATES, ids=lambda twin: twin[:10])
def test_the_database_refuses_a_duplicate_row(filled_harness: StoreHarness, twin: str) -> None:
    with pytest.raises(Conflict):
        execute(filled_harness.engine, f"INSERT INTO {twin}")


DEAD_LETTER = "(command, received_at, stamp, error, died_at) VALUES ('accept', 1, 7, 'why', 2)"

QUARANTINED = (
    "(queue, message_id, reason, payload, size, quarantined_at) VALUES ('q', 'm', '', {}, 0, 1)"
)


@pytest.mark.parametrize("row", [f"dead_letters {DEAD_LETTER}", f"quarantine {QUARANTINED}"])
def test_a_dead_letter_or_quarantined_message_is_stored_once(
    filled_harness: StoreHarness, row: str
) -> None:
    empty_bytes = {"sqlite": "x''", "postgresql": "''"}[filled_harness.engine.dialect.name]
    statement = f"INSERT INTO {row}".replace("{}", empty_bytes)
    assert execute(filled_harness.engine, statement) == 1
    with pytest.raises(Conflict):
        execute(filled_harness.engine, statement)


@pytest.mark.parametrize("column", ["order_id", "document", "placed_at", "policy_version"])
def test_a_column_that_every_order_has_cannot_be_null(
    filled_harness: StoreHarness, column: str
) -> None:
    with pytest.raises(BrokenInvariant):
        execute(filled_harness.engine, f"UPDATE orders SET {column} = NULL")  # noqa: S608


def test_an_amount_cannot_be_a_text_or_a_fraction(filled_harness: StoreHarness) -> None:
    for value in ("'much'", "'1.5'"):
        with pytest.raises(Exception, match=r"invalid input syntax|cannot store (TEXT|REAL)"):
            execute(filled_harness.engine, f"UPDATE postings SET amount_fen = {value}")  # noqa: S608


def test_a_refusal_of_the_database_does_not_repeat_what_was_in_the_row(
    filled_harness: StoreHarness,
) -> None:
    with pytest.raises(BrokenInvariant) as refusal:
        execute(filled_harness.engine, "UPDATE orders SET amount_fen = 0")
    assert "春季" not in str(refusal.value)


def test_a_database_that_is_away_is_unavailable_and_says_so_in_a_line() -> None:
    for url in (
        "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "sqlite:////no/such/folder/earnest.db",
    ):
        engine = open_database(url)
        with pytest.raises(Unavailable) as unavailable, reading(engine) as connection:
            connection.execute(text("SELECT 1"))
        assert "\n" not in str(unavailable.value)
        engine.dispose()


def database_with_setting(url: str, setting: str) -> Engine:
    """Open a database under a setting of its own."""
    engine = open_database(url)
    execute(engine, f"ALTER DATABASE {engine.url.database} SET {setting}")
    engine.dispose()
    return engine


@pytest.mark.postgres
def test_a_standby_is_unavailable_and_not_at_fault(postgresql_url: str) -> None:
    engine = database_with_setting(postgresql_url, "default_transaction_read_only = on")
    with pytest.raises(Unavailable, match="read-only"):
        execute(engine, "CREATE TABLE t AS SELECT 1")
    engine.dispose()


@pytest.mark.postgres
def test_a_lock_that_cannot_be_had_makes_the_database_unavailable(postgresql_url: str) -> None:
    engine = open_database(postgresql_url)
    execute(engine, "CREATE TABLE t AS SELECT 1 AS n")
    with writing(engine) as holder:
        holder.execute(text("UPDATE t SET n = 2"))
        with pytest.raises(Unavailable):
            execute(engine, "SELECT n FROM t FOR UPDATE NOWAIT")
    engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_every_text_is_refused(
    postgres_server: PostgresServer, encoding: str
) -> None:
    with postgres_server.database(encoding) as url:
        engine = open_database(url)
        with pytest.raises(SettingsError, match=encoding):
            refuse_unsafe_postgresql(engine)
        engine.dispose()


@pytest.mark.postgres
def test_an_encoding_in_the_environment_changes_nothing(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = open_database(postgresql_url)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT '定金'")).scalar_one() == "定金"
    engine.dispose()


@pytest.mark.postgres
def test_a_postgresql_with_synchronous_commit_off_is_refused(postgresql_url: str) -> None:
    engine = database_with_setting(postgresql_url, "synchronous_commit = off")
    with pytest.raises(SettingsError, match="synchronous_commit off"):
        refuse_unsafe_postgresql(engine)
    engine.dispose()
