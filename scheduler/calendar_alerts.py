"""Calendar alerts: tells operators, week by week, that the calendar of working days ends soon."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import select

from models import calendar
from models.events.event import Event
from models.events.notifications import OperatorAlerted
from models.reasons import Alert
from workers.database import bulk, mappers, schema
from workers.database.engine import reading, writing
from workers.database.repository import Store
from workers.timestamps import from_us, now_us

log = structlog.get_logger()


SUBJECT = "calendar:cn"


ALERT_INTERVAL = timedelta(days=7)
"""How often an operator is told again: who installs a calendar does not do so overnight."""


def alert_calendar_ends(store: Store) -> bool:
    """Tell an operator, once a week, that the calendar ends; return whether it was done now.

    Several schedulers may look at once: the number of the event lets one of them tell.
    """
    recorded_at = now_us()
    at = from_us(recorded_at)
    if not calendar.ends_soon(store.policy, at):
        return False
    table = schema.events.c
    latest_query = select(table.sequence, table.at).where(table.subject == SUBJECT)
    with reading(store.engine) as connection:
        latest = connection.execute(latest_query.order_by(table.sequence.desc()).limit(1)).first()
    if latest is not None and at < from_us(latest.at) + ALERT_INTERVAL:
        return False
    sequence = 1 if latest is None else latest.sequence + 1
    ends_at = calendar.end_of_day(calendar.last_known_day())
    fact = OperatorAlerted(alert=Alert.CALENDAR_ENDS, payment_id="", amount_fen=0, due_at=ends_at)
    event = Event(SUBJECT, sequence, at, "reminder:calendar", fact)
    row = mappers.event_row(event, recorded_at, {})
    with writing(store.engine) as connection:
        bulk.insert(connection, table=schema.events, rows=[row], ignore_existing=True)
    log.warning("calendar.ending", days_left=calendar.days_left(at))
    return True
