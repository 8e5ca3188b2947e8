"""Dead letters in a file, one JSON object per line: what `dlq export` writes and `dlq import` reads.

Bytes are base64, so that nothing of them is lost; the text beside them is for people and not read back.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from streamapp.dlq.letters import Letter
from streamapp.dlq.values import Shown


def exported(letter: Letter, shown: Shown) -> Mapping[str, object]:
    """Return the object of a whole letter."""
    told = letter.letter
    return {
        "id": letter.id,
        "agent": told.agent,
        "status": str(letter.status),
        "dlq": {"topic": letter.dlq.topic, "partition": letter.dlq.partition, "offset": letter.dlq.offset},
        "source": {
            "topic": told.source.topic,
            "partition": told.source.partition,
            "offset": told.source.offset,
            "timestamp": told.timestamp,
            "timestamp_type": told.timestamp_type,
        },
        "stage": told.stage,
        "reason": told.reason,
        "fingerprint": told.fingerprint,
        "error": told.exception_type,
        "message": told.message,
        "attempts": told.attempts,
        "replays": letter.replays,
        "first_failed_at": None if told.first_failed_at is None else told.first_failed_at.isoformat(),
        "failed_at": None if told.failed_at is None else told.failed_at.isoformat(),
        "truncated": list(told.truncated),
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(value)] for name, value in letter.user_headers],
        "key_text": _text(letter.key),
        "value_text": None if letter.value is None or shown.is_hex else shown.text,
    }


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def _text(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


__all__ = ["exported"]
