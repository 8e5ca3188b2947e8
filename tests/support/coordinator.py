"""What the broker says of transactions. One broker, so every transactional id is its own coordinator's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streamapp.kafka.transactions import described

OPEN: Final = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort"})
"""States in which a transaction has partitions that are not yet settled."""


def open_transactions(bootstrap: str, transactional_ids: Iterable[str], *, timeout: float = 5.0) -> set[str]:
    """Return those ids whose transaction is not settled now. Raises OSError: no answer."""
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    told = described((host, int(port)), list(transactional_ids), timeout)
    return {each.transactional_id for each in told if each.state in OPEN}
