"""Presets: how much the benchmark measures, thoroughly, in three minutes, or only to try it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class BenchSize:
    """How much is measured: numbers of things, and seconds."""

    orders: int = 12_000
    naive_orders: int = 800
    peer_orders: int = 2_000
    processes: tuple[int, ...] = (1, 2, 3, 4)
    load_s: float = 30
    idle_s: float = 60
    armed: int = 1_000_000
    at_once: int = 100_000
    late_s: int = 60
    memory: int = 1_000_000
    grown: tuple[int, int] = (10_000, 5_000_000)
    exported: int = 1_000_000
    listed: int = 1_000_000
    extended: int = 100_000
    readings: int = 3


WHOLE = BenchSize()

QUICK = replace(
    BenchSize(3_000, 100, 200, (2,), 5, 2, 50_000, 10_000, 5, 12_000, (10_000, 50_000), 30_000),
    listed=100_000,
    extended=5_000,
    readings=2,
)

TINY = replace(
    BenchSize(200, 10, 20, (1,), 1, 1, 1_000, 500, 2, 600, (100, 1_000), 600),
    listed=2_000,
    extended=100,
    readings=1,
)
