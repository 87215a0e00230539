"""Tracing: spans for whoever has OpenTelemetry's SDK installed; without it, nothing happens.

The trace context itself travels without any of this: see `workers.turns.Received`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

MOST_LINKS = 128
"""Commands that the span of one batch is linked to: what the SDK keeps by default."""

INSTALLED = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    links: Iterable[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Iterator[str | None]:
    """Be a span for as long as something lasts; give the trace context of what follows from it.

    `parent` and `links` are W3C trace contexts. Without the SDK the parent is what is given.
    """
    if not INSTALLED:
        yield parent
        return
    from opentelemetry import trace  # noqa: PLC0415 - it may not be there

    tracer = trace.get_tracer("earnest")
    span_links = [
        trace.Link(trace.get_current_span(_context(traceparent)).get_span_context())
        for traceparent in links
    ]
    with tracer.start_as_current_span(
        name, context=_context(parent), links=span_links[:MOST_LINKS], attributes=dict(facts or {})
    ) as current:
        span_context = current.get_span_context()
        yield _written(span_context) if span_context.is_valid else parent


def _context(traceparent: str | None) -> Any:  # noqa: ANN401 - a type that may not be there
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

    carrier = {"traceparent": traceparent} if traceparent else {}
    return tracecontext.TraceContextTextMapPropagator().extract(carrier)


def _written(span: Any) -> str:  # noqa: ANN401
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
