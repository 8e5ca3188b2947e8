"""What this worker was before it was started: its row in the app's meta topic, read once and written anew."""

from __future__ import annotations

import time
from typing import Final

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable
from streamapp.kafka import client_config
from streamapp.kafka.log_tail import LogTail
from streamapp.kafka.script_producer import ScriptProducer
from streamapp.monitor.watch import Past
from streamapp.records import Partition
from streamapp.settings import Settings
from streamapp.worker.meta import WorkerRow, decode, encode, meta_topic, worker_key

ANSWER: Final = 5.0
"""Seconds that the broker may take for each of the two."""
NAME: Final = "starts"


def past_of(row: WorkerRow | None, worker_id: str, version: str, at: float) -> tuple[Past, WorkerRow]:
    """Return what `row` says of a start at `at`, and the row that stands for it from then on."""
    after = WorkerRow(version=version, starts=(at,)) if row is None else row.started(version, at)
    before = row.version if row is not None and row.version != version else None
    return Past(version=version, worker=worker_id, previous_version=before, starts=after.starts), after


class Starts:
    """On a thread that may wait."""

    def __init__(self, settings: Settings, worker_id: str, version: str) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._version = version
        self._at = time.time()

    def look_up(self) -> Past:
        """Read the row, write the next one, and return what was. Raises BrokerUnreachable; asking again is safe."""
        partition, key = Partition(meta_topic(self._settings.identity.app_id), 0), worker_key(self._worker_id)
        tail = LogTail(self._settings, f"{self._worker_id}-{NAME}", partition, ANSWER)
        try:
            row = None
            for record in tail.catch_up():
                if record.key() == key:
                    row = decode(WorkerRow, record.value())
        finally:
            tail.close()
        if row is not None and self._at in row.starts:  # an earlier try was written after all
            row = None if len(row.starts) == 1 else WorkerRow(version=row.previous_version or row.version, starts=row.starts[:-1])
        past, after = past_of(row, self._worker_id, self._version, self._at)
        self._write(partition.topic, key, encode(after))
        return past

    def _write(self, topic: str, key: bytes, value: bytes) -> None:
        failures: list[Exception] = []
        producer = ScriptProducer(client_config.idempotent_producer(self._settings, f"{self._worker_id}-{NAME}"))
        try:
            producer.produce((topic, value, key, 0, 0, []), lambda failure, *_: failures.append(failure) if failure else None)
            unsent = producer.flush(Deadline.after(ANSWER))
        finally:
            producer.close()
        if failures or unsent:
            raise BrokerUnreachable(
                f"{topic}: this start was not written down: {failures[0] if failures else 'no answer in time'}"
            )


__all__ = ["Starts", "past_of"]
