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
from workers.queries.reports.grouping import By, Row


class Name(StrEnum):
    """A report."""

    FUNNEL = "funnel"
    ENDINGS = "endings"
    MONEY = "money"
    FORECAST = "forecast"


BREAKDOWNS: dict[Name, tuple[By, ...]] = {
    Name.FUNNEL: order_reports.FUNNEL_GROUPINGS,
    Name.ENDINGS: order_reports.ENDING_GROUPINGS,
    Name.MONEY: money_reports.BREAKDOWNS,
    Name.FORECAST: order_reports.FORECAST_GROUPINGS,
}


COLUMNS: dict[Name, tuple[str, ...]] = {
    Name.FUNNEL: order_reports.FUNNEL_COLUMNS,
    Name.ENDINGS: order_reports.ENDING_COLUMNS,
    Name.MONEY: money_reports.COLUMNS,
    Name.FORECAST: order_reports.FORECAST_COLUMNS,
}
"""What rows say beside what they are about."""


ZONE = "Asia/Shanghai"


class NoSuchBreakdown(ValueError):
    """A report cannot be taken apart by this."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report as it is asked for; `at` and `within` matter to a forecast."""

    name: Name
    by: By | None
    at: datetime
    within: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        """Refuse a breakdown that the report does not have."""
        breakdowns = BREAKDOWNS[self.name]
        if self.by is not None and self.by not in breakdowns:
            choices = ", ".join(breakdown.value for breakdown in breakdowns)
            raise NoSuchBreakdown(f"by {self.by.value}: {self.name.value} goes by {choices}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Name what each row has."""
        by = By.STATE if self.name is Name.FORECAST and self.by is None else self.by
        return (*(() if by is None else (by.value,)), *COLUMNS[self.name])

    def rows(self, engine: Engine) -> Iterator[Row]:
        """Give the rows as the database adds them up; every row has every column, in order."""
        match self.name:
            case Name.FUNNEL:
                return order_reports.funnel(engine, self.by)
            case Name.ENDINGS:
                return order_reports.endings(engine, self.by)
            case Name.MONEY:
                return money_reports.money(engine, self.by)
            case Name.FORECAST:
                by = self.by or By.STATE
                return order_reports.forecast(engine, by, at=self.at, within=self.within)
