"""Presets: how much the benchmark measures, thoroughly, in four minutes, or only to try it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BenchSize:
    """How much is measured: numbers of things, and seconds."""

    orders: int = 12_000
    naive_orders: int = 800
    peer_orders: int = 2_000
    processes: tuple[int, ...] = (1, 2, 3, 4)
    per_message: tuple[int, ...] = (1, 10, 100)
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
    concerned: int = 100_000
    noisy_s: int = 20
    readings: int = 3
    rounds: int = 3

    @property
    def processes_in_a_hurry(self) -> int:
        """Return by how many workers it is measured what order costs: two, if any."""
        return min(2, max(self.processes))


WHOLE = BenchSize()

# Enough commands for some seconds at full speed: fewer tell of anything but the speed.
QUICK = BenchSize(
    orders=6_000,
    naive_orders=300,
    peer_orders=200,
    processes=(2,),
    per_message=(1, 100),
    load_s=5,
    idle_s=2,
    armed=50_000,
    at_once=10_000,
    late_s=5,
    memory=12_000,
    grown=(10_000, 50_000),
    exported=30_000,
    listed=100_000,
    extended=5_000,
    concerned=5_000,
    noisy_s=5,
    readings=2,
    rounds=1,
)

TINY = BenchSize(
    orders=200,
    naive_orders=10,
    peer_orders=20,
    processes=(1,),
    load_s=1,
    idle_s=1,
    armed=1_000,
    at_once=500,
    late_s=2,
    memory=600,
    grown=(100, 1_000),
    exported=600,
    listed=2_000,
    extended=100,
    concerned=600,
    noisy_s=1,
    readings=1,
    rounds=1,
)
