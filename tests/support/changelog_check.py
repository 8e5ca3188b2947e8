"""Point 6 from outside: a table rebuilt from its changelog holds what the outputs say it has to.

How a table writes its values is the engine's affair: JSON or msgpack, any field names. So numbers are looked for
anywhere in the document.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from tests.support.kafka_records import Lanes
from tests.support.order_rules import HORIZON_MS
from tests.support.verdict import Kind, Verdict

_Wanted = TypeVar("_Wanted")


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables have to hold, recomputed from orders and outputs. By partition of the table's source."""

    customer_totals: dict[tuple[int, str], tuple[int, int]]
    sku_totals: dict[tuple[int, str], int]
    processed_orders: dict[tuple[int, str], int]
    """Timestamp of the record that was priced, in ms."""


def check_changelogs(changelogs: Mapping[str, Lanes], tables: Tables, verdict: Verdict, now_ms: int | None = None) -> None:
    """Compare each table that was read with `tables`; ones of other names are left alone."""
    now = time.time() * 1000 if now_ms is None else now_ms
    if "customer_totals" in changelogs:
        shown = rebuild(changelogs["customer_totals"])
        _compare("customer_totals", shown, tables.customer_totals, lambda due, there: set(due) <= there, verdict)
    if "sku_totals" in changelogs:
        shown = rebuild(changelogs["sku_totals"])
        _compare("sku_totals", shown, tables.sku_totals, lambda due, there: due in there, verdict)
    if "processed_orders" in changelogs:
        shown = rebuild(changelogs["processed_orders"])
        # A mark past the horizon may have been expired; it need not be.
        due = {at: stamp for at, stamp in tables.processed_orders.items() if at in shown or stamp + HORIZON_MS > now}
        _compare("processed_orders", shown, due, _names_time, verdict)


def rebuild(lanes: Lanes) -> dict[tuple[int, str], bytes]:
    """Return the last value of each key that was not deleted, by (partition, key); keys are JSON."""
    table: dict[tuple[int, str], bytes] = {}
    for number, lane in lanes.items():
        for rec in lane:
            at = (number, _key(rec.key))
            if rec.value is None:
                table.pop(at, None)
            else:
                table[at] = rec.value
    return table


def numbers(value: bytes) -> set[float]:
    """Return every number in a JSON or msgpack document; of a byte string that is both, those of both."""
    found: set[float] = set()
    for read in (json.loads, msgspec.msgpack.decode):
        try:
            found.update(_walk(read(value)))
        except (ValueError, msgspec.DecodeError):
            continue
    return found


def _compare(
    name: str,
    shown: dict[tuple[int, str], bytes],
    due: Mapping[tuple[int, str], _Wanted],
    agrees: Callable[[_Wanted, set[float]], bool],
    verdict: Verdict,
) -> None:
    for at, wanted in due.items():
        value = shown.get(at)
        if value is None:
            verdict.add(Kind.CHANGELOG_MISMATCH, f"{name}/{at[0]} lacks {at[1]!r}: {wanted}")
        elif not agrees(wanted, numbers(value)):
            verdict.add(Kind.CHANGELOG_MISMATCH, f"{name}/{at[0]} has {at[1]!r} = {value!r}, recomputed {wanted}")
    for at in shown.keys() - due.keys():
        verdict.add(Kind.CHANGELOG_MISMATCH, f"{name}/{at[0]} has {at[1]!r}, which no output accounts for")


def _names_time(stamp: int, there: set[float]) -> bool:
    return any(abs(number - stamp) < 1 or abs(number * 1000 - stamp) < 1 for number in there)


def _key(key: bytes | None) -> str:
    try:
        document = json.loads(key or b"")
    except ValueError:
        return repr(key)
    return document if isinstance(document, str) else json.dumps(document)


def _walk(document: object) -> Iterator[float]:
    if isinstance(document, bool):
        return
    if isinstance(document, int | float):
        yield document
    elif isinstance(document, dict):
        for content in document.values():
            yield from _walk(content)
    elif isinstance(document, list | tuple):
        for content in document:
            yield from _walk(content)
