"""Parties: agencies, clients and service providers as last registered, and reported violations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Mcn:
    """An agency as last registered."""

    mcn_id: str
    name: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client as last registered."""

    client_id: str
    name: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A service provider as last registered."""

    provider_id: str
    name: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A violation as first reported: by whom, with what content, and when it was overturned."""

    violation_id: str
    creator_id: str
    content: bytes
    reported_at: datetime
    overturned_at: datetime | None = None
