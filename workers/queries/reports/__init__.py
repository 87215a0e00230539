"""Reports: every report by its name, what it can be broken down by, and what its rows say.

The database adds up, so that memory stays flat. Every report gives its rows in the order of what
it is broken down by, with the same answer from both databases. Amounts are fen; a month is one of
Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine

from workers.queries.reports import money as money_reports
from workers.queries.reports import orders as order_reports
from workers.queries.reports.grouping import Grouping, ReportRow


class ReportName(StrEnum):
    """A report."""

    FUNNEL = "funnel"
    ENDINGS = "endings"
    MONEY = "money"
    FORECAST = "forecast"


GROUPINGS: dict[ReportName, tuple[Grouping, ...]] = {
    ReportName.FUNNEL: order_reports.FUNNEL_GROUPINGS,
    ReportName.ENDINGS: order_reports.ENDING_GROUPINGS,
    ReportName.MONEY: money_reports.MONEY_GROUPINGS,
    ReportName.FORECAST: order_reports.FORECAST_GROUPINGS,
}


COLUMNS: dict[ReportName, tuple[str, ...]] = {
    ReportName.FUNNEL: order_reports.FUNNEL_COLUMNS,
    ReportName.ENDINGS: order_reports.ENDING_COLUMNS,
    ReportName.MONEY: money_reports.MONEY_COLUMNS,
    ReportName.FORECAST: order_reports.FORECAST_COLUMNS,
}
"""What rows say beside what they are about."""


ZONE = "Asia/Shanghai"


class NoSuchGrouping(ValueError):
    """A report cannot be taken apart by this."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One report as it is asked for; `at` and `within` matter to a forecast."""

    name: ReportName
    by: Grouping | None
    at: datetime
    within: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        """Refuse a breakdown that the report does not have."""
        breakdowns = GROUPINGS[self.name]
        if self.by is not None and self.by not in breakdowns:
            choices = ", ".join(breakdown.value for breakdown in breakdowns)
            raise NoSuchGrouping(f"by {self.by.value}: {self.name.value} goes by {choices}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Name what each row has."""
        by = Grouping.STATE if self.name is ReportName.FORECAST and self.by is None else self.by
        return (*(() if by is None else (by.value,)), *COLUMNS[self.name])

    def rows(self, engine: Engine) -> Iterator[ReportRow]:
        """Give the rows as the database adds them up; every row has every column, in order."""
        match self.name:
            case ReportName.FUNNEL:
                return order_reports.funnel(engine, self.by)
            case ReportName.ENDINGS:
                return order_reports.endings(engine, self.by)
            case ReportName.MONEY:
                return money_reports.money(engine, self.by)
            case ReportName.FORECAST:
                by = self.by or Grouping.STATE
                return order_reports.forecast(engine, by, at=self.at, within=self.within)
