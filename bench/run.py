"""Run: the benchmark, as tables for people and as JSON for programs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import peer_environments
from bench.measures import (
    bulk_extend,
    command_cost,
    creator_changes,
    deadlines,
    export,
    latency,
    memory,
    noisy_neighbours,
    storage,
    task_list_pages,
    throughput,
)
from bench.measures.latency import percentile
from bench.presets import QUICK, TINY, WHOLE, BenchSize
from ops import terminal
from tests.support.servers import postgres_binaries

Figures = dict[str, Any]

PARTS = (
    "throughput",
    "path",
    "sizes",
    "peers",
    "latency",
    "deadlines",
    "memory",
    "growth",
    "export",
    "reads",
    "extend",
    "creators",
    "neighbours",
)

QUICK_PARTS = ("throughput", "peers", "latency", "deadlines")
"""What is measured in four minutes; the others tell little in a short run, or where asked for."""

TITLES = {
    "path": "Time of one command",
    "sizes": "Sizes",
    "latency": "Latency, ms,",
    "export": "Export",
    "extend": "More time",
}
"""What is a table of its own for each database."""

MATRICES = {
    "creators": ("Changes", ("of a creator", *creator_changes.COLUMNS)),
    "neighbours": ("People's waits", ("beside", *noisy_neighbours.COLUMNS)),
}
"""The same, with a row for each trial."""


def main() -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="earnest bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main part, in four minutes")
    parser.add_argument("--tiny", action="store_true", help="only to see that it works")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given again")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="only on this one")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--plots", metavar="FOLDER", type=Path, help="draw SVG files there")
    options = parser.parse_args()
    figures = measure(
        options.only or (QUICK_PARTS if options.quick else PARTS),
        QUICK if options.quick else TINY if options.tiny else WHOLE,
        [options.database] if options.database else available_databases(),
    )
    if options.plots:
        peer_environments.draw(figures, options.plots.resolve())
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        print_tables(figures)
    return 0


def measure(parts: Sequence[str], size: BenchSize, databases: Sequence[str]) -> Figures:
    """Take the measurements one after the other, with nothing beside them."""
    rates: dict[str, float] = {}
    measurements: dict[str, Callable[[], Figures]] = {
        "path": lambda: {
            database: command_cost.figures(database, size.orders) for database in databases
        },
        "sizes": lambda: {
            database: storage.figures(database, size.orders) for database in databases
        },
        "latency": lambda: latency_figures(size, databases),
        "deadlines": lambda: deadline_figures(size),
        "memory": lambda: memory.flatness(memory.growth(size.memory)),
        "growth": lambda: growth_figures(size),
        "export": lambda: {
            database: export.figures(database, size.exported) for database in databases
        },
        "extend": lambda: {
            database: bulk_extend.figures(database, size.extended) for database in databases
        },
        "creators": lambda: {
            database: creator_changes.figures(database, size.concerned) for database in databases
        },
        "neighbours": lambda: {
            database: noisy_neighbours.figures(database, size.noisy_s) for database in databases
        },
        "reads": lambda: {
            database: task_list_pages.pages(database, size.listed, size.readings)
            for database in databases
        },
    }
    if "throughput" in parts:
        rates |= own_rates(size, databases)
    if "peers" in parts:
        rates |= peer_rates(size, databases)
    figures: Figures = {"machine": machine(), "rates": rates, "ratios": ratios(rates)}
    for name, take in measurements.items():
        if name in parts:
            figures[name] = show_progress(name, take())
    return figures


def available_databases() -> list[str]:
    """Return the databases that can be measured here."""
    if postgres_binaries() is None:
        print("PostgreSQL is not installed: only SQLite is measured", file=sys.stderr)
        return ["sqlite"]
    return ["sqlite", "postgresql"]


def own_rates(size: BenchSize, databases: Sequence[str]) -> dict[str, float]:
    """Measure the yardstick, ours, and the naive actor: what a second settles.

    Rounds of all of them, so that an hour in which the machine is slower makes none look slower
    than the others; of each the median counts.
    """
    trials: dict[str, Callable[[], float]] = {
        f"empty actor ×{processes}": partial(throughput.empty_actor, 3 * size.orders, processes)
        for processes in size.processes[:2]
    }
    for database in databases:
        trials |= database_trials(size, database)
    rates: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(size.rounds):
        for name, trial in trials.items():
            rates[name].append(trial())
            show_progress(name, round(rates[name][-1]))
    return {name: round(median(readings)) for name, readings in rates.items()}


def database_trials(size: BenchSize, database: str) -> dict[str, Callable[[], float]]:
    """Name what is measured of one database."""
    trials: dict[str, Callable[[], float]] = {
        f"{database}, {per_message} a message ×{processes}": partial(
            throughput.settle_rate, database, size.orders, per_message, processes
        )
        for per_message in size.per_message
        for processes in size.processes
    }
    hurried, in_a_hurry = throughput.hurried_rate, size.processes_in_a_hurry
    trials[f"{database}, where order costs ×{in_a_hurry}"] = partial(
        hurried, database, size.orders, in_a_hurry
    )
    naive = partial(throughput.naive, database, size.naive_orders, 2)
    return trials | {f"{database}, one transaction each ×2": naive}


def peer_rates(size: BenchSize, databases: Sequence[str]) -> dict[str, float]:
    """Measure the same three steps an order as others would take them, on PostgreSQL."""
    if "postgresql" not in databases:
        return {}
    rates = {}
    for peer in (peer_environments.CELERY, peer_environments.DBOS, peer_environments.PROCRASTINATE):
        version, rate = peer_environments.measure(peer, size.peer_orders)
        rates[version] = show_progress(version, round(rate))
    return rates


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """Compare with the better of the empty actor's processes, and ours with the peers."""
    results = {}
    for key, name in {
        "single_sqlite": "sqlite, 1 a message",
        "single_postgresql": "postgresql, 1 a message",
        "bulk100_sqlite": "sqlite, 100 a message",
        "bulk100_postgresql": "postgresql, 100 a message",
        "naive_sqlite": "sqlite, one transaction each",
        "naive_postgresql": "postgresql, one transaction each",
    }.items():
        results[key] = ratio_of(best_rate(rates, name), best_rate(rates, "empty actor"))
    for database in ("sqlite", "postgresql"):
        results[f"order_{database}"] = order_ratio(rates, database)
    for peer in ("celery", "dbos", "procrastinate"):
        results[peer] = ratio_of(
            best_rate(rates, "postgresql, 1 a message"), best_rate(rates, peer)
        )
    return {key: ratio for key, ratio in results.items() if ratio}


def order_ratio(rates: dict[str, float], database: str) -> float:
    """Compare where order costs with where it costs nothing, by as many processes."""
    for name, rate in rates.items():
        row, _, processes = name.partition(" ×")
        if row == f"{database}, where order costs":
            return ratio_of(rate, rates[f"{database}, 1 a message ×{processes}"])
    return 0.0


def ratio_of(rate: float, yardstick: float) -> float:
    """Divide, or return 0 where one of the two was not measured."""
    return round(rate / yardstick, 2) if yardstick else 0.0


def best_rate(rates: dict[str, float], name: str) -> float:
    """Return the best rate of what begins with a name, whatever the number of processes."""
    return max((rate for key, rate in rates.items() if key.startswith(f"{name} ")), default=0.0)


def latency_figures(size: BenchSize, databases: Sequence[str]) -> Figures:
    """Measure how long a sender waits for a published outcome, in ms, at half of the full load.

    Full is what is settled and published when a sender hands in as fast as it can.
    """
    figures: Figures = {}
    for database in databases:
        full = latency.full_load(database, size.orders)
        waits = latency.open_loop(database, full / 2, size.load_s)
        latencies = {f"p{percent:g}": percentile(waits, percent) for percent in (50, 90, 99, 99.9)}
        latencies |= {"max": waits[-1], "per_s": full / 2}
        latencies["after_idleness"] = latency.after_idleness(database, size.idle_s)
        figures[database] = {key: round(value, 1) for key, value in latencies.items()}
    return figures


def deadline_figures(size: BenchSize) -> Figures:
    """Measure the clock's side: an idle tick, a storm, and lateness with many armed."""
    late = deadlines.lateness("sqlite", size.armed, 20, size.late_s)
    return {
        "armed": size.armed,
        "idle_tick_ms": round(deadlines.idle_tick_ms("sqlite", size.armed), 2),
        **deadlines.storm("sqlite", size.at_once, 50),
        "lateness_p50_s": round(percentile(late, 50), 3),
        "lateness_p99_s": round(percentile(late, 99), 3),
    }


def growth_figures(size: BenchSize) -> Figures:
    """Measure commands a second with few and with many orders in the database already."""
    few_per_s, many_per_s = (
        throughput.settle_rate_among("sqlite", existing, size.orders) for existing in size.grown
    )
    names = [f"per_s_at_{existing}" for existing in size.grown]
    rates = dict(zip(names, (round(few_per_s), round(many_per_s)), strict=True))
    return rates | {"cost_ratio": round(few_per_s / many_per_s, 2)}


def machine() -> dict[str, object]:
    """Say what it was measured on, as far as it matters."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
    }


def show_progress(name: str, figures: Any) -> Any:  # noqa: ANN401 - a figure, or several
    """Show progress: what was just measured."""
    print(
        f"{name}: {figures:,}" if isinstance(figures, int) else f"{name}: {figures}",
        file=sys.stderr,
    )
    return figures


def print_tables(figures: Figures) -> None:
    """Print tables."""
    rows = [(name, int(rate)) for name, rate in figures["rates"].items()]
    print(terminal.draw_table("Throughput", ("what", "commands/s"), rows))
    names = [(name, f"{ratio:.2f}") for name, ratio in figures["ratios"].items()]
    print(terminal.draw_table("Ratios", ("what", "×"), names))
    for part, title in TITLES.items():
        for database, values in figures.get(part, {}).items():
            value_rows = [(name, f"{value:,}") for name, value in values.items()]
            print(terminal.draw_table(f"{title} on {database}", ("what", "value"), value_rows))
    for part in ("deadlines", "memory", "growth"):
        if part in figures:
            value_rows = [(name, f"{value:,}") for name, value in figures[part].items()]
            print(terminal.draw_table(part.capitalize(), ("what", "value"), value_rows))
    for part, (title, heads) in MATRICES.items():
        for database, values in figures.get(part, {}).items():
            cells = [
                (name, *(f"{value:,}" for value in row.values())) for name, row in values.items()
            ]
            print(terminal.draw_table(f"{title} on {database}", heads, cells))
    for database, values in figures.get("reads", {}).items():
        print(
            terminal.draw_table(
                f"Task lists on {database}",
                ("who asks", *task_list_pages.COLUMNS),
                task_list_pages.table_rows(values),
            )
        )


if __name__ == "__main__":
    sys.exit(main())
