"""What is an `Order`, from the contract's words alone: read with the standard library, not with the engine's decoder.

Where the contract leaves room (a leap second, half a surrogate pair), the answer is `Either`: the engine may
price it or dead-letter it, but must do one of them, once.
"""

from __future__ import annotations

import json
import re
from calendar import monthrange
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn


class Order(NamedTuple):
    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The record is no order: it belongs into the dead-letter topic."""

    why: str


@dataclass(frozen=True, slots=True)
class Either:
    """Whether this is an order is open: priced as `order`, or dead-lettered."""

    order: Order
    why: str


HORIZON_MS: Final = 7 * 86_400_000
"""How long an order id counts as seen, in event time."""

_TEXTS = ("order_id", "customer", "sku")
_NUMBERS = {"quantity": (1, 10_000), "unit_price_cents": (0, 100_000_000)}
_FIELDS = (*_TEXTS, *_NUMBERS, "placed_at")
_HUGE = 10**40
"""Stands for every integer too long to be in range, so that nobody computes with a million digits."""


def judge_order(value: bytes | None) -> Order | Either | Refused:
    """Say what the contract makes of a record's value."""
    if value is None:
        return Refused("no value")
    try:
        document = _parse(value)
    except RecursionError:
        return Refused("nested too deep")
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return Refused(f"not JSON: {error}")
    if not isinstance(document, _Pairs):
        return Refused("not a JSON object")
    return _judge_fields(document)


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its members as written, so that a name given twice is seen."""


def _parse(value: bytes) -> object:
    # Strictly UTF-8, no byte order mark: json.loads(bytes) would guess UTF-16 and UTF-32 as well.
    return json.loads(value.decode("utf-8"), object_pairs_hook=_Pairs, parse_int=_integer, parse_constant=_no_constant)


def _integer(digits: str) -> int:
    return int(digits) if len(digits) < 30 else _HUGE


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _judge_fields(pairs: _Pairs) -> Order | Either | Refused:
    doubts: list[str] = []
    fields: dict[str, object] = {}
    refused_before: str | None = None
    for name, content in pairs:
        if name not in _FIELDS:
            if _has_lone_surrogate(name) or _has_lone_surrogate(content):
                doubts.append("half a surrogate pair in an unknown field")
            continue
        if name in fields:
            # JSON leaves open which of two counts; the last one does nearly everywhere.
            doubts.append(f"{name} given twice")
            refused_before = refused_before or _fault(name, fields[name], doubts)
        fields[name] = content
    for name in _FIELDS:
        if name not in fields:
            if name != "placed_at":
                return Refused(f"{name} missing")
            continue
        fault = _fault(name, fields[name], doubts)
        if fault is not None:
            return Refused(fault)
    order = Order(*(fields[name] for name in (*_TEXTS, *_NUMBERS)))  # type: ignore[arg-type]  # _fault has checked each
    return Either(order, "; ".join(doubts)) if doubts else order


def _fault(name: str, content: object, doubts: list[str]) -> str | None:
    if name == "placed_at":
        return None if content is None else _placed_at_fault(content, doubts)
    if content is None:
        return f"{name} is null"
    if name in _NUMBERS:
        if type(content) is not int:  # bool is an int to isinstance, not to JSON
            return f"{name} is not a JSON integer"
        low, high = _NUMBERS[name]
        return None if low <= content <= high else f"{name} out of range"
    if type(content) is not str:
        return f"{name} is not a string"
    if _has_lone_surrogate(content):
        doubts.append(f"half a surrogate pair in {name}")
    return None if 1 <= len(content) <= 64 else f"{name} has {len(content)} code points"


def _has_lone_surrogate(content: object) -> bool:
    if isinstance(content, str):
        return any("\ud800" <= letter <= "\udfff" for letter in content)
    if isinstance(content, _Pairs):
        return any(_has_lone_surrogate(name) or _has_lone_surrogate(inner) for name, inner in content)
    if isinstance(content, list):
        return any(map(_has_lone_surrogate, content))
    return False


_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})([Tt ])(\d{2}):(\d{2}):(\d{2})(\.\d+)?(?:([Zz])|[+-](\d{2}):(\d{2}))",
    re.ASCII,
)


def _placed_at_fault(content: object, doubts: list[str]) -> str | None:
    match = _RFC3339.fullmatch(content) if isinstance(content, str) else None
    if match is None:
        return "placed_at is not an RFC 3339 time with a zone"
    year, month, day, hour, minute, second = (int(match[group]) for group in (1, 2, 3, 5, 6, 7))
    if not 1 <= month <= 12 or not 1 <= day <= monthrange(year or 4, month)[1]:
        return "placed_at names no day"
    if hour > 23 or minute > 59 or second > 60 or int(match[10] or 0) > 23 or int(match[11] or 0) > 59:
        return "placed_at names no time"
    if second == 60:
        doubts.append("a leap second")
    if year == 0 or (year, month, day, hour, minute, second) == (9999, 12, 31, 23, 59, 59):
        doubts.append("a time at the edge of what most clocks can hold")
    if match[4] == " ":
        doubts.append("a blank instead of T")  # RFC 3339, 5.6: applications may choose to
    return None
