"""What pages and probes ask of a worker: answers from memory, None where it does not know itself yet."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from streamapp.monitor.status import StatusDocument
from streamapp.pipeline.facts import EngineFacts


@runtime_checkable
class TellsFacts(Protocol):
    """An engine that can be asked."""

    def facts(self) -> EngineFacts: ...


@runtime_checkable
class TellsStatus(Protocol):
    """An app whose worker takes samples."""

    def status(self, *, own_only: bool = False) -> StatusDocument:
        """`own_only`: without what other workers tell."""
        ...


def facts_of(app: Any) -> EngineFacts | None:
    """Return what the app's engine tells of itself; None while none runs. On the loop."""
    engine = app.engine
    return engine.facts() if isinstance(engine, TellsFacts) else None


def document_of(app: Any) -> StatusDocument | None:
    """Return what the page shows of the app's worker alone; None while no engine runs. On the loop."""
    return app.status(own_only=True) if app.engine is not None and isinstance(app, TellsStatus) else None


__all__ = ["TellsFacts", "TellsStatus", "document_of", "facts_of"]
