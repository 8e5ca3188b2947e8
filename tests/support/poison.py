"""Records that are no orders, one maker for each way that the contract names. All of them must be dead-lettered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Fields: TypeAlias = "dict[str, object]"


def _json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _with(**changes: object) -> Callable[[Fields], bytes]:
    return lambda fields: _json(fields | changes)


def _without(name: str) -> Callable[[Fields], bytes]:
    return lambda fields: _json({other: value for other, value in fields.items() if other != name})


def _written(name: str, text: bytes) -> Callable[[Fields], bytes]:
    """Put `text` as it stands in the place of a field's value: what json.dumps would not write."""
    return lambda fields: _json(fields | {name: "@@"}).replace(b'"@@"', text)


def _fixed(value: bytes | None) -> Callable[[Fields], bytes | None]:
    return lambda fields: value


TEXTS: Final = ("order_id", "customer", "sku")
NUMBERS: Final = ("quantity", "unit_price_cents")

POISON: Final[dict[str, Callable[[Fields], bytes | None]]] = {
    "no value": _fixed(None),
    "an empty value": _fixed(b""),
    "not JSON": _fixed(b"not json"),
    "cut off": lambda fields: _json(fields)[:-7],
    "something behind it": lambda fields: _json(fields) + b"}",
    "a byte order mark": lambda fields: b"\xef\xbb\xbf" + _json(fields),
    "UTF-16": lambda fields: _json(fields).decode().encode("utf-16"),
    "invalid UTF-8": _written("sku", b'"s\xff\xfe"'),
    "invalid UTF-8 in an unknown field": _written("note", b'"\xc3\x28"'),
    "a control character": _written("sku", b'"a\x01b"'),
    "NaN": _written("quantity", b"NaN"),
    "null": _fixed(b"null"),
    "an array": lambda fields: b"[" + _json(fields) + b"]",
    "a string": lambda fields: json.dumps(_json(fields).decode()).encode(),
    "a number": _fixed(b"42"),
    "true": _fixed(b"true"),
    **{f"{name} missing": _without(name) for name in TEXTS + NUMBERS},
    **{f"{name} null": _with(**{name: None}) for name in TEXTS + NUMBERS},
    **{f"{name} a number": _with(**{name: 5}) for name in TEXTS},
    **{f"{name} empty": _with(**{name: ""}) for name in TEXTS},
    **{f"{name} of 65 code points": _with(**{name: "\U0001f4a9" * 65}) for name in TEXTS},
    **{f"{name} 1.0": _written(name, b"1.0") for name in NUMBERS},
    **{f"{name} 1e2": _written(name, b"1e2") for name in NUMBERS},
    **{f"{name} true": _with(**{name: True}) for name in NUMBERS},
    **{f'{name} "1"': _with(**{name: "1"}) for name in NUMBERS},
    **{f"{name} an array": _with(**{name: [1]}) for name in NUMBERS},
    **{f"{name} with a leading zero": _written(name, b"01") for name in NUMBERS},
    **{f"{name} of 60 digits": _written(name, b"9" * 60) for name in NUMBERS},
    "quantity 0": _with(quantity=0),
    "quantity -1": _with(quantity=-1),
    "quantity 10001": _with(quantity=10_001),
    "unit_price_cents -1": _with(unit_price_cents=-1),
    "unit_price_cents 100000001": _with(unit_price_cents=100_000_001),
    **{
        f"placed_at {at!r}": _with(placed_at=at)
        for at in (
            "yesterday",
            "",
            1_700_000_000,
            "2024-05-01",
            "2024-05-01T10:00:00",
            "2024-05-01T10:00:00+0200",
            "2024-05-01T25:00:00Z",
            "2024-02-30T10:00:00Z",
            "2024-05-01T10:00Z",
        )
    },
}
"""By name: makes the value from an order's right fields."""
