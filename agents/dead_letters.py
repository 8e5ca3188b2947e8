"""Dead letters are counted by kind, and a kind not seen before is announced. They themselves stay in their topic.

    orders-dlq ──▶ dead_letter_triage

A dead letter is the record that failed, its bytes unchanged; what is known of the failure stands in its headers. So the agent reads
bytes, and asks `read_dead_letter` what the headers say.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from msgspec.structs import replace

from streamapp import DeadLetter, Stream, app, read_dead_letter
from tables.dead_letters import DeadLetterKind, dead_letters

log = logging.getLogger(__name__)

orders_dlq = app.topic("orders-dlq", key_type=bytes, value_type=bytes, partitions=8)


@app.agent(orders_dlq, name="dead_letter_triage")
async def dead_letter_triage(stream: Stream[bytes | None]) -> None:
    """Keep one row per fingerprint, and warn when a row is new."""
    async for event in stream.events():
        letter = read_dead_letter(event.headers)
        if letter is None:
            continue  # not a dead letter: somebody else wrote into the topic
        known = dead_letters.get(letter.fingerprint)
        dead_letters[letter.fingerprint] = first(letter) if known is None else one_more(known, letter)
        if known is None:
            log.warning(
                "new kind of dead letter, %s: %s (%s) at %s", letter.fingerprint, letter.exception_type, letter.stage, letter.id
            )


def first(letter: DeadLetter) -> DeadLetterKind:
    """Return the row of a kind's first dead letter."""
    seen = letter.failed_at or datetime.now(UTC)
    return DeadLetterKind(
        error=letter.exception_type, stage=letter.stage, count=1, first_seen=seen, last_seen=seen, example=letter.id
    )


def one_more(kind: DeadLetterKind, letter: DeadLetter) -> DeadLetterKind:
    """Return the row with one more dead letter counted."""
    seen = letter.failed_at or kind.last_seen
    return replace(kind, count=kind.count + 1, first_seen=min(kind.first_seen, seen), last_seen=max(kind.last_seen, seen))
