"""Telling: scripts become commands, those of several orders in order of time."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from examples import debts, deposit, powers, repeats, standing, work
from examples.plot import Plot
from examples.script import Cue, Script
from models.lifecycle import State

VERBS = ChainMap(
    *(deposit.VERBS, work.VERBS, powers.VERBS),
    *(standing.VERBS, debts.VERBS, repeats.VERBS),
)
"""Everything that a script can ask for."""

SOON = 60.0
"""What waits longer than these seconds will not end while the campaign is played."""

Sequel = Callable[[Plot], Script]
"""What follows for an order whose script is over and whose work can begin."""

Waiting = list[tuple[float, int, Cue, Script]]


def no_sequel(_: Plot) -> Script:
    """Let a script be the whole story."""
    return ()


def tell(parts: Iterable[tuple[Plot, Script]], sequel: Sequel = no_sequel) -> float:
    """Tell several scripts at once; return when the last of their orders comes to rest."""
    plots: list[Plot] = []
    waiting: Waiting = []
    for n, (plot, script) in enumerate(parts):
        plots.append(plot)
        _prepare(waiting, n, plot, script or _go_on(plot, sequel))
    while waiting:
        at, n, cue, script = heappop(waiting)
        VERBS[cue.verb](plots[n], at, cue.options)
        _prepare(waiting, n, plots[n], script or _go_on(plots[n], sequel))
    return max(map(rest, plots))


def _prepare(waiting: Waiting, n: int, plot: Plot, script: Script) -> None:
    """Find out when the next command of a script is due."""
    if script:
        cue, *remaining_cues = script
        at = plot.moment(cue.moment) + plot.stage.between(cue.earliest, cue.latest)
        heappush(waiting, (at, n, cue, tuple(remaining_cues)))


def _go_on(plot: Plot, sequel: Sequel) -> Script:
    """Let an order that is paid go on without the others: looking ahead is no news to them."""
    order = plot.rehearsal.simulation.state.orders.get(plot.order_id)
    script = sequel(plot) if order and order.state is State.IN_FULFILMENT else ()
    if script:
        plot.rehearsal = plot.rehearsal.fork()
    return script


def rest(plot: Plot) -> float:
    """Return when an order comes to rest, if nobody says anything more."""
    end, orders = plot.last, plot.rehearsal.simulation.state.orders
    while plot.order_id in orders and orders[plot.order_id].lapses_at is not None:
        at = plot.moment("lapse")
        if at > plot.last + SOON:
            break
        end = max(end, at)
        plot.rehearsal.lapse(plot.order_id)
    return end
