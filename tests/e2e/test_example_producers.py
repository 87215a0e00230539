"""Example producers: senders in other languages, against the real pipeline."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest

from ops.local.up import LocalStack
from tests.e2e.example_programs import (
    EXAMPLES,
    node_command,
    python_command,
    run_producer,
    shell_command,
)
from tests.support import sample_commands
from tests.support.stories import DEPOSIT

PRODUCERS = {"py": python_command, "mjs": node_command}


def order_commands(tag: str) -> list[dict[str, Any]]:
    """Write the beginning of an order, with one rejection and a name that is hard to encode."""
    order, payment = f"order_{tag}", f"pay_{tag}"
    return [
        *sample_commands.admit(),
        sample_commands.place(order, name='"春季"\\新品 \u00a0🙂'),
        sample_commands.pay(payment, {order: DEPOSIT}),
        sample_commands.accept(order),
        sample_commands.command("restore_quote", "client", order),
    ]


OUTCOMES = [("applied", None)] * 5 + [("rejected", "nothing_to_restore")]


@pytest.mark.parametrize("language", PRODUCERS)
def test_a_sender_in_another_language_learns_every_outcome(
    pipeline: LocalStack, language: str
) -> None:
    commands = order_commands(language)
    producer = str(EXAMPLES / f"producer.{language}")
    argv = [*PRODUCERS[language](), producer, pipeline.settings.redis_url]
    outcomes = {
        outcome["command_id"]: (outcome["outcome"], outcome["reason"])
        for outcome in run_producer(argv, commands)
    }
    assert [outcomes[command["id"]] for command in commands] == OUTCOMES
    repeats = run_producer(argv, commands)
    assert {outcome["outcome"] for outcome in repeats} == {"duplicate"}


def test_a_shell_learns_the_outcome_of_its_command(pipeline: LocalStack) -> None:
    socket = unquote(pipeline.settings.redis_url.removeprefix("unix://"))
    argv = [*shell_command(), str(EXAMPLES / "producer.sh")]
    for command, (outcome, reason) in zip(order_commands("sh"), OUTCOMES, strict=True):
        for expected in (outcome, "duplicate"):
            text = json.dumps(command, ensure_ascii=False)
            (receipt,) = run_producer([*argv, text, "-s", socket])
            assert (receipt["outcome"], receipt["reason"]) == (expected, reason)
            assert receipt["command_id"] == command["id"]
