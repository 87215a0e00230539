"""Archived orders: a store harness that can end, publish and archive what was asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, select, text

from models.lifecycle import OWED_STATUSES
from models.service.outcome import Outcome
from scheduler import maintenance
from tests.support.store_harness import StoreHarness
from workers.database import schema
from workers.database.archive_schema import ARCHIVED
from workers.database.engine import reading, writing

ARCHIVE_AFTER = timedelta(days=30)


@dataclass(kw_only=True)
class ArchivingHarness(StoreHarness):
    """A store harness that remembers its commands, and can archive its orders."""

    commands_handled: list[tuple[dict[str, Any], datetime]] = field(default_factory=list)

    def handle(self, body: dict[str, Any], at: datetime) -> Outcome:
        self.commands_handled.append((body, at))
        return super().handle(body, at)

    def confirm_obligations(self) -> None:
        """Confirm everything that is owed."""
        for refund in [
            refund for refund in self.uow.refunds.values() if refund.status in OWED_STATUSES
        ]:
            self.ask("confirm_refund", "payments", refund_id=refund.refund_id)
        for payout in [
            payout for payout in self.uow.payouts.values() if payout.status in OWED_STATUSES
        ]:
            self.ask("confirm_payout", "payments", payout_id=payout.payout_id)

    def publish(self) -> None:
        """Mark every event as published, as the relay does; the newest is about something else."""
        self.ask("register_mcn", "platform", mcn_id="m9", name="M9")
        mark_published(self.engine)

    def archive(self, *, older_than: timedelta = ARCHIVE_AFTER) -> int:
        """Archive as if so much time had passed since the last command; return how many orders."""
        now = self.now + ARCHIVE_AFTER
        return maintenance.archive_orders(
            self.store, maintenance.ArchiveCutoff(now - older_than, now)
        )

    def archive_all(self) -> ArchivingHarness:
        """Bring everything to rest; one order at least is archived."""
        self.confirm_obligations()
        self.publish()
        assert self.archive(older_than=timedelta(0)) > 0
        assert self.archive(older_than=timedelta(0)) == 0
        return self


def mark_published(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE events SET published_at = 1 WHERE published_at IS NULL"))


def count_live_and_archived(engine: Engine, name: str = "orders") -> tuple[int, int]:
    """Count the rows of a table, and those of its archive."""
    table = schema.metadata.tables[name]
    with reading(engine) as connection:
        count_queries = (
            select(func.count()).select_from(source) for source in (table, ARCHIVED[table])
        )
        live_count, archived_count = (
            connection.execute(query).scalar_one() for query in count_queries
        )
    return int(live_count), int(archived_count)
