"""What is known about each kind of dead letter."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from streamapp import app


class DeadLetterKind(Struct, frozen=True):
    """All dead letters of one fingerprint in one partition of the dead-letter topic."""

    error: str
    stage: str
    count: int
    first_seen: datetime
    last_seen: datetime
    example: str
    """The id of the first one, `<topic>/<partition>/<offset>@<agent>`: where the record stands that failed."""


dead_letters = app.Table("dead_letters", value_type=DeadLetterKind)
"""By fingerprint. A table is partitioned as its topic, so one fingerprint has a row in each partition where it was seen."""
