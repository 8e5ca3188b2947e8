"""Dead letters as agents read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamapp.pipeline import dead_letter
from streamapp.pipeline.dead_letter import DeadLetter


def read_dead_letter(headers: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]] | None) -> DeadLetter | None:
    """Return what the headers of a dead letter say (`event.headers`); None where they are no dead letter's."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return dead_letter.read_dead_letter(None if pairs is None else list(pairs))


__all__ = ["DeadLetter", "read_dead_letter"]
