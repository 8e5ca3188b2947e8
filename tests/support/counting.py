"""The job of the engine's tests, and its checker: count the records of each key, and send every count.

In: `{"i": 7, "k": "3"}`. Table: key -> count. Out: `{"i": 7, "k": "3", "n": 12}`. With dedupe an `i` that was seen is dropped.
A lost, doubled, reordered or torn record shows as a wrong `i` or a wrong `n`. The checker knows nothing of streamapp.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

from tests.support.kafka_records import Lanes

Counted: TypeAlias = "tuple[int, int]"
"""An output's `i` and its `n`."""


def orders(count: int, *, keys: int = 4, first: int = 0) -> list[dict[str, object]]:
    """Return `count` records, `i` from `first` on, keys in turn."""
    return [{"i": i, "k": str(i % keys)} for i in range(first, first + count)]


def judge(source: Lanes, out: Lanes, *, dedupe: bool = False, without: Collection[int] = (), copies: int = 1) -> list[str]:
    """Say what is wrong with `out`; nothing, if each record of `source` was counted exactly once and in order.

    `without`: the `i` that were dead-lettered. `copies`: outputs per record.
    """
    due = _due(source, dedupe=dedupe, without=without, copies=copies)
    found: dict[str, list[Counted]] = defaultdict(list)
    for lane in out.values():
        for rec in lane:
            value = json.loads(rec.value or b"")
            found[value["k"]].append((value["i"], value["n"]))
    return [line for key in sorted({*due, *found}) for line in _differences(key, due.get(key, []), found.get(key, []))]


def counts(source: Lanes, *, dedupe: bool = False, without: Collection[int] = ()) -> dict[str, int]:
    """Return what the table has to hold in the end."""
    return {key: rows[-1][1] for key, rows in _due(source, dedupe=dedupe, without=without, copies=1).items()}


def _due(source: Lanes, *, dedupe: bool, without: Collection[int], copies: int) -> Mapping[str, list[Counted]]:
    due: dict[str, list[Counted]] = defaultdict(list)
    running: dict[str, int] = defaultdict(int)
    seen: set[int] = set()
    for lane in source.values():
        for rec in lane:
            value = json.loads(rec.value or b"")
            i, key = value["i"], value["k"]
            if i in without or (dedupe and i in seen):
                continue
            seen.add(i)
            running[key] += 1
            due[key] += [(i, running[key])] * copies
    return due


def _differences(key: str, due: list[Counted], found: list[Counted]) -> Iterator[str]:
    if due == found:
        return
    lost = sorted({i for i, _ in due} - {i for i, _ in found})
    invented = sorted({i for i, _ in found} - {i for i, _ in due})
    doubled = sorted({i for i, _ in found if [j for j, _ in found].count(i) > [j for j, _ in due].count(i) > 0})
    if lost:
        yield f"key {key}: lost {lost}"
    if invented:
        yield f"key {key}: invented {invented}"
    if doubled:
        yield f"key {key}: doubled {doubled}"
    at = next((at for at, pair in enumerate(zip(due, found, strict=False)) if pair[0] != pair[1]), min(len(due), len(found)))
    yield f"key {key}: output {at} is {found[at : at + 3]}, due {due[at : at + 3]}"
