"""Dead letters as agents read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamapp.pipeline import dead_letter
from streamapp.pipeline.dead_letter import DeadLetter
from streamapp.pipeline.savepoint import current_savepoint


def read_dead_letter(headers: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]] | None) -> DeadLetter | None:
    """Return what the headers of a dead letter say (`event.headers`); None where they are no dead letter's."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return dead_letter.read_dead_letter(None if pairs is None else list(pairs))


def epoch_of(headers: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]] | None) -> str | None:
    """Return the epoch of a record that was replayed with `--force-reprocess` (`epoch_of(event.headers)`); None for all others.

    Such a record is to be processed though dedupe has its key. Only the one who makes the key can let it pass, once per epoch, and
    without touching the keys of all other records:

        def once(order):
            epoch = current_epoch()
            return order.order_id if epoch is None else f"{order.order_id} again {epoch}"

        @app.agent(orders, dedupe=processed.by(once))

    A handler that keeps its own table of what it has seen does the same with its key.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return dead_letter.epoch_of(None if pairs is None else list(pairs))


def current_epoch() -> str | None:
    """Return `epoch_of` the record in hand, without building its event; None outside a record."""
    record = getattr(current_savepoint.get(), "record", None)
    return None if record is None else dead_letter.epoch_of(record.headers())


__all__ = ["DeadLetter", "current_epoch", "epoch_of", "read_dead_letter"]
