"""Leases: rights that end by themselves, so that nobody has to be declared dead."""

from __future__ import annotations

from sqlalchemy import Engine

from workers import tables
from workers.clock import now_us
from workers.database import insert_new, writing


def hold(engine: Engine, name: str, holder: str, length_us: int) -> bool:
    """Take or renew a lease; tell whether the holder has it now.

    A holder that sleeps through its lease may act once more when it wakes, so what a lease guards
    must survive that: it saves work, it does not protect money.
    """
    table, now = tables.leases, now_us()
    row = {"name": name, "holder": holder, "until": now + length_us}
    is_available = (table.c.holder == holder) | (table.c.until < now)
    take = table.update().where(table.c.name == name, is_available).values(row)
    with writing(engine) as connection:
        if connection.execute(take).rowcount:
            return True
        insert_new(connection, table, [row])
        lease = connection.execute(table.select().where(table.c.name == name)).one()
        return bool(lease.holder == holder)


def let_go(engine: Engine, name: str, holder: str) -> None:
    """End a lease that is ours, so that the next in line need not wait for its end."""
    table = tables.leases
    is_own_lease = (table.c.name == name) & (table.c.holder == holder)
    with writing(engine) as connection:
        connection.execute(table.delete().where(is_own_lease))
