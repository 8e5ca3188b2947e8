"""Whether traces are made, without loading OpenTelemetry where nobody asked for it: extra `streamapp-kafka[otel]`.

They are once the app's code, or OpenTelemetry's own start-up, has set a tracer provider: nobody sets one without having loaded the API.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

from streamapp.pipeline.tracing import Tracer

API: Final = "opentelemetry.trace"


def tracer(*, group: str, version: str, keys: bool) -> Tracer | None:
    """Return who hears of calls and commits; None where no provider was set. `keys`: spans carry record keys."""
    api: Any = sys.modules.get(API)
    if api is None or isinstance(api.get_tracer_provider(), (api.ProxyTracerProvider, api.NoOpTracerProvider)):
        return None
    made: Tracer = import_module("streamapp.monitor.spans").Spans(group=group, version=version, keys=keys)
    return made


def current() -> tuple[str, str] | None:
    """Return the ids of the trace and the span that this context is in; None where there are none."""
    api: Any = sys.modules.get(API)
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    return (api.format_trace_id(context.trace_id), api.format_span_id(context.span_id)) if context.is_valid else None


__all__ = ["current", "tracer"]
