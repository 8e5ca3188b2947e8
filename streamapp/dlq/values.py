"""Values of dead letters as people read them: by the agent's model, else as JSON, else as hex with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from streamapp.dlq.letters import Letter
from streamapp.dlq.subject import Subject
from streamapp.pipeline.decode import encoder_for

_ENCODE: Final = encoder_for(None)


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as text."""

    text: str
    """Its JSON as it is, the document that the model makes of it, or hex."""
    form: str
    """`JSON`, the model's codec, `hex`, or why there is none."""
    size: int | None
    """Bytes before it was cut; None without a value."""
    why_not: str | None = None
    """Why the agent's model does not take it."""
    is_hex: bool = False


def shown_value(subject: Subject, letter: Letter) -> Shown:
    """Return the value of a whole letter for people. What the model refuses is shown too: it is what has to be mended."""
    raw = letter.value
    if raw is None:
        return _missing(letter)
    source = subject.source_of(letter.letter.agent, letter.letter.source.topic)
    why_not: str | None = None
    document: object = None
    decoded = False
    if source is None:
        why_not = _unknown(subject, letter)
    else:
        try:
            document, decoded = source.decode(raw), True
        except Exception as failure:  # user code may be in it; the value is shown some other way
            told = source.explain(failure, raw) if source.explain is not None else failure
            why_not = str(told)
    text = _json(raw)
    if text is not None:
        return Shown(text, "JSON", len(raw), why_not)
    if decoded and not isinstance(document, bytes):
        try:
            encoded = _ENCODE(document)
        except Exception:  # a type of the user's own that JSON does not know
            why_not = f"a {type(document).__name__} that cannot be written as JSON"
        else:
            if encoded is not None:
                return Shown(encoded.decode(), type(document).__name__, len(raw))
    return Shown(raw.hex(), "hex", len(raw), why_not or "its model is bytes", is_hex=True)


def _missing(letter: Letter) -> Shown:
    if "value" in letter.letter.truncated:
        size = letter.letter.value_size
        return Shown("-", f"cut when it was dead-lettered, {size} bytes stand at {letter.letter.position}", size)
    return Shown("-", "null", None)


def _unknown(subject: Subject, letter: Letter) -> str | None:
    if subject.unloaded is not None:
        return f"the app's models are not loaded: {subject.unloaded}"
    return f"the app has no agent {letter.letter.agent} on {letter.letter.source.topic}"


def _json(raw: bytes) -> str | None:
    """Return JSON as the text that it is; None for anything else."""
    try:
        msgspec.json.decode(raw)
        return raw.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


__all__ = ["Shown", "shown_value"]
