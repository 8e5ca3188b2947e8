"""The file that `dlq export` writes and `dlq import` reads: one JSON object per line, bytes in base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from streamapp.errors import SettingInvalid
from streamapp.pipeline.dead_letter import parse_id


class Line(msgspec.Struct, frozen=True):
    """What of a line is read; the decoded text beside it is for people."""

    id: str
    key: str | None = None
    value: str | None = None


def read_export(path: Path) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Return each id's key and value, as edited. Raises SettingInvalid: which line, and what is wrong with it."""
    decode = msgspec.json.Decoder(Line).decode
    found: dict[str, tuple[bytes | None, bytes | None]] = {}
    try:
        text = path.read_bytes()
    except OSError as failure:
        raise SettingInvalid(f"{path}: {failure.strerror or failure}") from failure
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = decode(raw)
            if parse_id(line.id) is None:
                raise SettingInvalid(f"{path}:{number}: {line.id!r} is no dead letter's id")
            found[line.id] = (_bytes(line.key), _bytes(line.value))
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as failure:
            raise SettingInvalid(f"{path}:{number}: {failure}") from failure
    if not found:
        raise SettingInvalid(f"{path}: no line")
    return found


def digest_of(path: Path) -> str:
    """Return what tells that the file is the same as when a job began."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _bytes(text: Any) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


__all__ = ["digest_of", "read_export"]
