"""Catalogue: every report by its name, what it can be broken down by, and what its rows say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine

from workers.reports import endings, forecast, funnel, money
from workers.reports.breakdown import By, Row


class Name(StrEnum):
    """A report."""

    FUNNEL = "funnel"
    ENDINGS = "endings"
    MONEY = "money"
    FORECAST = "forecast"


BREAKDOWNS: dict[Name, tuple[By, ...]] = {
    Name.FUNNEL: funnel.BREAKDOWNS,
    Name.ENDINGS: endings.BREAKDOWNS,
    Name.MONEY: money.BREAKDOWNS,
    Name.FORECAST: forecast.BREAKDOWNS,
}

COLUMNS: dict[Name, tuple[str, ...]] = {
    Name.FUNNEL: funnel.COLUMNS,
    Name.ENDINGS: endings.COLUMNS,
    Name.MONEY: money.COLUMNS,
    Name.FORECAST: forecast.COLUMNS,
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
                return funnel.funnel(engine, self.by)
            case Name.ENDINGS:
                return endings.endings(engine, self.by)
            case Name.MONEY:
                return money.money(engine, self.by)
            case Name.FORECAST:
                by = self.by or By.STATE
                return forecast.forecast(engine, by, at=self.at, within=self.within)
