"""What one setting's value may be: read from text or from Python, checked against its range, shown without its secret."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args, get_type_hints

from streamapp.errors import SettingInvalid

PREFIX: Final = "STREAMAPP_"
NAME_CHARACTERS: Final = "1 to 100 of A-Z a-z 0-9 . _ -"
NAME_PATTERN: Final = r"[A-Za-z0-9._-]{1,100}"

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_SECRET_WORDS = ("password", "secret", "token", ".pem", "jaas", "oauthbearer.config", "private.key")
_SHOWN_CHARACTERS = 80


def variable(name: str) -> str:
    """Return the environment variable of setting `name`."""
    return PREFIX + name.upper()


class ValueRefused(SettingInvalid):
    """One setting's value is refused: `name` is the setting, `must` what it has to be."""

    def __init__(self, name: str, value: object, must: str) -> None:
        self.name = name
        self.value = value
        self.must = must
        super().__init__(f"{variable(name)}={shown(value)}: {must}")


class Secret:
    """A text that shows itself to `reveal` only, since reprs end up in logs."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Options(Mapping[str, str]):
    """Raw librdkafka options, as text. Those whose name sounds secret are masked in `repr`."""

    __slots__ = ("_options",)

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        self._options = MappingProxyType(dict(options or {}))

    def __getitem__(self, key: str) -> str:
        return self._options[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        return repr(self.masked())

    def masked(self) -> dict[str, str]:
        return {key: "***" if any(word in key for word in _SECRET_WORDS) else value for key, value in self.items()}


def shown(value: object) -> str:
    """Return `value` as one short printable line."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:  # a repr of the caller's own, or a number of more digits than Python prints
        text = f"<{type(value).__name__}>"
    if isinstance(value, float):
        text = text.removesuffix(".0")
    if not text.isprintable():
        text = ascii(text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def text_of(value: object) -> str:
    """Return `str(value)`, or "" where that fails (a class of the caller's own, a number too long to print)."""
    try:
        return str(value)
    except Exception:  # whatever a foreign __str__ raises
        return ""


# -- reading: what cannot be read is returned as it came; the check that follows refuses it and names the range


def read_float(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        return float(value)
    return value


def read_int(value: object) -> object:
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


def read_bool(value: object) -> object:
    word = value.strip().lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else value


def read_text(value: object) -> object:
    plain = value.value if isinstance(value, Enum) else value
    return plain.strip() if isinstance(plain, str) else plain


def read_lower(value: object) -> object:
    text = read_text(value)
    return text.lower() if isinstance(text, str) else text


def read_upper(value: object) -> object:
    text = read_text(value)
    return text.upper() if isinstance(text, str) else text


def read_path(value: object) -> object:
    return Path(value) if isinstance(value, (str, os.PathLike)) and value != "" else value


def read_secret(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


def read_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        return tuple(value)
    return value


def read_options(value: object) -> object:
    """Read a mapping, a JSON object, or `name=value,name=value`."""
    if isinstance(value, Options):
        return value
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("{"):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                return value
        else:
            pairs = [piece.partition("=") for piece in text.split(",") if piece.strip()]
            if not all(equals and name.strip() for name, equals, _ in pairs):
                return value
            value = {name.strip(): option.strip() for name, _, option in pairs}
    if not isinstance(value, Mapping):
        return value
    texts = {str(name): option_text(option) for name, option in value.items()}
    return Options({name: text for name, text in texts.items() if text is not None}) if None not in texts.values() else value


def option_text(option: object) -> str | None:
    """Return one raw option as librdkafka reads it; None when it is no text, number or truth value."""
    if isinstance(option, bool):
        return "true" if option else "false"
    if isinstance(option, (str, int)) or (isinstance(option, float) and math.isfinite(option)):
        return str(option)
    return None


_READERS: Mapping[object, Callable[[object], object]] = {
    float: read_float,
    int: read_int,
    bool: read_bool,
    str: read_text,
    Path: read_path,
    Secret: read_secret,
    Options: read_options,
    tuple[str, ...]: read_list,
}


def reader_of(room: type, field: Field[object]) -> Callable[[object], object]:
    """Return what turns a source's value into the field's type."""
    kinds = [kind for kind in get_args(get_type_hints(room)[field.name]) or () if kind is not type(None)]
    hint = get_type_hints(room)[field.name]
    optional = type(None) in get_args(hint)
    base = kinds[0] if optional else hint
    read = field.metadata.get("read") or _READERS[base]
    if not optional or base is str:
        return read

    def read_optional(value: object) -> object:
        """`none` is how a file or a variable says None: no limit, or derived."""
        return None if isinstance(value, str) and value.strip().lower() == "none" else read(value)

    return read_optional


# -- checking


def require(
    name: str,
    value: object,
    *,
    low: float,
    high: float | None = None,
    why: str = "",
    bound: str = "",
    above: bool = False,
    whole: bool = False,
    optional: bool = False,
) -> None:
    """Refuse `value` unless it is a finite number from `low` (with `above`: more than that) to `high`.

    `why` says where a bound comes from; `bound` is said instead of `high` where the real bound is known elsewhere; `whole` asks
    for an integer; `optional` lets None through.
    """
    if value is None and optional:
        return
    highest = bound or (f"{high:.10g}" if high is not None else "")
    allowed = f"{low:.10g} to {highest}" if highest else f"at least {low:.10g}"
    if above:
        allowed = f"more than {low:.10g}" + (f", at most {highest}" if highest else "")
    reason = f" ({why})" if why else ""
    sound = isinstance(value, int) or (isinstance(value, float) and not whole and math.isfinite(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not sound:
        raise ValueRefused(name, value, f"must be a {'whole ' if whole else ''}number, {allowed}{reason}")
    if value < low or (above and value == low) or (high is not None and value > high):
        raise ValueRefused(name, value, f"must be {allowed}{reason}")


def require_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ValueRefused(name, value, "must be true or false")


def require_choice(name: str, value: object, choices: Sequence[str], *, optional: bool = False) -> None:
    if (value is None and optional) or (isinstance(value, str) and value in choices):
        return
    raise ValueRefused(name, value, f"must be {' or '.join(choices)}")


def require_match(name: str, value: object, pattern: str, must: str, *, optional: bool = False) -> None:
    if (value is None and optional) or (isinstance(value, str) and re.fullmatch(pattern, value)):
        return
    raise ValueRefused(name, value, f"must be {must}")


def require_path(name: str, value: object) -> None:
    if value is None or (isinstance(value, Path) and str(value).isprintable()):
        return
    raise ValueRefused(name, value, "must be a path")


def require_file(name: str, value: object, *, or_words: Sequence[str] = ()) -> None:
    """Refuse a file that is not there now: the client library would say so later, and without the setting's name."""
    require_path(name, value)
    if value is None or str(value) in or_words or (isinstance(value, Path) and value.exists()):
        return
    raise ValueRefused(name, value, f"must be a file that exists{''.join(f', or {word}' for word in or_words)}")


def require_secret(name: str, value: object) -> None:
    if value is None or (isinstance(value, Secret) and value.reveal()):
        return
    raise ValueRefused(name, "***", "must be a text that is not empty")
