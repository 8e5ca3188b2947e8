"""Replayed records and the rows that answer them, for tests of an engine on fakes."""

from __future__ import annotations

from streamapp.pipeline import resolution
from streamapp.pipeline.resolution import Entry, Resolution, status_topic
from streamapp.records import Headers
from tests.support.pipeline import SETTINGS, Bench

STATUS = status_topic(SETTINGS.app_id)


def replayed(id_: str, *, count: int = 1, epoch: str | None = None, job: str | None = None) -> Headers:
    """Return the headers that a replay gives a record, behind one of the user's."""
    headers: Headers = [
        ("user", b"own"),
        ("streamapp.dlq.replay-of", id_.encode()),
        ("streamapp.dlq.replay-count", b"%d" % count),
    ]
    headers.append(("streamapp.dlq.replayed-at", b"2026-11-27T10:00:00.000Z"))
    if job is not None:
        headers.append(("streamapp.dlq.job", job.encode()))
    return headers if epoch is None else [*headers, ("streamapp.dlq.epoch", epoch.encode())]


def units(bench: Bench) -> list[tuple[list[tuple[str, bytes | None]], list[Entry]]]:
    """Return, per committed transaction with outputs, those outside the status topic (topic, value), and its rows."""
    found = []
    with bench.broker.lock:
        transactions = [each for each in bench.broker.transactions if each.committed and each.records]
    for transaction in transactions:
        outputs = [(topic, value) for topic, value, *_ in transaction.records if topic != STATUS]
        rows = [resolution.decode(key, value) for topic, value, key, *_ in transaction.records if topic == STATUS]
        assert None not in rows
        found.append((outputs, [row for row in rows if row is not None]))
    return found


def rows(bench: Bench) -> list[Entry]:
    """Return every committed row, in order."""
    return [row for _, of_unit in units(bench) for row in of_unit]


def told(bench: Bench) -> list[tuple[str, str, str | None, int]]:
    """Return id, status, outcome and replays of every committed row of a dead letter."""
    return [(name, str(row.status), row.outcome, row.replays) for name, row in rows(bench) if isinstance(row, Resolution)]
