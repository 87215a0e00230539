"""Deadline burst: many orders placed beforehand, whose deadlines all fall in the same second."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

from sqlalchemy import Engine

from models.fields import MICROSECOND
from models.ids import make_command_key, split_command_key
from models.policy import Policy
from tests.fault.checks.collected import SentCommand
from tests.fault.processes.order_lives import POLICY, OrderLife, OrderLifeFactory
from tests.support.clocks import FixedArrivalClock
from workers.database.migrations import migrate
from workers.database.repository import Store
from workers.processing.processor import BatchProcessor
from workers.queue.messages import Received
from workers.timestamps import from_us, now_us, to_us

BATCH_SIZE = 500

SETTLED_PER_S = 2_000
"""How fast orders are placed here, at least: they must not be due before all are there."""

START_UP = timedelta(seconds=20)
"""Until the processes are up, and trust a Redis that has just begun to remember."""


def place_orders(engine: Engine, number: int) -> list[SentCommand]:
    """Settle `number` orders that wait for a deposit; all are overdue within one second.

    They stand under a policy of their own, whose window ends when the processes are up.
    """
    migrate(engine)
    lead_time = START_UP + timedelta(seconds=number // SETTLED_PER_S)
    unchecked_policy = POLICY.model_copy(update={"deposit_window": lead_time})
    policy = Policy.model_validate(unchecked_policy.model_dump())
    began_at = from_us(now_us())
    store = Store(engine, policy)
    store.adopt_policy()
    processor = BatchProcessor(store, FixedArrivalClock(began_at), lambda: None)
    factory = OrderLifeFactory(Random(number), "crowd")  # noqa: S311
    registration = next(factory.register_creator())
    commands = [registration, *(OrderLife(factory, f"crowd-{n}").place() for n in range(number))]
    # An id of its own: the stack's sender registers the creator again.
    sender, command_id = split_command_key(registration.key)
    commands[0] = replace(
        registration,
        key=make_command_key(sender, "cmd-crowd"),
        text=registration.text.replace(command_id, "cmd-crowd"),
    )
    began_us = to_us(began_at)
    submissions = [
        SentCommand(command.key, command.text, began_us, began_us + n * 9 * 100_000 // (number + 1))
        for n, command in enumerate(commands)
    ]
    for n in range(0, len(submissions), BATCH_SIZE):
        processor.settle([_received(submission) for submission in submissions[n : n + BATCH_SIZE]])
    return submissions


def _received(submission: SentCommand) -> Received:
    assert submission.stamp is not None
    return Received(
        submission.text,
        from_us(0) + submission.stamp * MICROSECOND,
        submission.stamp,
        submission.key,
    )
