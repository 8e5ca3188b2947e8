"""What an operator and the commands do to an engine's dead letters on the broker: replay, ask, and read the rows back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Producer

from streamapp.clock import Deadline
from streamapp.pipeline import resolution
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.dead_letter import DeadLetter, read_dead_letter
from streamapp.pipeline.resolution import Entry, Resolution, Row, Take, TakeState
from streamapp.pipeline.spec import AgentSpec, SourceSpec
from tests.support.engine_rig import EngineRig, Worker
from tests.support.topics import PATIENCE, TookTooLong


def letters(rig: EngineRig) -> list[DeadLetter]:
    """Return the committed dead letters, each partition's in order."""
    found = [read_dead_letter(list(rec.headers)) for lane in rig.read(rig.job.dlq).values() for rec in lane]
    return [letter for letter in found if letter is not None]


def rows(rig: EngineRig) -> list[Entry]:
    """Return the committed rows of the status topic, in order."""
    read = rig.read(resolution.status_topic(rig.app_id)).get(0, [])
    found = [resolution.decode(rec.key, rec.value) for rec in read]
    return [entry for entry in found if entry is not None]


def statuses(rig: EngineRig) -> list[tuple[str, str, str | None]]:
    return [(name, str(row.status), row.outcome) for name, row in rows(rig) if isinstance(row, Resolution)]


def answers(rig: EngineRig) -> list[tuple[str, str]]:
    """Return the answers of workers to requests."""
    return [(name, str(row.state)) for name, row in rows(rig) if isinstance(row, Take) and row.state is not TakeState.ASKED]


def replay(rig: EngineRig, letter: DeadLetter, value: dict[str, Any]) -> None:
    """Send the record of a dead letter again, as `dlq replay` does."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("streamapp.dlq.replay-of", letter.id.encode()),
        ("streamapp.dlq.replay-count", b"%d" % (letter.replay_count + 1)),
        ("streamapp.dlq.replayed-at", b"2026-11-27T10:00:00.000Z"),
    ]
    producer = Producer({"bootstrap.servers": rig.bootstrap, "linger.ms": 0})
    key = str(value["k"]).encode()
    producer.produce(letter.source.topic, json.dumps(value).encode(), key, letter.source.partition, headers=headers)
    assert producer.flush(PATIENCE) == 0


def write(rig: EngineRig, name: str, row: Row) -> None:
    """Write a row, as a command does."""
    key, value = resolution.encode(name, row)
    producer = Producer({"bootstrap.servers": rig.bootstrap, "linger.ms": 0})
    producer.produce(resolution.status_topic(rig.app_id), value, key, 0)
    assert producer.flush(PATIENCE) == 0


def ask_to_take(rig: EngineRig, place: str) -> None:
    write(rig, place, Take(state=TakeState.ASKED, at=datetime.now(UTC), by="ops"))


async def answered(rig: EngineRig, worker: Worker, count: int) -> list[tuple[str, str]]:
    """Wait until workers have answered so many requests."""
    found: list[tuple[str, str]] = []

    def enough() -> bool:
        found[:] = answers(rig)
        return len(found) >= count

    deadline = Deadline.after(PATIENCE)
    while not await asyncio.to_thread(enough):
        if deadline.passed or worker.engine.failure.done():
            raise TookTooLong(f"answered so far: {found}; {worker.state()}")
    return found


def triage(rig: EngineRig) -> AgentSpec:
    """Return an agent that reads the dead letters, which makes its worker their owner."""

    async def run(cursor: Cursor) -> None:
        async for _ in cursor:
            pass

    source = SourceSpec(topic=rig.job.dlq, decode=bytes, takes_none=True)
    return AgentSpec(name="triage", sources=(source,), run=run, on_error="stop")


def counting(worker: Worker, *, on_error: str = "skip") -> AgentSpec:
    return replace(worker.job.agent(worker), on_error=on_error)  # type: ignore[arg-type]  # one of the policies
