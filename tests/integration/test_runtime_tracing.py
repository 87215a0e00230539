"""Tracing: spans where a provider is set; without one, trace contexts are passed on."""

from __future__ import annotations

import os
import subprocess
import sys

from workers.runtime import span
from workers.settings import project_root

TRACE_CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# A provider can be set once in a process, so this runs in a process of its own.
TRACED_PROGRAM = """
from datetime import timedelta
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from dataclasses import replace
from tests.support.store_harness import StoreHarness
from tests.support.sample_commands import admit
from tests.support.stories import START
from workers.database.engine import open_database
from workers.database.migrations import migrate
from workers.runtime import span
import sys, pathlib, tempfile

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with span("submit", parent=sys.argv[1], attributes={"commands": 1}) as trace_context:
    pass
with tempfile.TemporaryDirectory() as folder:
    engine = open_database(f"sqlite:///{folder}/earnest.db")
    migrate(engine)
    harness = StoreHarness(engine=engine)
    harness.settle(replace(harness.receive(admit()[0], START), trace=trace_context))
    (settled_event,) = [row for row in harness.rows("events") if row.type == "command.settled"]
submitted, settled = exporter.get_finished_spans()
assert (submitted.name, settled.name) == ("submit", "settle")
assert f"{submitted.context.trace_id:032x}" == sys.argv[1].split("-")[1]
assert f"{submitted.parent.span_id:016x}" == sys.argv[1].split("-")[2]
assert [link.context.span_id for link in settled.links] == [submitted.context.span_id]
assert dict(settled.attributes) == {"commands": 1, "orders": 0}
assert settled_event.trace == trace_context != sys.argv[1]
print("traced")
"""


def test_a_request_is_a_span_and_a_commit_one_that_is_linked_to_it() -> None:
    process = subprocess.run(
        [sys.executable, "-c", TRACED_PROGRAM, TRACE_CONTEXT],
        cwd=project_root(),
        env=os.environ | {"PYTHONPATH": str(project_root())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.stdout.endswith("traced\n"), process.stderr


def test_without_a_provider_a_span_passes_on_the_trace_context_of_its_parent() -> None:
    for parent in (TRACE_CONTEXT, None):
        with span("submit", parent=parent, links=[TRACE_CONTEXT]) as trace_context:
            assert trace_context == parent
