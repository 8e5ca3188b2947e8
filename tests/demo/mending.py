"""What the demo does with its dead letters, with the commands that a user has: count, look at one, mend, send again, see them resolved."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamapp import read_dead_letter
from tests.demo.screen import WIDTH, Screen
from tests.support.console import Terminal
from tests.support.kafka_records import Headers, Lanes, Rec
from tests.support.ledger import DEMAND, DLQ, ORDERS, PRICED
from tests.support.topic_reader import caught_up, read_topics
from tests.support.workers import ROOT

SHOWN: Final = 12
"""Lines shown of what a command says; the demo has some eighty kinds of dead letters."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that the mending below can mend."""

    id: str
    fingerprint: str
    order_id: str


def quantity_as_number(key: bytes | None, value: bytes | None, headers: Headers) -> tuple[bytes | None, bytes, Headers] | None:
    """Mend an order whose quantity is a text of digits; leave any other letter as it is. The demo's `--transform`."""
    order = _order_in(value)
    if order is None or not _is_text_of_digits(order.get("quantity")):
        return None
    return key, json.dumps(order | {"quantity": int(order["quantity"])}).encode(), headers


def mendable(lanes: Lanes) -> list[Letter]:
    """Return the dead letters that `quantity_as_number` mends."""
    return list(_mendable(rec for number in sorted(lanes) for rec in lanes[number]))


def _mendable(records: Iterable[Rec]) -> Iterator[Letter]:
    for rec in records:
        letter, order = read_dead_letter(list(rec.headers)), _order_in(rec.value)
        if letter is not None and order is not None and _is_text_of_digits(order.get("quantity")):
            yield Letter(letter.id, letter.fingerprint, str(order["order_id"]))


def play(screen: Screen, bootstrap: str, app: str) -> None:
    """Mend what can be mended, on screen. Raises AssertionError: a command failed, or a mended order was not priced, once."""
    letters = mendable(read_topics(bootstrap, [DLQ])[DLQ])
    assert letters, f"no order in {DLQ} has a text for its quantity"
    one, kind = letters[0].id, letters[0].fingerprint
    typed = _Typed(screen, bootstrap)

    screen.step("Look at the dead letters: how many of which kind")
    typed("streamapp dlq stats")
    screen.step("One of them, with all that is known of it")
    typed(f"streamapp dlq show {one}")
    screen.step("A shop wrote the quantity as a text: mend those orders, and see first what that would do")
    replay = f"streamapp dlq replay --fingerprint {kind} --transform {__name__}:{quantity_as_number.__name__} --stale-ok"
    typed(replay)
    typed(f"{replay} --execute")
    screen.step("Resolved: said by the worker that priced them, in the same transaction")
    typed(f"streamapp dlq list --fingerprint {kind} --status resolved")

    caught_up(bootstrap, app, topics=(ORDERS, DEMAND, DLQ), deadline=60)
    priced = [_order_id(rec) for lane in read_topics(bootstrap, [PRICED])[PRICED].values() for rec in lane]
    times = {letter.order_id: priced.count(letter.order_id) for letter in letters}
    assert set(times.values()) == {1}, f"mended orders, and how often they were priced: {times}"
    screen.fact(f"mended, and priced once each: {', '.join(sorted(times))}")


class _Typed:
    """Types commands in, and shows them with what they say."""

    def __init__(self, screen: Screen, bootstrap: str) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._screen = screen
        self._terminal = Terminal(ROOT, {**os.environ, "PATH": path, "STREAMAPP_BROKER": bootstrap}, columns=WIDTH - 4)

    def __call__(self, command: str) -> None:
        said = self._terminal.run(command)
        self._screen.typed(command, said.lines[:SHOWN], left_out=max(0, len(said.lines) - SHOWN))
        assert said.exit_code == 0, f"$ {command}\nended with {said.exit_code}\n" + "\n".join(said.lines)


def _order_in(value: bytes | None) -> dict[str, Any] | None:
    try:
        order = json.loads(value or b"")
    except ValueError:
        return None
    return order if isinstance(order, dict) else None


def _order_id(rec: Rec) -> str:
    return str((_order_in(rec.value) or {}).get("order_id"))


def _is_text_of_digits(quantity: object) -> bool:
    return isinstance(quantity, str) and quantity.isascii() and quantity.isdecimal()
