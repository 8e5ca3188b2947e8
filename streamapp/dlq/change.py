"""What is sent instead of a dead letter's own bytes: made by a function, an editor or a file, and read by the agent's model first."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from streamapp.dlq.candidate import Candidate
from streamapp.errors import SettingInvalid
from streamapp.pipeline.savepoint import DLQ_HEADER_PREFIX
from streamapp.pipeline.spec import SourceSpec
from streamapp.records import Headers


@dataclass(frozen=True, slots=True)
class Changed:
    """Key, value and the user's headers of a copy."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    is_changed: bool = False

    @classmethod
    def nothing(cls, letter: Candidate) -> Changed:
        return cls(letter.key, letter.value, letter.headers)


class Refused(Exception):
    """This letter cannot be sent as it was asked for; the text says why."""


class Change(Protocol):
    """Turns a letter into what is sent."""

    def __call__(self, letter: Candidate) -> Changed | None:
        """Return what to send; None leaves the letter where it is. Raises Refused."""
        ...


class Transform:
    """`--transform module:function`: the user's function gets key, value and headers, and returns the three, or None."""

    def __init__(self, name: str) -> None:
        """Raises SettingInvalid: there is no such function."""
        module, colon, function = name.partition(":")
        if not (colon and module and function):
            raise SettingInvalid(f"--transform {name}: must be module:function")
        if "" not in sys.path:
            sys.path.insert(0, "")  # a fix is written where one works, and need not be installed
        try:
            found: Any = importlib.import_module(module)
            for part in function.split("."):
                found = getattr(found, part)
        except Exception as failure:  # the user's module runs here: whatever it raises, the user is told which it was
            raise SettingInvalid(f"--transform {name}: {type(failure).__name__}: {failure}") from failure
        if not callable(found):
            raise SettingInvalid(f"--transform {name}: a {type(found).__name__}, not a function")
        self.name = name
        self._function: Callable[[bytes | None, bytes | None, Headers], Any] = found

    def __call__(self, letter: Candidate) -> Changed | None:
        try:
            answer = self._function(letter.key, letter.value, list(letter.headers))
        except Exception as failure:  # as above; the other letters are sent
            raise Refused(f"{self.name} raised {type(failure).__name__}: {failure}") from failure
        if answer is None:
            return None
        if not isinstance(answer, tuple) or len(answer) != 3:
            raise Refused(f"{self.name} returned {type(answer).__name__}, not (key, value, headers) or None")
        key, value, headers = answer
        for what, data in (("key", key), ("value", value)):
            if data is not None and not isinstance(data, bytes):
                raise Refused(f"{self.name} returned a {what} of {type(data).__name__}, not bytes or None")
        return _compared(letter, key, value, _headers(self.name, headers))


def _headers(name: str, given: Any) -> Headers:
    try:
        headers = [(str(header), value) for header, value in (given or ())]
    except (TypeError, ValueError):
        raise Refused(f"{name} returned headers that are no list of (name, bytes)") from None
    if any(value is not None and not isinstance(value, bytes) for _, value in headers):
        raise Refused(f"{name} returned headers whose values are not bytes or None")
    return [header for header in headers if not header[0].startswith(DLQ_HEADER_PREFIX)]


class Edit:
    """`--edit`: one value in $EDITOR."""

    def __call__(self, letter: Candidate) -> Changed | None:
        value = letter.value or b""
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise Refused("the value is no text: use --transform, or export and import") from None
        edited = click.edit(text, extension=".json", require_save=True)
        if edited is None:
            return None  # left without saving
        if not text.endswith("\n"):
            edited = edited.rstrip("\n")  # editors end a file with one, and so does the library that starts them
        return _compared(letter, letter.key, edited.encode(), letter.headers)


@dataclass(frozen=True, slots=True)
class FromFile:
    """`dlq import`: key and value as the file has them."""

    path: Path
    contents: Mapping[str, tuple[bytes | None, bytes | None]]
    """Id -> key and value."""

    def __call__(self, letter: Candidate) -> Changed | None:
        key, value = self.contents[letter.id]
        return _compared(letter, key, value, letter.headers)


def _compared(letter: Candidate, key: bytes | None, value: bytes | None, headers: Headers) -> Changed:
    return Changed(key, value, headers, (key, value, headers) != (letter.key, letter.value, letter.headers))


class Validated:
    """A change of which the agent's model reads every result: what it cannot read would only fail again."""

    def __init__(self, change: Change, sources: Mapping[tuple[str, str], SourceSpec]) -> None:
        """`sources`: (agent, topic) -> how that agent reads that topic."""
        self._change = change
        self._sources = sources

    def __call__(self, letter: Candidate) -> Changed | None:
        changed = self._change(letter)
        if changed is None or not changed.is_changed:
            return changed
        spec = self._sources.get((letter.facts.agent, letter.source.topic))
        if spec is None:
            raise Refused(f"no agent {letter.facts.agent} reads {letter.source.topic} now, so nothing can check the change")
        if changed.value is None:
            if not spec.takes_none:
                raise Refused(f"{letter.facts.agent} takes no record without a value")
        else:
            _read(spec.decode, changed.value, letter, spec)
        if changed.key is not None and spec.decode_key is not None:
            _read(spec.decode_key, changed.key, letter, None)
        return changed


def _read(decode: Callable[[bytes], object], data: bytes, letter: Candidate, spec: SourceSpec | None) -> None:
    try:
        decode(data)
    except Exception as failure:  # whatever the model's library raises
        told = failure if spec is None or spec.explain is None else spec.explain(failure, data)
        what = "key" if spec is None else "value"
        raise Refused(f"{letter.facts.agent} could not read the {what}: {told}") from failure


__all__ = ["Change", "Changed", "Edit", "FromFile", "Refused", "Transform", "Validated"]
